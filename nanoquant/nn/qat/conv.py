"""Convolutions with fake-quantized weights.

Before: `linear`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

from ...autograd.tensor import Tensor
from ...module import Module
from .. import conv as float_conv
from .twin import Twin

FLOAT = float_conv.Conv1d, float_conv.Conv2d, float_conv.Conv3d
FUNCTIONS = float_conv.conv1d, float_conv.conv2d, float_conv.conv3d


class _Conv(Twin):
    def apply_layer(self: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = FUNCTIONS[self.axes - 1](
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode
        )
        return y


def _twin(name: str, source: str, base: type[Any], *more: type[Any], relu: bool = False) -> type[Any]:
    """A twin of `nn.name`, or of `nn.intrinsic.name`."""
    doc = f"`{source}.{name}` with fake-quantized weights; `Twin` says what it computes."
    return type(name, (base, *more), {"__doc__": doc, "__module__": __name__, "relu": relu})


Conv1d, Conv2d, Conv3d = (_twin(f"Conv{n}d", "nn", _Conv, float_conv) for n, float_conv in enumerate(FLOAT, 1))
PLAIN = Conv1d, Conv2d, Conv3d
ConvReLU1d, ConvReLU2d, ConvReLU3d = (_twin(f"ConvReLU{n}d", "nn.intrinsic", conv, relu=True) for n, conv in enumerate(PLAIN, 1))
ConvBn1d, ConvBn2d, ConvBn3d = (_twin(f"ConvBn{n}d", "nn.intrinsic", conv) for n, conv in enumerate(PLAIN, 1))
ConvBnReLU1d, ConvBnReLU2d, ConvBnReLU3d = (
    _twin(f"ConvBnReLU{n}d", "nn.intrinsic", conv, relu=True) for n, conv in enumerate((ConvBn1d, ConvBn2d, ConvBn3d), 1)
)


def freeze_bn_stats(module: Module) -> None:
    """For `model.apply`: batch normalizations inside QAT layers use, and no longer update, their running statistics."""
    if isinstance(module, Twin):
        module.bn_frozen = True


def update_bn_stats(module: Module) -> None:
    """For `model.apply`: undoes `freeze_bn_stats`."""
    if isinstance(module, Twin):
        module.bn_frozen = False
