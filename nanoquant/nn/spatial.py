"""Convolution over images, as products of matrices.

A convolution is one matrix product, once every input value stands in each of the places where the filter meets it
(*im2col*; the inverse, which adds the places up again, is *col2im*):

      image, padded         columns: one row per (channel, i, j),            y = weights @ columns
      +---------+           one column per output pixel
      | a b c d |           a b c | e f g       i=0, j=0
      | e f g h |    -->    b c d | f g h       i=0, j=1
      | i j k l |           e f g | i j k       i=1, j=0         (2 x 2 filter)
      +---------+           f g h | j k l       i=1, j=1

Before: `pooling`. After: `normalization`.
"""

from __future__ import annotations

import numpy as np

from ..autograd.ops import Array, Op
from .pooling import ADAPTIVE_AVG_POOL as ADAPTIVE_AVG_POOL
from .pooling import ADAPTIVE_MAX_POOL as ADAPTIVE_MAX_POOL
from .pooling import AVG_POOL as AVG_POOL
from .pooling import MAX_POOL as MAX_POOL
from .windows import Sizes, Window, inner, out_sizes, pad, padded_shape, places
from .windows import out_size as out_size


def _columns(x: Array, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Array:
    """(groups, channels / groups * places, batch * pixels)."""
    padded = pad(x, padded_shape(x.shape, out, kernel, stride, padding, dilation), padding).swapaxes(0, 1)
    columns = np.empty((x.shape[1], *kernel, x.shape[0], *out), x.dtype)  # channels first: rows are whole images
    for place, window in places(out, kernel, stride, dilation):
        filled: Window = (slice(None), *place)
        columns[filled] = padded[window]
    return columns.reshape(groups, -1, x.shape[0] * int(np.prod(out)))


def _channels_first(y: Array, groups: int) -> Array:
    return y.swapaxes(0, 1).reshape(groups, y.shape[1] // groups, -1)


def _correlate(x: Array, w: Array, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Array:
    """The convolution without its bias."""
    kernel = w.shape[2:]
    out = out_sizes(x.shape, kernel, stride, padding, dilation)
    columns = _columns(x, out, kernel, stride, padding, dilation, groups)
    y = np.matmul(w.reshape(groups, w.shape[0] // groups, -1), columns)
    return np.asarray(y.reshape(w.shape[0], x.shape[0], *out).swapaxes(0, 1), order="C")


def _spread(g: Array, w: Array, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Array:
    """The transpose of `_correlate`: each pixel of g adds its multiple of the filter to an image of `size`."""
    kernel, out, channels = w.shape[2:], g.shape[2:], w.shape[1] * groups
    shape = (g.shape[0], channels, *size)
    columns = np.matmul(w.reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2), _channels_first(g, groups))
    columns = columns.reshape(channels, *kernel, g.shape[0], *out)
    x = np.zeros(padded_shape(shape, out, kernel, stride, padding, dilation), g.dtype)
    for place, window in places(out, kernel, stride, dilation):
        x[window] += columns[(slice(None), *place)].swapaxes(0, 1)
    return np.asarray(x[inner(shape, padding)])


def _filter_gradient(
    g: Array, x: Array, shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    """The gradient of a filter of `shape` that made images of gradient g of x: with columns C of x, dw = g C^T."""
    columns = _columns(x, g.shape[2:], shape[2:], stride, padding, dilation, groups)
    return np.asarray(np.matmul(_channels_first(g, groups), columns.swapaxes(1, 2)).reshape(shape))


def _add_bias(y: Array, b: Array | None) -> Array:
    if b is not None:
        y += b.reshape(-1, *(1 for _ in y.shape[2:]))
    return y


def _bias_gradient(g: Array) -> Array:
    return np.asarray(g.sum(axis=(0, *range(2, g.ndim))))


def conv(
    x: Array, w: Array, b: Array | None = None, *, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> Array:
    """y[n, o, p] = b[o] + sum_{c, i} w[o, c, i] x[n, c, p stride + i dilation - padding], p and i over all spatial axes.

    x: (batch, in_channels, *size). w: (out_channels, in_channels / groups, *kernel). b: (out_channels,).
    """
    return _add_bias(_correlate(x, w, stride, padding, dilation, groups), b)


def conv_vjp(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int = 1,
) -> tuple[Array, ...]:
    """dx spreads g by the filter; dw correlates x with g; db sums g."""
    dx = _spread(g, w, x.shape[2:], stride, padding, dilation, groups)
    dw = _filter_gradient(g, x, w.shape, stride, padding, dilation, groups)
    return (dx, dw) if b is None else (dx, dw, _bias_gradient(g))


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
    return _add_bias(_spread(x, w, size, stride, padding, dilation, groups), b)


def conv_transpose_vjp(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int = 1,
) -> tuple[Array, ...]:
    """As in `conv_vjp`, with x and g in each other's place."""
    dx = _correlate(g, w, stride, padding, dilation, groups)[inner(x.shape, (0,) * len(stride))]
    dw = _filter_gradient(x, g, w.shape, stride, padding, dilation, groups)
    return (dx, dw) if b is None else (dx, dw, _bias_gradient(g))


CONV = Op("conv", conv, conv_vjp)
CONV_TRANSPOSE = Op("conv_transpose", conv_transpose, conv_transpose_vjp)
# The names of before, until the layers have moved.
CONV2D, MAX_POOL2D, AVG_POOL2D, ADAPTIVE_AVG_POOL2D = CONV, MAX_POOL, AVG_POOL, ADAPTIVE_AVG_POOL
