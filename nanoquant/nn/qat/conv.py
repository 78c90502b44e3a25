"""Convolutions with fake-quantized weights.

Before: `linear`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

from ...autograd.tensor import Tensor
from ...module import Module
from .. import conv as float_conv
from .. import intrinsic
from ..linear import take_float
from .twin import Twin


class Conv2d(Twin, float_conv.Conv2d):
    """`nn.Conv2d` with fake-quantized weights; `Twin` says what it computes."""

    def __init__(self, layer: Any, qconfig: Any, bn: Any = None) -> None:
        Module.__init__(self)
        self.copy_geometry(layer)
        self.adopt(layer, bn, qconfig)

    @classmethod
    def from_float(cls, module: Any) -> Conv2d:
        """The twin of a float layer that has a qconfig; parameters are shared."""
        return cls(module, module.qconfig)

    def apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with these weights."""
        return self.convolve(take_float(self, x), weight, bias)


class ConvReLU2d(Conv2d):
    """`nn.intrinsic.ConvReLU2d` with fake-quantized weights."""

    relu = True

    @classmethod
    def from_float(cls, module: intrinsic.ConvReLU2d) -> ConvReLU2d:
        """The twin of a fused float module."""
        return cls(module[0], module.qconfig)


class ConvBn2d(Conv2d):
    """`nn.intrinsic.ConvBn2d` with fake-quantized folded weights."""

    @classmethod
    def from_float(cls, module: Any) -> ConvBn2d:
        """The twin of a fused float module."""
        return cls(module[0], module.qconfig, module[1])


class ConvBnReLU2d(ConvBn2d):
    """`nn.intrinsic.ConvBnReLU2d` with fake-quantized folded weights."""

    relu = True


def freeze_bn_stats(module: Module) -> None:
    """For `model.apply`: batch normalizations inside QAT layers use, and no longer update, their running statistics."""
    if isinstance(module, Twin):
        module.bn_frozen = True


def update_bn_stats(module: Module) -> None:
    """For `model.apply`: undoes `freeze_bn_stats`."""
    if isinstance(module, Twin):
        module.bn_frozen = False
