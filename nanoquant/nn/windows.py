"""Which pixels a window meets as it slides over an image.

      image, padded         kernel 2 x 2, stride 1: for each of its four places, one pixel per output pixel
      +---------+
      | a b c d |           i=0, j=0:  a b c      i=0, j=1:  b c d
      | e f g h |                      e f g                 f g h
      | i j k l |           i=1, j=0:  e f g      i=1, j=1:  f g h
      +---------+                      i j k                 j k l

So loops run over the few places of the window, never over pixels. Images are (batch, channels, *size) with any number of
axes in `size`: 1 for sequences, 2 for images, 3 for volumes; kernel, stride and so on have one entry for each.

Before: `nanoquant.qtensor`. After: `pooling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..autograd.ops import Array

Sizes = tuple[int, ...]
Window = tuple[Any, ...]  # indices: everything, then a slice for each axis


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """Pixels of the output along one axis: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    ceil_mode: ceil instead of floor, but no window starts beyond the image and its padding on the left.

    >>> out_size(5, 2, 2, 0, 1), out_size(5, 2, 2, 0, 1, ceil_mode=True)
    (2, 3)
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - ((out - 1) * stride >= size + padding)


def out_sizes(shape: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False) -> Sizes:
    """`out_size` of every axis of images of `shape`."""
    axes = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    return tuple(out_size(*axis, ceil_mode) for axis in axes)


def places(out: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Iterator[tuple[Sizes, Window]]:
    """For each position of the filter: which pixels of a padded image it meets, one per output pixel."""
    for place in product(*map(range, kernel)):
        axes = zip(place, out, stride, dilation, strict=True)
        yield place, (..., *(slice(i * d, i * d + (o - 1) * s + 1, s) for i, o, s, d in axes))


def padded_shape(shape: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> tuple[int, ...]:
    """The image with its padding, and as much more at its end as the last windows reach."""
    axes = zip(shape[2:], out, kernel, stride, padding, dilation, strict=True)
    return shape[:2] + tuple(max(n + 2 * p, (o - 1) * s + d * (k - 1) + 1) for n, o, k, s, p, d in axes)


def inner(shape: Sizes, padding: Sizes) -> Window:
    """Where the image lies in its padded copy."""
    return (..., *(slice(p, p + n) for n, p in zip(shape[2:], padding, strict=True)))


def blank(shape: Sizes, value: float, dtype: Any) -> Array:
    """An array of `shape` full of `value`, channels last in memory, as convolutions want it."""
    return np.moveaxis(np.full((shape[0], *shape[2:], shape[1]), value, dtype), -1, 1)


def pad(x: Array, shape: Sizes, padding: Sizes, value: float = 0) -> Array:
    """x amid `value`, in an array of `shape`."""
    if shape == x.shape:
        return x
    padded = blank(shape, value, x.dtype)
    padded[inner(x.shape, padding)] = x
    return padded
