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
large as the image for a filter of k taps: they are made for a few lines at a time, and never leave the cache. float32 has C
for both halves (csrc/convolve.c); the rest, BLAS for the product. A depthwise filter has no matrix, and goes without columns
(csrc/slide.c).

Before: `pooling`. After: `normalization`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autograd.ops import Array, Op
from ..kernels.native import requested_isa
from ..kernels.sliding import PADDED, Convolve, Slide, convolve, in_vectors, room, slide
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


def channels_last(x: Array, dtype: Any = None) -> Array:
    """(batch, channels, *size) as (batch, *size, channels), compact."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1), dtype)


def _matrices(w: Array, groups: int, dtype: Any) -> Array:
    """A filter (outputs, inputs / groups, *kernel) as (groups, outputs / groups, places * inputs / groups)."""
    return channels_last(w, dtype).reshape(groups, w.shape[0] // groups, -1)


class _Meeting:
    """A filter, and the image and output that it meets: arrays (batch, *size, channels)."""

    def __init__(self, image: Sizes, out: Sizes, w: Array, geometry: Geometry) -> None:
        self.groups, self.channels, self.outputs = geometry.groups, w.shape[1], w.shape[0] // geometry.groups
        self.taps, self.pixels = int(np.prod(w.shape[2:])), image[0] * int(np.prod(out))
        self.sizes = (image[1:-1], out, w.shape[2:], geometry.stride, geometry.padding, geometry.dilation)
        self.lines = range(self.pixels // out[-1])
        self.depthwise = self.channels == self.outputs == 1
        self.pointwise = geometry.groups == self.taps == 1 and set(geometry.stride) == {1} and not any(geometry.padding)

    def parts(self, y: Array) -> Iterator[tuple[Array, Array, int, range]]:
        """For a few lines of output pixels at a time and each group: rows of y, room for columns, the group, the lines."""
        width, line = self.taps * self.channels, self.sizes[1][-1]
        step = max(1, min(len(self.lines), CACHED // (line * width * y.itemsize)))
        columns = room(step * line * width, y.dtype).reshape(-1, width)
        rows = y.reshape(self.pixels, -1)
        for first in self.lines[::step]:
            lines = self.lines[first : first + step]
            for group in range(self.groups):
                part = rows[lines.start * line : lines.stop * line, group * self.outputs : (group + 1) * self.outputs]
                yield part, columns[: len(part)], group, lines

    def slide(self, op: Slide, image: Array, columns: Array, group: int, lines: range) -> None:
        """Runs csrc/slide.c on one group."""
        slide(op, image, columns, None, range(group * self.channels, (group + 1) * self.channels), lines, self.sizes)

    def convolve(self, op: Convolve, image: Array, y: Array, filters: Array) -> bool:
        """Runs csrc/convolve.c on each group, which leaves a filter's gradient in `filters`; False where it has no code."""
        if image.dtype != np.float32 or not in_vectors(requested_isa()):
            return False
        for group, f in enumerate(filters):
            channels = range(group * self.channels, (group + 1) * self.channels)
            outputs = range(group * self.outputs, (group + 1) * self.outputs)
            rows = f if op is Convolve.backward else f.T
            padding = 0 if op is Convolve.weights else -rows.shape[1] % PADDED
            laid = np.ascontiguousarray(np.pad(rows, ((0, 0), (0, padding))) if padding else rows)
            convolve(op, image, y, laid, channels, outputs, self.sizes)
            if op is Convolve.weights:
                f[:] = laid.T
        return True

    def slide_depthwise(self, op: Slide, image: Array, y: Array, f: Array) -> None:
        """Runs csrc/slide.c on all channels, each with its own filter."""
        slide(op, image, y, f, range(self.groups), self.lines, self.sizes)


def _correlate(x: Array, w: Array, out: Sizes, geometry: Geometry) -> Array:
    """The convolution without its bias; images channels last."""
    m, filters = _Meeting(x.shape, out, w, geometry), _matrices(w, geometry.groups, x.dtype)
    if m.depthwise:
        y = np.zeros((len(x), *out, w.shape[0]), x.dtype)
        m.slide_depthwise(Slide.correlate, x, y, np.ascontiguousarray(filters[:, 0].T))
        return y
    y = np.empty((len(x), *out, w.shape[0]), x.dtype)
    if m.pointwise:
        return np.asarray(np.matmul(x, filters[0].T, out=y))
    if not m.convolve(Convolve.forward, x, y, filters):
        for rows, columns, group, lines in m.parts(y):
            m.slide(Slide.unfold, x, columns, group, lines)
            np.matmul(columns, filters[group].T, out=rows)
    return y


