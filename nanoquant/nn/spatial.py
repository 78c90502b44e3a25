"""Convolution over images, as products of matrices.

A convolution is one matrix product, once every input value stands in each of the places where the filter meets it:
*unfolded* (im2col), a row for each output pixel. Its gradient *folds* such rows, which adds up what meets in one place.

      image             columns            y[pixel] = columns[pixel] @ filter
      +---------+       a b e f            dfilter  = columns^T @ dy
      | a b c d |       b c f g            dcolumns = dy @ filter^T,  dimage = fold(dcolumns)
      | e f g h |  -->  c d g h
      | i j k l |       e f i j            (2 x 2 filter; each letter is a pixel's run of channels)
      +---------+       ...

So images lie in memory channels last; what users see is a view of them, (batch, channels, *size). Columns are k times as
large as the image for a filter of k taps: they are made for a few images at a time, and never leave the cache. A depthwise
filter has no matrix, and goes without columns (csrc/slide.c).

Before: `pooling`. After: `normalization`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autograd.ops import Array, Op
from ..kernels.sliding import Slide, slide
from .pooling import ADAPTIVE_AVG_POOL as ADAPTIVE_AVG_POOL
from .pooling import ADAPTIVE_MAX_POOL as ADAPTIVE_MAX_POOL
from .pooling import AVG_POOL as AVG_POOL
from .pooling import MAX_POOL as MAX_POOL
from .windows import Sizes, out_sizes
from .windows import out_size as out_size

CACHED = 1 << 20  # bytes of columns that are made at a time


class Geometry(NamedTuple):
    """How a filter meets an image."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int = 1


