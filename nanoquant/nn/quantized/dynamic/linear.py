"""Layers with int8 weights and float activations, which are quantized for each call by the range they have.

Before: `nanoquant.nn.quantized`. After: `recurrent`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....autograd.tensor import Tensor
from ....kernels import dynamic
from ....kernels.packed import PackedWeights
from ....numerics import Profile
from ....qtensor import without_gradient
from ...layer import take_float
from ..linear import pack_linear
from ..weighted import Weighted, quantize_weights


def linear_dynamic(x: Any, packed: PackedWeights, reduce_range: bool, relu: bool = False) -> Any:
    """A linear layer on float rows (rows, in_features), quantized with one scale for all of them; float32 result.

    scale, zero_point = choose_dynamic_qparams(min x, max x)         0..127 with reduce_range, which QNNPACK ignores
    y = epilogue D(sum_k (q_x - z_x) (q_w - z_w))                    `nanoquant.numerics`
    """
    if x.size == 0:
        return np.broadcast_to(
            np.float32(0) if packed.bias is None else packed.bias, (len(x), packed.out_channels)
        ).copy()
    quant_max = 127 if reduce_range and packed.profile is not Profile.qnnpack else 255
    return dynamic.linear_dynamic(packed, x, quant_max, relu)


class Linear(Weighted):
    """y = x W^T + b, float to float, through int8: x is quantized by its own range at every call.

    x: (..., in_features), float. weight: qint8 (out_features, in_features). The range is that of the whole input, so
    a row's result depends on its batch mates.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, profile: Profile | None = None) -> None:
        super().__init__((out_features, in_features), bias, profile)
        self.in_features, self.out_features = in_features, out_features

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Linear:
        """From a float Linear with a dynamic qconfig; needs no calibration."""
        twin = cls(module.in_features, module.out_features, module.bias is not None, profile)
        twin.set_weight_bias(*quantize_weights(module))
        return twin

    def pack(self, values: Any, scale: Any, zero_point: Any, bias: Any) -> PackedWeights:
        """See `Weighted`."""
        return pack_linear(values, scale, zero_point, bias, self.profile)

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        value = take_float(self, x)
        if value.shape[-1] != self.in_features:
            raise ValueError(f"the layer has {self.in_features} input features; got an input of shape {value.shape}")
        rows = np.asarray(value.array, dtype=np.float32, order="C").reshape(-1, self.in_features)
        y = linear_dynamic(rows, self.packed(), reduce_range=True)
        return without_gradient(y.reshape(*value.shape[:-1], self.out_features), value if value.requires_grad else None)

    def printed_name(self) -> str:
        """'DynamicQuantizedLinear', as torch prints it."""
        return f"DynamicQuantized{type(self).__name__}"

    def extra_repr(self) -> str:
        """One line, true facts only: a dynamic layer has no output scale."""
        return f"{self.in_features}, {self.out_features}, {self.weights_repr()}, x=dynamic, profile={self.profile.name}"
