"""Linear layers with int8 or float16 weights and float activations.

Before: `weighted`. After: `conv`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....autograd.tensor import Tensor
from ....module import Module
from ....numerics import Profile
from ...layer import take_float
from ..linear import LinearWeights
from .weighted import Dynamic, Floats, of_integers


class _Rows(Module):
    """A layer over the last axis, by its `rows`."""

    in_features: int
    out_features: int

    def rows(self, x: Floats) -> Floats:
        """The layer on (rows, in_features)."""
        raise NotImplementedError

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        value = take_float(self, x)
        if value.shape[-1] != self.in_features:
            raise ValueError(f"the layer has {self.in_features} input features; got an input of shape {value.shape}")
        y = self.rows(np.asarray(value.array, dtype=np.float32, order="C").reshape(-1, self.in_features))
        return of_integers(y.reshape(*value.shape[:-1], self.out_features), value)


class Linear(_Rows, LinearWeights, Dynamic):
    """y = x W^T + b, float to float, through int8: x is quantized by its own range at every call.

    x: (..., in_features), float. weight: qint8 (out_features, in_features). `per_row`: see `Dynamic`.
    """

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Any:
        """From a float Linear, LinearReLU or QAT twin with a dynamic qconfig; a Float16Linear if it asks for float16."""
        if getattr(module.qconfig.weight(), "float_dtype", None) == "float16":
            return Float16Linear.from_float(module)
        return super().from_float(module, profile)

    def rows(self, x: Floats) -> Floats:
        """See `_Rows`."""
        return self.run("linear", x)


class LinearReLU(Linear):
    """`Linear` and ReLU in one."""

    relu = True


class Float16Linear(_Rows):
    """y = x W^T + b in float32, of weights that are stored in float16, half as large.

    Weights beyond float16's 65504 become that. The float32 form is made at the first call and kept. Source: PyTorch,
    `torch.ao.nn.quantized.dynamic.Linear` with dtype=torch.float16.
    """

    weight_values: NDArray[np.float16]
    bias_values: Floats | None
    derived = frozenset({"_wide"})
    relu = False

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("weight_values", np.zeros((out_features, in_features), np.float16))
        self.register_buffer("bias_values", np.zeros(out_features, np.float32) if bias else None)
        self._wide: Floats | None = None

    @classmethod
    def from_float(cls, module: Any) -> Float16Linear:
        """From a float Linear or LinearReLU."""
        layer = module if hasattr(module, "in_features") else module[0]
        twin = cls(layer.in_features, layer.out_features, layer.bias is not None)
        twin.relu = layer is not module
        largest = np.finfo(np.float16).max
        twin.weight_values = np.clip(layer.weight.array, -largest, largest).astype(np.float16)
        twin.bias_values = None if layer.bias is None else np.array(layer.bias.array, np.float32)
        return twin

    def state_changed(self) -> None:
        """Forgets the float32 form."""
        self._wide = None

    def rows(self, x: Floats) -> Floats:
        """See `_Rows`."""
        if self._wide is None:
            self._wide = np.ascontiguousarray(self.weight_values.T, dtype=np.float32)
        y = x @ self._wide
        if self.bias_values is not None:
            y += self.bias_values
        return np.maximum(y, 0, out=y) if self.relu else y

    def extra_repr(self) -> str:
        """One line, true facts only."""
        return f"{self.in_features}, {self.out_features}, w=float16"
