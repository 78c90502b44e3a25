"""Convolutions with fake-quantized weights.

Before: `linear`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from ...autograd.tensor import Tensor
from ...module import Module
from .. import conv as float_conv
from .twin import Twin


class Conv2d(Twin, float_conv.Conv2d):
    """`nn.Conv2d` with fake-quantized weights; `Twin` says what it computes."""

    def apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with these weights."""
        y: Tensor = float_conv.conv2d(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode
        )
        return y


class ConvReLU2d(Conv2d):
    """`nn.intrinsic.ConvReLU2d` with fake-quantized weights."""

    relu = True


class ConvBn2d(Conv2d):
    """`nn.intrinsic.ConvBn2d` with fake-quantized folded weights."""


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
