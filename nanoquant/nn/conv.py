"""Convolutions over images.

Before: `linear`. After: `norm`.
"""

from __future__ import annotations

from typing import Any

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor
from ..module import Module
from . import functional as F
from .functional import Padding, Pair, pair
from .linear import take_float, uniform


class Geometry:
    """The arguments of a convolution but its weights: what a float layer and its quantized twin share.

    padding: an integer, a pair, 'valid' (none) or 'same' (as much as keeps the size at stride 1, the odd pixel at the
    end).
    """

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair | str
    dilation: Pair
    groups: int
    padding_mode: str

    def set_geometry(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair,
        padding: int | Pair | str,
        dilation: int | Pair,
        groups: int,
        padding_mode: str,
    ) -> None:
        """Stores the arguments, after checking that they fit together."""
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size"), pair(stride, "stride")
        self.dilation, self.padding_mode = pair(dilation, "dilation"), padding_mode
        self.padding = padding if isinstance(padding, str) else pair(padding, "padding")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels={in_channels} and out_channels={out_channels}; got {groups}"
            )
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError("kernel_size, stride and dilation must be at least 1")
        if padding_mode not in F.PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(F.PADDING_MODES)}; got {padding_mode!r}")
        if isinstance(self.padding, str) and self.padding not in ("valid", "same"):
            raise ValueError(f"padding must be an integer, a pair, 'valid' or 'same'; got {padding!r}")
        if self.padding == "same" and self.stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1; got {self.stride}")

    def copy_geometry(self, other: Geometry) -> None:
        """Takes over another layer's arguments."""
        self.set_geometry(
            other.in_channels, other.out_channels, other.kernel_size, other.stride,
            other.padding, other.dilation, other.groups, other.padding_mode,
        )  # fmt: skip

    def borders(self) -> Padding:
        """((top, bottom), (left, right)) pixels of padding."""
        if isinstance(self.padding, str):
            whole = [
                d * (k - 1) if self.padding == "same" else 0
                for d, k in zip(self.dilation, self.kernel_size, strict=True)
            ]
            return (whole[0] // 2, whole[0] - whole[0] // 2), (whole[1] // 2, whole[1] - whole[1] // 2)
        return (self.padding[0],) * 2, (self.padding[1],) * 2

    def split_padding(self, x: F.AnyTensor) -> tuple[F.AnyTensor, Pair]:
        """The padding that a convolution can do itself (zeros, equal on both sides), after what it cannot was done to x."""
        (top, bottom), (left, right) = self.borders()
        if self.padding_mode == "zeros" and top == bottom and left == right:
            return x, (top, left)
        return F.pad(x, self.borders(), self.padding_mode), (0, 0)

    def geometry_repr(self) -> str:
        """The arguments that differ from their defaults, as torch prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1), ("padding_mode", "zeros")):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text


class Conv2d(Module, Geometry):
    """A convolution over images (batch, in_channels, height, width).

        y[n, o, y, x] = b[o] + sum_{c, i, j} w[o, c, i, j] x[n, c, y stride + i dilation, x stride + j dilation]

    weight: (out_channels, in_channels / groups, *kernel_size); bias: (out_channels,) or None. Both start uniform in
    +-1/sqrt(in_channels / groups * kernel pixels). padding_mode: zeros, reflect, replicate or circular.

    >>> Conv2d(1, 8, 3, padding=1)
    Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)
        fan_in = in_channels // groups * self.kernel_size[0] * self.kernel_size[1]
        self.weight = uniform((out_channels, in_channels // groups, *self.kernel_size), fan_in)
        self.register_parameter("bias", uniform((out_channels,), fan_in) if bias else None)

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return self.convolve(take_float(self, x), self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with this geometry and other weights."""
        F.check_image(x.shape, self.in_channels)
        x, padding = self.split_padding(x)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Sizes and the arguments that differ from their defaults."""
        return self.geometry_repr() + ("" if self.bias is not None else ", bias=False")
