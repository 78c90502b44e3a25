"""Pooling over images: the greatest value or the mean of each window.

Before: `windows`. After: `spatial`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..autograd.ops import Array, Op
from .windows import Sizes, Window, blank, inner, out_size, out_sizes, pad, padded_shape, places


def _windows(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Sizes, list[Window]]:
    """The shape of the padded image, and where each position of the window lies in it."""
    out = out_sizes(x.shape, kernel, stride, padding, dilation, ceil_mode)
    shape = padded_shape(x.shape, out, kernel, stride, padding, dilation)
    return shape, [window for _, window in places(out, kernel, stride, dilation)]


def max_pool(x: Array, *, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False) -> Array:
    """The greatest value in each window; padding never wins."""
    shape, windows = _windows(x, kernel, stride, padding, dilation, ceil_mode)
    padded = pad(x, shape, padding, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    y = padded[windows[0]].copy(order="K")
    for window in windows[1:]:
        np.maximum(y, padded[window], out=y)
    return y


def max_pool_vjp(
    g: Array, y: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False
) -> tuple[Array]:
    """The gradient goes to the first greatest element of each window, in reading order."""
    shape, windows = _windows(x, kernel, stride, padding, dilation, ceil_mode)
    padded = pad(x, shape, padding, -np.inf)
    dx, open_ = np.zeros_like(padded), np.ones(y.shape, bool)
    for window in windows:
        winner = (padded[window] == y) & open_
        dx[window] += g * winner
        open_ &= ~winner
    return (dx[inner(x.shape, padding)],)


def _counts(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool, include_padding: bool, divisor: int | None
) -> Array:
    """What the sum of each window is divided by: `divisor`, or how many pixels it has in the image, or in its padding too."""
    if divisor is not None:
        return np.asarray(divisor, x.dtype)
    counts = np.ones((), x.dtype)
    for n, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        start = np.arange(out_size(n, k, s, p, 1, ceil_mode)) * s - p
        low, high = (-p, n + p) if include_padding else (0, n)
        inside = np.minimum(start + k, high) - np.maximum(start, low)
        counts = counts[..., np.newaxis] * inside.astype(x.dtype)
    return np.asarray(counts)


def avg_pool(
    x: Array, *, kernel: Sizes, stride: Sizes, padding: Sizes, include_padding: bool = True, divisor: int | None = None,
    ceil_mode: bool = False,
) -> Array:  # fmt: skip
    """The mean of each window, padding counted as zeros, or not at all without `include_padding`.

    divisor: divides the sum instead of the count.
    """
    shape, windows = _windows(x, kernel, stride, padding, (1,) * len(kernel), ceil_mode)
    padded = pad(x, shape, padding)
    total = sum(padded[window] for window in windows)
    return np.asarray(total / _counts(x, kernel, stride, padding, ceil_mode, include_padding, divisor))


def avg_pool_vjp(
    g: Array, y: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Sizes, include_padding: bool = True,
    divisor: int | None = None, ceil_mode: bool = False,
) -> tuple[Array]:  # fmt: skip
    """Every element of a window gets an equal share."""
    shape, windows = _windows(x, kernel, stride, padding, (1,) * len(kernel), ceil_mode)
    dx = blank(shape, 0, x.dtype)
    share = g / _counts(x, kernel, stride, padding, ceil_mode, include_padding, divisor)
    for window in windows:
        dx[window] += share
    return (dx[inner(x.shape, padding)],)


def adaptive_windows(size: int, out: int) -> list[slice]:
    """The `out` windows that cover `size` pixels: window i is floor(i size / out) .. ceil((i + 1) size / out).

    >>> adaptive_windows(5, 2)
    [slice(0, 3, None), slice(2, 5, None)]
    """
    return [slice(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _adaptive(x: Array, out: Sizes) -> Iterator[tuple[Window, Window]]:
    """Each output pixel, and its window of x."""
    windows = [adaptive_windows(n, o) for n, o in zip(x.shape[2:], out, strict=True)]
    for pixel in product(*map(range, out)):
        yield (..., *pixel), (..., *(axis[i] for axis, i in zip(windows, pixel, strict=True)))


def adaptive_avg_pool(x: Array, *, out: Sizes) -> Array:
    """The means of `out` windows that cover the image; neighbours overlap where the sizes do not divide."""
    y = np.empty((*x.shape[:2], *out), x.dtype)
    for pixel, window in _adaptive(x, out):
        y[pixel] = x[window].mean(axis=tuple(range(2, x.ndim)))
    return y


def adaptive_avg_pool_vjp(g: Array, y: Array, x: Array, *, out: Sizes) -> tuple[Array]:
    """Every element of a window gets an equal share."""
    dx = np.zeros_like(x)
    for pixel, window in _adaptive(x, out):
        part = dx[window]
        part += (g[pixel] / x.dtype.type(np.prod(part.shape[2:]))).reshape(*g.shape[:2], *(1 for _ in out))
    return (dx,)


def adaptive_max_pool(x: Array, *, out: Sizes) -> Array:
    """The greatest values of `out` windows that cover the image."""
    y = np.empty((*x.shape[:2], *out), x.dtype)
    for pixel, window in _adaptive(x, out):
        y[pixel] = x[window].max(axis=tuple(range(2, x.ndim)))
    return y


def adaptive_max_pool_vjp(g: Array, y: Array, x: Array, *, out: Sizes) -> tuple[Array]:
    """The gradient goes to the first greatest element of each window, in reading order."""
    dx = np.zeros_like(x)
    for pixel, window in _adaptive(x, out):
        part = x[window]
        winner = part.reshape(*part.shape[:2], -1).argmax(axis=2)
        at = np.unravel_index(winner, part.shape[2:])
        batch, channel = np.indices(winner.shape)
        dx[window][(batch, channel, *at)] += g[pixel]
    return (dx,)


MAX_POOL = Op("max_pool", max_pool, max_pool_vjp)
AVG_POOL = Op("avg_pool", avg_pool, avg_pool_vjp)
ADAPTIVE_AVG_POOL = Op("adaptive_avg_pool", adaptive_avg_pool, adaptive_avg_pool_vjp)
ADAPTIVE_MAX_POOL = Op("adaptive_max_pool", adaptive_max_pool, adaptive_max_pool_vjp)
