"""A filter slides over images of floats, in C (csrc/slide.c).

Before: `native`. After: `nanoquant.nn.windows`.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import check, ffi, lib, pointer, workspace

Sizes = tuple[int, ...]


class Slide(IntEnum):
    """What is done for each output pixel and each of its taps; a tap outside the image is worth 0."""

    unfold = lib.NQ_UNFOLD  # columns = image
    fold = lib.NQ_FOLD  # image += columns
    correlate = lib.NQ_CORRELATE  # y += image * f
    scatter = lib.NQ_SCATTER  # image += y * f
    filter = lib.NQ_FILTER  # f[image] += y * image


def room(count: int, dtype: Any) -> NDArray[Any]:
    """Uninitialised memory for `count` numbers; its contents live until the next call of anything in C."""
    return np.frombuffer(ffi.buffer(workspace(count * np.dtype(dtype).itemsize)), dtype, count)


def slide(
    op: Slide,
    image: NDArray[Any],
    pixels: NDArray[Any],
    f: NDArray[Any] | None,
    channels: range,
    lines: range,
    sizes: tuple[Sizes, ...],
) -> None:
    """Runs `op` in place. image: (batch, *size, all channels), of which `channels` take part.

    pixels: columns (pixels, *kernel, channels), or y (pixels, channels), of the output lines `lines`. f: (*kernel, channels),
    with a leading batch for `filter`. All are C-contiguous and of one float dtype. sizes: (size, out, kernel, stride,
    padding, dilation), one to three axes each.
    """
    batch, whole, element = len(image), image.shape[-1], image.itemsize
    taps, line = math.prod(sizes[2]), sizes[1][-1]
    wanted = [(image, batch * math.prod(sizes[0]) * whole)]
    wanted.append((pixels, len(lines) * line * len(channels) * (taps if op <= Slide.fold else 1)))
    if f is not None:
        wanted.append((f, taps * len(channels) * (batch if op is Slide.filter else 1)))
    if any(a.dtype != image.dtype or a.size != size for a, size in wanted) or channels.stop > whole:
        raise ValueError(f"{op.name}: arrays of {[(a.dtype.name, a.shape) for a, _ in wanted]} do not fit {sizes}")
    neutral = (1, 1, 1, 1, 0, 1)  # of an axis that is not there
    axes = [[n] * (3 - len(s)) + list(s) for n, s in zip(neutral, sizes, strict=True)]
    windows = ffi.new("nq_windows *", (element, batch, len(channels), whole, *axes, lines.start, len(lines)))
    at = pointer("char[]", image) + channels.start * element
    check(lib.nq_slide(op, windows, at, pointer(pixels), ffi.NULL if f is None else pointer(f)), op.name)
