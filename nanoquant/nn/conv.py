"""Convolutions over sequences, images and volumes, and their transposes.

Before: `shape`. After: `norm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor, apply
from ..module import Module
from . import spatial
from .layer import Layer, as_tensor, layer, per_axes, sizes
from .linear import uniform
from .shape import MODES, Borders, pad_axes
from .windows import Sizes, out_sizes

PADDING_MODES = ("zeros", *(mode for mode in MODES if mode != "constant"))
Size = int | Sizes
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def check_image(shape: Sizes, channels: int, axes: int = 2) -> None:
    """Raises ValueError unless the shape is (batch, channels, *size) with `axes` axes of size."""
    if len(shape) != 2 + axes or shape[1] != channels:
        raise ValueError(f"the layer takes images of shape (batch, {channels}, {AXES[axes]}); got {tuple(shape)}")


def borders_of(padding: Sizes | str, kernel: Sizes, dilation: Sizes) -> Borders:
    """Pixels of padding before and after each axis.

    >>> borders_of("same", (3, 4), (1, 1)), borders_of((2, 0), (3, 4), (1, 1))
    (((1, 1), (1, 2)), ((2, 2), (0, 0)))
    """
    if not isinstance(padding, str):
        return tuple((p, p) for p in padding)
    whole = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    return tuple((n // 2, n - n // 2) for n in whole)


def split_padding(x: Any, borders: Borders, mode: str) -> tuple[Any, Sizes]:
    """The padding that a convolution can do itself (zeros, equal on both sides), after what it cannot was done to x."""
    if mode == "zeros" and all(before == after for before, after in borders):
        return x, tuple(before for before, _ in borders)
    padded = pad_axes(x, ((0, 0), (0, 0), *borders), "constant" if mode == "zeros" else mode)
    return padded, (0,) * len(borders)


def _conv(
    axes: int, input: Any, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size | str = 0,
    dilation: Size = 1, groups: int = 1, padding_mode: str = "zeros",
) -> Tensor:  # fmt: skip
    """Convolution; `spatial.conv` has the formula.

    input: (batch, in_channels, *size). weight: (out_channels, in_channels / groups, *kernel). bias: (out_channels,).
    padding: numbers, 'valid' (none) or 'same' (as much as keeps the size, the odd pixel at the end).
    """
    x, kernel = as_tensor(input), weight.shape[2:]
    check_image(x.shape, weight.shape[1] * groups, axes)
    steps, gaps = sizes(stride, "stride", axes), sizes(dilation, "dilation", axes)
    given = padding if isinstance(padding, str) else sizes(padding, "padding", axes)
    x, border = split_padding(x, borders_of(given, kernel, gaps), padding_mode)
    if min(out_sizes(x.shape, kernel, steps, border, gaps)) < 1:
        size, wanted = (" x ".join(map(str, shape)) for shape in (x.shape[2:], kernel))
        raise ValueError(f"an image of {size} with padding {border} holds no kernel of {wanted} with dilation {gaps}")
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return apply(spatial.CONV, *inputs, stride=steps, padding=border, dilation=gaps, groups=groups)


def _conv_transpose(
    axes: int, input: Any, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1,
) -> Tensor:  # fmt: skip
    """Transposed convolution; `spatial.conv_transpose` has the formula.

    input: (batch, in_channels, *size). weight: (in_channels, out_channels / groups, *kernel). bias: (out_channels,).
    """
    x = as_tensor(input)
    check_image(x.shape, weight.shape[0], axes)
    names = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    options = {name: sizes(value, name, axes) for name, value in names.items()}
    if any(np.greater_equal(options["output_padding"], np.maximum(options["stride"], options["dilation"]))):
        raise ValueError(f"output_padding must be smaller than stride or dilation; got {options['output_padding']}")
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return apply(spatial.CONV_TRANSPOSE, *inputs, groups=groups, **options)


conv1d, conv2d, conv3d = per_axes(_conv)
conv_transpose1d, conv_transpose2d, conv_transpose3d = per_axes(_conv_transpose)


class Geometry:
    """The arguments of a convolution but its weights: what a float layer and its quantized twin share."""

    axes = 2
    padding: Sizes | str

    def set_geometry(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Size | str,
        dilation: Size, groups: int, padding_mode: str,
    ) -> None:  # fmt: skip
        """Stores the arguments, after checking that they fit together."""
        axes = self.axes
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = sizes(kernel_size, "kernel_size", axes), sizes(stride, "stride", axes)
        self.dilation, self.padding_mode = sizes(dilation, "dilation", axes), padding_mode
        self.padding = padding if isinstance(padding, str) else sizes(padding, "padding", axes)
        self.output_padding = (0,) * axes
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide in_channels={in_channels} and out_channels={out_channels}; got {groups}")
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError("kernel_size, stride and dilation must be at least 1")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(PADDING_MODES)}; got {padding_mode!r}")
        if isinstance(self.padding, str) and self.padding not in ("valid", "same"):
            raise ValueError(f"padding must be integers, 'valid' or 'same'; got {padding!r}")
        if self.padding == "same" and set(self.stride) != {1}:
            raise ValueError(f"padding='same' needs stride 1; got {self.stride}")

    def copy_geometry(self, other: Geometry) -> None:
        """Takes over another layer's arguments."""
        self.set_geometry(
            other.in_channels, other.out_channels, other.kernel_size, other.stride,
            other.padding, other.dilation, other.groups, other.padding_mode,
        )  # fmt: skip

    def borders(self) -> Borders:
        """Pixels of padding before and after each axis."""
        return borders_of(self.padding, self.kernel_size, self.dilation)

    def split_padding(self, x: Any) -> tuple[Any, Sizes]:
        """`split_padding` of this layer."""
        if self.padding_mode == "zeros" and isinstance(self.padding, tuple):
            return x, self.padding
        return split_padding(x, self.borders(), self.padding_mode)

    def geometry_repr(self, bias: bool = True) -> str:
        """The arguments that differ from their defaults, as torch prints them."""
        zero, one = (0,) * self.axes, (1,) * self.axes
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        usual = {"padding": zero, "dilation": one, "output_padding": zero, "groups": 1}
        text += "".join(f", {name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value)
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}"
        return text + ("" if bias else ", bias=False") + mode