def _scatter(g: Array, w: Array, size: Sizes, geometry: Geometry) -> Array:
    """The transpose of `_correlate`: each pixel of g adds its multiple of the filter to an image of `size`."""
    x = np.zeros((len(g), *size, w.shape[1] * geometry.groups), g.dtype)
    m, filters = _Meeting(x.shape, g.shape[1:-1], w, geometry), _matrices(w, geometry.groups, g.dtype)
    if m.depthwise:
        m.slide_depthwise(Slide.scatter, x, g, np.ascontiguousarray(filters[:, 0].T))
    elif m.pointwise:
        np.matmul(g, filters[0], out=x)
    elif not m.convolve(Convolve.backward, x, g, filters):
        for rows, columns, group, lines in m.parts(g):
            np.matmul(rows, filters[group], out=columns)
            m.slide(Slide.fold, x, columns, group, lines)
    return x


def _filter_gradient(g: Array, x: Array, w: Array, geometry: Geometry) -> Array:
    """The gradient of w, which made images of gradient g of x."""
    m = _Meeting(x.shape, g.shape[1:-1], w, geometry)
    dw = np.zeros((m.groups, m.outputs, m.taps * m.channels), g.dtype)
    if m.depthwise:
        each = np.zeros((len(x), m.taps, m.groups), g.dtype)
        m.slide_depthwise(Slide.filter, x, g, each)
        dw[:, 0] = each.sum(axis=0).T
    elif m.pointwise:
        np.matmul(g.reshape(-1, g.shape[-1]).T, x.reshape(-1, x.shape[-1]), out=dw[0])
    elif not m.convolve(Convolve.weights, x, g, dw):
        for rows, columns, group, lines in m.parts(g):
            m.slide(Slide.unfold, x, columns, group, lines)
            dw[group] += rows.T @ columns
    return np.ascontiguousarray(np.moveaxis(dw.reshape(w.shape[0], *w.shape[2:], -1), -1, 1))


def _channels_first(y: Array, b: Array | None = None) -> Array:
    """(batch, *size, channels), plus a bias, as users see it."""
    if b is not None:
        y += b
    return np.moveaxis(y, -1, 1)


def _with_bias_gradient(dx: Callable[[], Array], dw: Array, g: Array, b: Array | None) -> tuple[Any, ...]:
    gradients = (lambda: _channels_first(dx())), dw
    return gradients if b is None else (*gradients, g.reshape(-1, g.shape[-1]).sum(axis=0))


def conv(x: Array, w: Array, b: Array | None = None, *, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1) -> Array:
    """y[n, o, p] = b[o] + sum_{c, i} w[o, c, i] x[n, c, p stride + i dilation - padding], p and i over all spatial axes.

    x: (batch, in_channels, *size). w: (out_channels, in_channels / groups, *kernel). b: (out_channels,).
    """
    out = out_sizes(x.shape, w.shape[2:], stride, padding, dilation)
    last = channels_last(x, np.result_type(x, w, np.float32))
    return _channels_first(_correlate(last, w, out, Geometry(stride, padding, dilation, groups)), b)


def conv_vjp(g: Array, y: Array, x: Array, w: Array, b: Array | None = None, **options: Any) -> tuple[Any, ...]:
    """dx scatters g by the filter, once it is asked for; dw is the product of g and the columns of x; db sums g."""
    geometry, g = Geometry(**options), channels_last(g)
    dw = _filter_gradient(g, channels_last(x, g.dtype), w, geometry)
    return _with_bias_gradient(lambda: _scatter(g, w, x.shape[2:], geometry), dw, g, b)


def conv_transpose(
    x: Array, w: Array, b: Array | None = None, *, stride: Sizes, padding: Sizes, output_padding: Sizes,
    dilation: Sizes, groups: int = 1,
) -> Array:  # fmt: skip
    """y[n, o, p stride + i dilation - padding] sums w[c, o, i] x[n, c, p]: a convolution's gradient, made a layer.

    x: (batch, in_channels, *size). w: (in_channels, out_channels / groups, *kernel). b: (out_channels,). Each output axis
    has (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 pixels.
    """
    axes = zip(x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in axes)
    last = channels_last(x, np.result_type(x, w, np.float32))
    return _channels_first(_scatter(last, w, size, Geometry(stride, padding, dilation, groups)), b)


def conv_transpose_vjp(
    g: Array, y: Array, x: Array, w: Array, b: Array | None = None, *, output_padding: Sizes, **options: Any
) -> tuple[Array, ...]:
    """As in `conv_vjp`, with x and g in each other's place."""
    geometry, g = Geometry(**options), channels_last(g)
    dw = _filter_gradient(channels_last(x, g.dtype), g, w, geometry)
    return _with_bias_gradient(lambda: _correlate(g, w, x.shape[2:], geometry), dw, g, b)


CONV = Op("conv", conv, conv_vjp)
CONV_TRANSPOSE = Op("conv_transpose", conv_transpose, conv_transpose_vjp)
