"""Convolutions in integers.

Before: `linear`. After: `arguments`.
"""

from __future__ import annotations

from typing import Any

from ...kernels.packed import PackedWeights
from ...numerics import Profile
from ...qtensor import QTensor
from ..conv import AXES, Geometry, Size, check_image
from ..layer import sizes
from .weighted import Static, Weighted


class ConvWeights(Geometry, Weighted):
    """Weights of a convolution: qint8 (out_channels, in_channels / groups, *kernel_size)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", profile: Profile | None = None,
    ) -> None:  # fmt: skip
        kernel = sizes(kernel_size, "kernel_size", self.axes)
        super().__init__((out_channels, in_channels // max(groups, 1), *kernel), bias, profile)
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Any:
        """From a float layer, its fused form or their QAT twins, batch normalization folded in."""
        layer = module if isinstance(module, Geometry) else module[0]
        twin = cls(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            layer.groups, padding_mode=layer.padding_mode, profile=profile,
        )  # fmt: skip
        return twin.filled(module)

    def pack(self, values: Any, scale: Any, zero_point: Any, bias: Any) -> PackedWeights:
        """See `Weighted`."""
        own = self.padding_mode == "zeros" and all(before == after for before, after in self.borders())
        padding = tuple(before for before, _ in self.borders()) if own else (0,) * self.axes
        return PackedWeights(values, scale, zero_point, bias, self.stride, padding, self.dilation, self.groups, self.profile)


class _Conv(ConvWeights, Static):
    """A convolution between integers."""

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        q = self.take(x)
        check_image(q.shape, self.in_channels, self.axes)
        padded, _ = self.split_padding(q)
        return self.run("conv", padded, keep=padded is q)


class Conv2d(_Conv):
    """A convolution over images from integers to integers.

    x: (batch, in_channels, height, width), quantized per tensor in 8 bits. weight: qint8 (out_channels, in_channels /
    groups, *kernel_size). The sum is `kernels.reference.accumulate`, the epilogue `nanoquant.numerics`. Padding is
    real zero.
    """


class TransposedWeights(ConvWeights):
    """weight: (in_channels, out_channels / groups, *kernel_size), as in float; scales per tensor, or, in one group, on axis 1."""

    out_features_axis = 1

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, profile: Profile | None = None,
    ) -> None:  # fmt: skip
        kernel = sizes(kernel_size, "kernel_size", self.axes)
        super(ConvWeights, self).__init__((in_channels, out_channels // max(groups, 1), *kernel), bias, profile)
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, "zeros")
        self.output_padding = sizes(output_padding, "output_padding", self.axes)

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Any:
        """From a float layer."""
        twin = cls(
            module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding,
            module.output_padding, module.groups, dilation=module.dilation, profile=profile,
        )  # fmt: skip
        return twin.filled(module)

    def pack(self, values: Any, scale: Any, zero_point: Any, bias: Any) -> PackedWeights:
        """See `Weighted`."""
        assert isinstance(self.padding, tuple)  # its constructor takes no words
        return PackedWeights(
            outputs_first(values, self.groups), scale, zero_point, bias, self.stride, self.padding, self.dilation,
            self.groups, self.profile, transposed=True, output_padding=self.output_padding,
        )  # fmt: skip


def outputs_first(weights: Any, groups: int) -> Any:
    """Weights (in_channels, out_channels / groups, *kernel) as kernels want them: (out_channels, in_channels / groups, ...)."""
    own, kernel = weights.shape[1], weights.shape[2:]
    by_group = weights.reshape(groups, -1, own, *kernel)
    return by_group.swapaxes(1, 2).reshape(groups * own, -1, *kernel)


def _layer(name: str, bases: tuple[type[Any], ...], doc: str, **attributes: Any) -> type[Any]:
    return type(name, bases, {"__doc__": doc, "__module__": __name__, **attributes})


Conv1d, Conv3d = (_layer(f"Conv{n}d", (_Conv,), f"`Conv2d` over (batch, in_channels, {AXES[n]}).", axes=n) for n in (1, 3))
ConvReLU1d, ConvReLU2d, ConvReLU3d = (
    _layer(f"ConvReLU{n}d", (conv,), f"`Conv{n}d` and ReLU in one: the lower limit of the output is its zero point.", relu=True)
    for n, conv in enumerate((Conv1d, Conv2d, Conv3d), 1)
)  # fmt: skip
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = (
    _layer(f"ConvTranspose{n}d", (TransposedWeights, _Conv), f"`nn.ConvTranspose{n}d` from integers to integers.", axes=n)
    for n in (1, 2, 3)
)  # fmt: skip
