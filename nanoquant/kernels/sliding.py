"""A filter slides over images of floats, in C (csrc/slide.c, csrc/convolve.c).

Before: `native`. After: `nanoquant.nn.windows`.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import check, ffi, isa_names, isa_number, isa_status, lib, pointer, workspace

Sizes = tuple[int, ...]


class Slide(IntEnum):
    """What is done for each output pixel and each of its taps; a tap outside the image is worth 0."""

    unfold = lib.NQ_UNFOLD  # columns = image
    fold = lib.NQ_FOLD  # image += columns
    correlate = lib.NQ_CORRELATE  # y += image * f
    scatter = lib.NQ_SCATTER  # image += y * f
    filter = lib.NQ_FILTER  # f[image] += y * image


class Convolve(IntEnum):
    """A convolution as products of matrices: its columns are unfolded or folded a few lines at a time."""

    forward = lib.NQ_FORWARD  # pixels = columns(image) f
    backward = lib.NQ_BACKWARD  # image += columns, columns = pixels f^T
    weights = lib.NQ_WEIGHTS  # f = columns(image)^T pixels


PADDED = 16  # the filter's rows, for `forward` and `backward`


@cache
def in_vectors(isa: Any) -> bool:
    """Whether `convolve` is vectorised, and not the specification in scalar C. isa: `requested_isa()`."""
    del isa  # part of the key
    name = isa_names()[isa_number()]
    return name != "ref" and isa_status(name)["product"] == "native"


def room(count: int, dtype: Any) -> NDArray[Any]:
    """Uninitialised memory for `count` numbers; its contents live until the next call of anything in C."""
    return np.frombuffer(ffi.buffer(workspace(count * np.dtype(dtype).itemsize)), dtype, count)


def slide(
    op: Slide, image: NDArray[Any], pixels: NDArray[Any], f: NDArray[Any] | None, channels: range, lines: range,
    sizes: tuple[Sizes, ...],
) -> None:  # fmt: skip
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
    windows = _windows(image, channels, lines, sizes)
    at = pointer("char[]", image) + channels.start * element
    check(lib.nq_slide(op, windows, at, pointer(pixels), ffi.NULL if f is None else pointer(f)), op.name)


def convolve(
    op: Convolve, image: NDArray[Any], pixels: NDArray[Any], f: NDArray[Any], channels: range, outputs: range,
    sizes: tuple[Sizes, ...],
) -> None:  # fmt: skip
    """Runs `op` in place, all in float32. image: see `slide`; pixels: (all pixels, all outputs), of which `outputs` take part.

    f: (taps * channels, outputs), for `forward` padded to a multiple of 16 outputs; for `backward` transposed and padded.
    """
    K, N = math.prod(sizes[2]) * len(channels), len(outputs)
    padded = -(-(K if op is Convolve.backward else N) // PADDED) * PADDED
    lines = len(image) * math.prod(sizes[1][:-1])
    shape = {Convolve.forward: (K, padded), Convolve.backward: (N, padded), Convolve.weights: (K, N)}[op]
    fits = image.size == len(image) * math.prod(sizes[0]) * image.shape[-1] and pixels.size == (
        lines * sizes[1][-1] * pixels.shape[-1]
    )
    if not fits or f.shape != shape or channels.stop > image.shape[-1] or outputs.stop > pixels.shape[-1]:
        raise ValueError(f"{op.name}: arrays of {image.shape}, {pixels.shape}, {f.shape} do not fit {sizes}")
    windows, size = _windows(image, channels, range(lines), sizes), ffi.new("int64_t *")
    check(lib.nq_convolve_room(op, windows, N, size), op.name)
    memory = workspace(size[0])
    x, y = pointer("float[]", image) + channels.start, pointer("float[]", pixels) + outputs.start
    check(lib.nq_convolve(isa_number(), op, windows, N, pixels.shape[-1], x, y, pointer("float[]", f), memory, size[0]), op.name)


def _windows(image: NDArray[Any], channels: range, lines: range, sizes: tuple[Sizes, ...]) -> Any:
    """The struct of both."""
    neutral = (1, 1, 1, 1, 0, 1)  # of an axis that is not there
    axes = [[n] * (3 - len(s)) + list(s) for n, s in zip(neutral, sizes, strict=True)]
    return ffi.new("nq_windows *", (image.itemsize, len(image), len(channels), image.shape[-1], *axes, lines.start, len(lines)))