def channels_last(x: Array) -> Array:
    """(batch, channels, *size) as (batch, *size, channels), compact."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _matrices(w: Array, groups: int) -> Array:
    """A filter (outputs, inputs / groups, *kernel) as (groups, outputs / groups, places * inputs / groups)."""
    return channels_last(w).reshape(groups, w.shape[0] // groups, -1)


class _Meeting:
    """A filter's shape, and the image and output that it meets: arrays (batch, *size, channels)."""

    def __init__(self, image: Sizes, out: Sizes, w: Array, geometry: Geometry, dtype: Any) -> None:
        self.batch, self.out, self.groups, self.dtype = image[0], out, geometry.groups, dtype
        self.channels, self.outputs, self.taps = w.shape[1], w.shape[0] // geometry.groups, int(np.prod(w.shape[2:]))
        self.pixels = int(np.prod(out))
        self.sizes = (image[1:-1], out, w.shape[2:], geometry.stride, geometry.padding, geometry.dilation)
        self.depthwise = self.channels == self.outputs == 1
        self.pointwise = geometry.groups == self.taps == 1 and set(geometry.stride) == {1} and not any(geometry.padding)

    def parts(self) -> Iterator[tuple[slice, int, Array]]:
        """A few images at a time, each group: which images, which group, and room for their columns."""
        row = self.taps * self.channels
        step = max(1, min(self.batch, CACHED // (self.pixels * row * self.dtype.itemsize)))
        room = np.empty((step * self.pixels, row), self.dtype)
        for first in range(0, self.batch, step):
            images = slice(first, min(first + step, self.batch))
            for group in range(self.groups):
                yield images, group, room[: (images.stop - first) * self.pixels]

    def rows(self, y: Array, images: slice, group: int) -> Array:
        """The output pixels of some images: a view, one row each, of one group's channels."""
        return y[images].reshape(-1, y.shape[-1])[:, group * self.outputs : (group + 1) * self.outputs]

    def slide(self, op: Slide, image: Array, pixels: Array, f: Array | None = None, group: int = 0) -> Array:
        """Runs csrc/slide.c on one group, or on all channels if depthwise; returns `pixels`."""
        first, count = (0, self.groups) if self.depthwise else (group * self.channels, self.channels)
        slide(op, image, pixels, f, first, count, self.sizes)
        return pixels


def _correlate(x: Array, w: Array, out: Sizes, geometry: Geometry) -> Array:
    """The convolution without its bias; images channels last."""
    m = _Meeting(x.shape, out, w, geometry, x.dtype)
    filters = _matrices(w, m.groups)
    if m.depthwise:
        return m.slide(
            Slide.correlate, x, np.zeros((len(x), *out, m.groups), x.dtype), np.ascontiguousarray(filters[:, 0].T)
        )
    y = np.empty((len(x), *out, w.shape[0]), x.dtype)
    if m.pointwise:
        np.matmul(x, filters[0].T, out=y)
        return y
    for images, group, room in m.parts():
        columns = m.slide(Slide.unfold, x[images], room, group=group)
        np.matmul(columns, filters[group].T, out=m.rows(y, images, group))
    return y


def _scatter(g: Array, w: Array, size: Sizes, geometry: Geometry) -> Array:
    """The transpose of `_correlate`: each pixel of g adds its multiple of the filter to an image of `size`."""
    x = np.zeros((len(g), *size, w.shape[1] * geometry.groups), g.dtype)
    m = _Meeting(x.shape, g.shape[1:-1], w, geometry, g.dtype)
    filters = _matrices(w, m.groups)
    if m.depthwise:
        m.slide(Slide.scatter, x, g, np.ascontiguousarray(filters[:, 0].T))
        return x
    if m.pointwise:
        return np.asarray(np.matmul(g, filters[0]))
    for images, group, room in m.parts():
        np.matmul(m.rows(g, images, group), filters[group], out=room)
        m.slide(Slide.fold, x[images], room, group=group)
    return x


def _filter_gradient(g: Array, x: Array, w: Array, geometry: Geometry) -> Array:
    """The gradient of w, which made images of gradient g of x."""
    m = _Meeting(x.shape, g.shape[1:-1], w, geometry, g.dtype)
    dw = np.zeros((m.groups, m.outputs, m.taps * m.channels), g.dtype)
    if m.depthwise:
        each = np.zeros((m.batch, m.taps, m.groups), g.dtype)
        m.slide(Slide.filter, x, g, each)
        dw[:, 0] = each.sum(axis=0).T
    elif m.pointwise:
        np.matmul(g.reshape(-1, g.shape[-1]).T, x.reshape(-1, x.shape[-1]), out=dw[0])
    else:
        for images, group, room in m.parts():
            columns = m.slide(Slide.unfold, x[images], room, group=group)
            dw[group] += m.rows(g, images, group).T @ columns
    return np.ascontiguousarray(np.moveaxis(dw.reshape(w.shape[0], *w.shape[2:], -1), -1, 1))


def _channels_first(y: Array, b: Array | None = None) -> Array:
    """(batch, *size, channels), plus a bias, as users see it."""
    if b is not None:
        y += b
    return np.moveaxis(y, -1, 1)


def _with_bias_gradient(dx: Array, dw: Array, g: Array, b: Array | None) -> tuple[Array, ...]:
    gradients = _channels_first(dx), dw
    return gradients if b is None else (*gradients, g.reshape(-1, g.shape[-1]).sum(axis=0))


def conv(
    x: Array, w: Array, b: Array | None = None, *, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> Array:
    """y[n, o, p] = b[o] + sum_{c, i} w[o, c, i] x[n, c, p stride + i dilation - padding], p and i over all spatial axes.

    x: (batch, in_channels, *size). w: (out_channels, in_channels / groups, *kernel). b: (out_channels,).
    """
    out = out_sizes(x.shape, w.shape[2:], stride, padding, dilation)
    return _channels_first(_correlate(channels_last(x), w, out, Geometry(stride, padding, dilation, groups)), b)


def conv_vjp(g: Array, y: Array, x: Array, w: Array, b: Array | None = None, **options: Any) -> tuple[Array, ...]:
    """dx scatters g by the filter; dw is the product of g and the columns of x; db sums g."""
    geometry, g = Geometry(**options), channels_last(g)
    dw = _filter_gradient(g, channels_last(x), w, geometry)
    return _with_bias_gradient(_scatter(g, w, x.shape[2:], geometry), dw, g, b)


def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int = 1,
) -> Array:
    """y[n, o, p stride + i dilation - padding] sums w[c, o, i] x[n, c, p]: a convolution's gradient, made a layer.

    x: (batch, in_channels, *size). w: (in_channels, out_channels / groups, *kernel). b: (out_channels,). Each output axis
    has (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 pixels.
    """
    axes = zip(x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in axes)
    return _channels_first(_scatter(channels_last(x), w, size, Geometry(stride, padding, dilation, groups)), b)


def conv_transpose_vjp(
    g: Array, y: Array, x: Array, w: Array, b: Array | None = None, *, output_padding: Sizes, **options: Any
) -> tuple[Array, ...]:
    """As in `conv_vjp`, with x and g in each other's place."""
    geometry, g = Geometry(**options), channels_last(g)
    dw = _filter_gradient(channels_last(x), g, w, geometry)
    return _with_bias_gradient(_correlate(g, w, x.shape[2:], geometry), dw, g, b)


CONV = Op("conv", conv, conv_vjp)
CONV_TRANSPOSE = Op("conv_transpose", conv_transpose, conv_transpose_vjp)
# The names of before, until the layers have moved.
CONV2D, MAX_POOL2D, AVG_POOL2D, ADAPTIVE_AVG_POOL2D = CONV, MAX_POOL, AVG_POOL, ADAPTIVE_AVG_POOL
