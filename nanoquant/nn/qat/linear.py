"""Linear layers with fake-quantized weights.

Before: `twin`. After: `conv`.
"""

from __future__ import annotations

from typing import Any

from ...autograd.tensor import Tensor
from ...module import Module
from .. import functional as F
from .. import intrinsic
from .. import linear as float_linear
from ..linear import take_float
from .twin import Twin


class Linear(Twin, float_linear.Linear):
    """`nn.Linear` with fake-quantized weights; `Twin` says what it computes."""

    def __init__(self, layer: Any, qconfig: Any, bn: Any = None) -> None:
        Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.adopt(layer, bn, qconfig)

    @classmethod
    def from_float(cls, module: Any) -> Linear:
        """The twin of a float layer that has a qconfig; parameters are shared."""
        return cls(module, module.qconfig)

    def apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """y = x W^T + b."""
        return F.linear(take_float(self, x), weight, bias)


class LinearReLU(Linear):
    """`nn.intrinsic.LinearReLU` with fake-quantized weights."""

    relu = True

    @classmethod
    def from_float(cls, module: intrinsic.LinearReLU) -> LinearReLU:
        """The twin of a fused float module."""
        return cls(module[0], module.qconfig)


class LinearBn1d(Linear):
    """`nn.intrinsic.LinearBn1d` with fake-quantized folded weights."""

    @classmethod
    def from_float(cls, module: intrinsic.LinearBn1d) -> LinearBn1d:
        """The twin of a fused float module."""
        return cls(module[0], module.qconfig, module[1])
