"""Linear layers.

Before: `functional`. After: `conv`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor
from ..creation import generator
from ..errors import ModuleError
from ..module import Module
from ..qtensor import QTensor
from . import functional as F


def uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """A parameter drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's initial weights and biases."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return Parameter(generator().uniform(-bound, bound, shape).astype(np.float32))


def as_tensor(x: Any) -> Any:
    """A tensor, quantized or not, as it is; anything else as a tensor, its float64 as float32."""
    if isinstance(x, Tensor | QTensor):
        return x
    array = np.asarray(x)
    return Tensor(array.astype(np.float32) if array.dtype == np.float64 else array)


def take_float(module: Module, x: Any) -> Any:
    """x as a tensor, for a float layer; a quantized x is an error that says what is missing."""
    if isinstance(x, QTensor):
        raise ModuleError(
            module,
            "a float layer received a quantized tensor. It was not converted (no qconfig, or qconfig=None): put a DeQuantStub "
            "before it and a QuantStub behind it, or give it a qconfig",
        )
    return as_tensor(x)


class Identity(Module):
    """Returns its input."""

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class Linear(Module):
    """y = x W^T + b.

    x: (..., in_features); y: (..., out_features). weight: (out_features, in_features); bias: (out_features,) or None.
    Both start uniform in +-1/sqrt(in_features).

    >>> Linear(3, 2)
    Linear(in_features=3, out_features=2, bias=True)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform((out_features, in_features), in_features)
        self.register_parameter("bias", uniform((out_features,), in_features) if bias else None)

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.linear(take_float(self, x), self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
