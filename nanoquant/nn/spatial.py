"""Convolution and pooling over images, as products and slices of whole arrays.

A convolution is one matrix product, once every input value stands in each of the places where the filter meets it
(*im2col*; the inverse, which adds the places up again, is *col2im*):

      image, padded         columns: one row per (channel, i, j),            y = weights @ columns
      +---------+           one column per output pixel
      | a b c d |           a b c | e f g       i=0, j=0
      | e f g h |    -->    b c d | f g h       i=0, j=1
      | i j k l |           e f g | i j k       i=1, j=0         (2 x 2 filter)
      +---------+           f g h | j k l       i=1, j=1

Loops run over the few positions (i, j) of the filter, never over pixels. Images are (batch, channels, height, width).

Before: `nanoquant.qtensor`. After: `normalization`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..autograd.ops import Array, Op

Pair = tuple[int, int]


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels of the output along one axis: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _places(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """For each position (i, j) of the filter: which pixels of a padded image of `shape` it meets, one per output pixel."""
    rows, columns = (out_size(shape[a], kernel[a], stride[a], 0, dilation[a]) for a in (0, 1))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            yield i, j, (
                slice(top, top + (rows - 1) * stride[0] + 1, stride[0]),
                slice(left, left + (columns - 1) * stride[1] + 1, stride[1]),
            )  # fmt: skip


def _pad(x: Array, padding: Pair, value: float = 0) -> Array:
    if padding == (0, 0):
        return x
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=value)


def _crop(x: Array, padding: Pair) -> Array:
    return x[:, :, padding[0] : x.shape[2] - padding[0], padding[1] : x.shape[3] - padding[1]]


def _im2col(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """(groups, channels / groups * kh * kw, batch * out_height * out_width)."""
    padded = _pad(x, padding).transpose(1, 0, 2, 3)  # channels first: a column's rows are whole images
    channels, batch, height, width = padded.shape
    rows, columns = (
        out_size(s, k, t, 0, d) for s, k, t, d in zip((height, width), kernel, stride, dilation, strict=True)
    )
    places = np.empty((channels, *kernel, batch, rows, columns), x.dtype)
    for i, j, (ys, xs) in _places((height, width), kernel, stride, dilation):
        places[:, i, j] = padded[:, :, ys, xs]
    return places.reshape(groups, channels // groups * kernel[0] * kernel[1], batch * rows * columns)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """y[n, o, y, x] = b[o] + sum_{c, i, j} w[o, c, i, j] x[n, c, y stride + i dilation, x stride + j dilation].

    x: (batch, in_channels, height, width). w: (out_channels, in_channels / groups, kh, kw). b: (out_channels,).
    """
    kernel = (w.shape[2], w.shape[3])
    rows, columns = (out_size(x.shape[2 + a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    places = _im2col(x, kernel, stride, padding, dilation, groups)
    y = np.matmul(w.reshape(groups, w.shape[0] // groups, -1), places).reshape(w.shape[0], -1)
    if b is not None:
        y += b[:, np.newaxis]
    return np.asarray(y.reshape(w.shape[0], x.shape[0], rows, columns).swapaxes(0, 1), order="C")


def conv2d_vjp(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Array, ...]:
    """With columns C of x: dw = g C^T, dC = w^T g, and dx adds dC up where im2col had copied x to (col2im)."""
    kernel = (w.shape[2], w.shape[3])
    out = g.swapaxes(0, 1).reshape(groups, w.shape[0] // groups, -1)
    dw = np.matmul(out, _im2col(x, kernel, stride, padding, dilation, groups).swapaxes(1, 2)).reshape(w.shape)
    places = np.matmul(w.reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2), out)
    batch, channels = x.shape[:2]
    height, width = x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]
    places = places.reshape(channels, *kernel, batch, *g.shape[2:])
    dx = np.zeros((channels, batch, height, width), x.dtype)
    for i, j, (ys, xs) in _places((height, width), kernel, stride, dilation):
        dx[:, :, ys, xs] += places[:, i, j]
    gradients = (_crop(dx.swapaxes(0, 1), padding), dw)
    return gradients if b is None else (*gradients, g.sum(axis=(0, 2, 3)))


def max_pool2d(
    x: Array, kernel: Pair = (2, 2), stride: Pair = (2, 2), padding: Pair = (0, 0), dilation: Pair = (1, 1)
) -> Array:
    """The greatest value in each window; padding never wins."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = _pad(x, padding, lowest)
    y: Array | None = None
    for _, _, (ys, xs) in _places(padded.shape[2:], kernel, stride, dilation):
        window = padded[:, :, ys, xs]
        y = window.copy(order="K") if y is None else np.maximum(y, window, out=y)
    assert y is not None
    return y


