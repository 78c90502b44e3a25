"""Convolutions in integers.

Before: `linear`. After: `arguments`.
"""

from __future__ import annotations

from typing import Any

from ...kernels.packed import PackedWeights
from ...numerics import Profile
from ...qtensor import QTensor
from ..conv import Geometry, Size, check_image
from ..layer import sizes
from .weighted import Static, run, static_from_float


class Conv2d(Geometry, Static):
    """A convolution over images from integers to integers.

    x: (batch, in_channels, height, width), quantized per tensor in 8 bits. weight: qint8 (out_channels, in_channels /
    groups, *kernel_size). The sum is `kernels.reference.accumulate`, the epilogue `nanoquant.numerics`. Padding is
    real zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        profile: Profile | None = None,
    ) -> None:
        kernel = sizes(kernel_size, "kernel_size", 2)
        super().__init__((out_channels, in_channels // max(groups, 1), *kernel), bias, profile)
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Static:
        """From a calibrated Conv2d, ConvReLU2d or their QAT twins, batch normalization folded in."""
        layer = module if isinstance(module, Geometry) else module[0]
        twin = cls(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            layer.groups, padding_mode=layer.padding_mode, profile=profile,
        )  # fmt: skip
        return static_from_float(twin, module)

    def pack(self, values: Any, scale: Any, zero_point: Any, bias: Any) -> PackedWeights:
        """See `Weighted`."""
        own = self.padding_mode == "zeros" and all(before == after for before, after in self.borders())
        padding = tuple(before for before, _ in self.borders()) if own else (0, 0)
        return PackedWeights(
            values, scale, zero_point, bias, self.stride, padding, self.dilation, self.groups, self.profile
        )

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        q = self.take(x)
        check_image(q.shape, self.in_channels)
        q, _ = self.split_padding(q)
        return run("conv", self.packed(), q, self.output(), self.relu)


class ConvReLU2d(Conv2d):
    """`Conv2d` and ReLU in one: the lower limit of the output is its zero point."""

    relu = True