class _Conv(Layer, Geometry):
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        Module.__init__(self)
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)
        self.set_weights(out_channels, in_channels, bias)

    def set_weights(self, first: int, second: int, bias: bool) -> None:
        """Draws weight (first, second / groups, *kernel_size) and bias uniformly from +-1/sqrt(size of one filter)."""
        shape = (first, second // self.groups, *self.kernel_size)
        self.weight = uniform(shape, math.prod(shape[1:]))
        self.register_parameter("bias", uniform((self.out_channels,), math.prod(shape[1:])) if bias else None)

    def extra_repr(self) -> str:
        return self.geometry_repr(self.bias is not None)


class Conv2d(_Conv):
    """A convolution over images (batch, in_channels, height, width).

        y[n, o, y, x] = b[o] + sum_{c, i, j} w[o, c, i, j] x[n, c, y stride + i dilation, x stride + j dilation]

    weight: (out_channels, in_channels / groups, *kernel_size); bias: (out_channels,) or None. Both start uniform in
    +-1/sqrt(in_channels / groups * kernel pixels). padding: an integer, a pair, 'valid' (none) or 'same' (as much as
    keeps the size at stride 1, the odd pixel at the end). padding_mode: zeros, reflect, replicate or circular.

    >>> Conv2d(1, 8, 3, padding=1)
    Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    function = staticmethod(conv2d)


class _ConvTranspose(_Conv):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1,
    ) -> None:  # fmt: skip
        Module.__init__(self)
        self.set_geometry(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, "zeros")
        self.output_padding = sizes(output_padding, "output_padding", self.axes)
        self.set_weights(in_channels, out_channels, bias)


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution, which makes images larger: each pixel adds its multiple of the filter.

        y[n, o, y stride + i dilation - padding, x stride + j dilation - padding]  sums  w[c, o, i, j] x[n, c, y, x]

    weight: (in_channels, out_channels / groups, *kernel_size). Size: (size - 1) stride - 2 padding + dilation (kernel - 1)
    + output_padding + 1.

    >>> ConvTranspose2d(8, 4, 2, stride=2)(nq.ones(1, 8, 5, 5)).shape
    (1, 4, 10, 10)
    """

    function = staticmethod(conv_transpose2d)


def _over(name: str, function: Callable[..., Any], base: type[Layer], axes: int) -> type[Any]:
    """The layer of a family over 1 or 3 axes."""
    return layer(name, function, f"`{name[:-2]}2d` over (batch, in_channels, {AXES[axes]}).", base, axes=axes)


Conv1d, Conv3d = _over("Conv1d", conv1d, _Conv, 1), _over("Conv3d", conv3d, _Conv, 3)
ConvTranspose1d = _over("ConvTranspose1d", conv_transpose1d, _ConvTranspose, 1)
ConvTranspose3d = _over("ConvTranspose3d", conv_transpose3d, _ConvTranspose, 3)
