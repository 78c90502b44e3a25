"""Linear layers in integers.

Before: `quantize`. After: `conv`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.packed import PackedWeights
from ...numerics import Profile, twice_inverted
from ...qtensor import QTensor
from .weighted import Static, Weighted


def pack_linear(values: Any, scale: Any, zero_point: Any, bias: Any, profile: Profile) -> PackedWeights:
    """PackedWeights of a matrix: a 1 x 1 convolution. oneDNN inverts a linear layer's scales twice (`numerics`)."""
    if profile is Profile.onednn:
        scale = twice_inverted(scale)
    return PackedWeights(values[:, :, np.newaxis, np.newaxis], scale, zero_point, bias, profile=profile)


class LinearWeights(Weighted):
    """Weights of a linear layer: qint8 (out_features, in_features)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, profile: Profile | None = None) -> None:
        super().__init__((out_features, in_features), bias, profile)
        self.in_features, self.out_features = in_features, out_features

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Any:
        """From a Linear, LinearReLU or their QAT twins: calibrated, or, for a dynamic layer, with a dynamic qconfig."""
        layer = module if hasattr(module, "in_features") else module[0]
        return cls(layer.in_features, layer.out_features, layer.bias is not None, profile).filled(module)

    def pack(self, values: Any, scale: Any, zero_point: Any, bias: Any) -> PackedWeights:
        """See `Weighted`."""
        return pack_linear(values, scale, zero_point, bias, self.profile)

    def geometry_repr(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}"


class Linear(LinearWeights, Static):
    """y = x W^T + b from integers to integers.

        q_y = clamp(rint(epilogue(sum_k (q_x - z_x) (q_w - z_w))) + z_y)          the epilogue: `nanoquant.numerics`

    x: (..., in_features), quantized per tensor in 8 bits. weight: qint8 (out_features, in_features).
    """

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        return self.run("linear", self.take(x))


class LinearReLU(Linear):
    """`Linear` and ReLU in one: the lower limit of the output is its zero point."""

    relu = True