def max_pool2d_vjp(
    g: Array,
    y: Array,
    x: Array,
    kernel: Pair = (2, 2),
    stride: Pair = (2, 2),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Array]:
    """The gradient goes to the first greatest element of each window, in reading order."""
    padded = _pad(x, padding, -np.inf)
    dx, open_ = np.zeros_like(padded), np.ones(y.shape, bool)
    for _, _, (ys, xs) in _places(padded.shape[2:], kernel, stride, dilation):
        winner = (padded[:, :, ys, xs] == y) & open_
        dx[:, :, ys, xs] += g * winner
        open_ &= ~winner
    return (_crop(dx, padding),)


def avg_pool2d(x: Array, kernel: Pair = (2, 2), stride: Pair = (2, 2), padding: Pair = (0, 0)) -> Array:
    """The mean of each window, padding counted as zeros."""
    padded = _pad(x, padding)
    total = sum(padded[:, :, ys, xs] for _, _, (ys, xs) in _places(padded.shape[2:], kernel, stride, (1, 1)))
    return np.asarray(total / x.dtype.type(kernel[0] * kernel[1]))


def avg_pool2d_vjp(
    g: Array, y: Array, x: Array, kernel: Pair = (2, 2), stride: Pair = (2, 2), padding: Pair = (0, 0)
) -> tuple[Array]:
    """Every element of a window gets an equal share."""
    dx = np.zeros((*x.shape[:2], x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]), x.dtype)
    share = g / x.dtype.type(kernel[0] * kernel[1])
    for _, _, (ys, xs) in _places(dx.shape[2:], kernel, stride, (1, 1)):
        dx[:, :, ys, xs] += share
    return (_crop(dx, padding),)


def adaptive_windows(size: int, out: int) -> list[slice]:
    """The `out` windows that cover `size` pixels: window i is floor(i size / out) .. ceil((i + 1) size / out).

    >>> adaptive_windows(5, 2)
    [slice(0, 3, None), slice(2, 5, None)]
    """
    return [slice(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def adaptive_avg_pool2d(x: Array, out: Pair = (1, 1)) -> Array:
    """The means of `out` windows that cover the image; neighbours overlap where the sizes do not divide."""
    y = np.empty((*x.shape[:2], *out), x.dtype)
    for i, ys in enumerate(adaptive_windows(x.shape[2], out[0])):
        for j, xs in enumerate(adaptive_windows(x.shape[3], out[1])):
            y[:, :, i, j] = x[:, :, ys, xs].mean(axis=(2, 3))
    return y


def adaptive_avg_pool2d_vjp(g: Array, y: Array, x: Array, out: Pair = (1, 1)) -> tuple[Array]:
    """Every element of a window gets an equal share."""
    dx = np.zeros_like(x)
    for i, ys in enumerate(adaptive_windows(x.shape[2], out[0])):
        for j, xs in enumerate(adaptive_windows(x.shape[3], out[1])):
            window = dx[:, :, ys, xs]
            window += g[:, :, i : i + 1, j : j + 1] / x.dtype.type(window.shape[2] * window.shape[3])
    return (dx,)


CONV2D = Op("conv2d", conv2d, conv2d_vjp)
MAX_POOL2D = Op("max_pool2d", max_pool2d, max_pool2d_vjp)
AVG_POOL2D = Op("avg_pool2d", avg_pool2d, avg_pool2d_vjp)
ADAPTIVE_AVG_POOL2D = Op("adaptive_avg_pool2d", adaptive_avg_pool2d, adaptive_avg_pool2d_vjp)
