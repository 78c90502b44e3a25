"""Pooling of 8-bit images, in NumPy: slow, short, and normative. The C library equals it bit for bit.

Images lie as in memory, (batch, height, width, channels). A maximum is one of the integers; a mean stays on the grid of
its input, rounded half to even.

Before: `grid`. After: `elementwise`, which runs the C code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Integers


class Span(NamedTuple):
    """The taps of one output along one axis: indices inside the image, and how many count when padding does."""

    taps: range
    counted: int


class Sliding(NamedTuple):
    """Windows at o * stride - padding. `ceil_mode`: one more window, if it starts within the image or its left padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    def out_size(self, axis: int, size: int) -> int:
        """How many windows there are."""
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        free = size + 2 * padding - self.dilation[axis] * (kernel - 1) - 1
        out = -(-free // stride) + 1 if self.ceil_mode else free // stride + 1
        return out - (self.ceil_mode and (out - 1) * stride >= size + padding)

    def spans(self, axis: int, size: int) -> list[Span]:
        """For each output."""
        kernel, padding, dilation = self.kernel[axis], self.padding[axis], self.dilation[axis]
        found = []
        for o in range(self.out_size(axis, size)):
            start = o * self.stride[axis] - padding
            first = start % dilation if start < 0 else start
            end = min(start + kernel * dilation, size)
            found.append(Span(range(first, max(end, first), dilation), min(kernel, size + padding - start)))
        return found


class Adaptive(NamedTuple):
    """`out` windows that cover the image: floor(o * size / out) .. ceil((o + 1) * size / out)."""

    out: tuple[int, int]

    def out_size(self, axis: int, size: int) -> int:
        """How many windows there are."""
        del size
        return self.out[axis]

    def spans(self, axis: int, size: int) -> list[Span]:
        """For each output."""
        out = self.out[axis]
        taps = [range(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]
        return [Span(t, len(t)) for t in taps]


Windows = Sliding | Adaptive


def max_pool(q: Integers, windows: Windows) -> Integers:
    """The greatest integer of each window; the dtype's least where a window has none.

    q: (batch, height, width, channels).
    """
    rows, columns = (windows.spans(axis, q.shape[1 + axis]) for axis in (0, 1))
    least = np.iinfo(q.dtype).min
    return np.stack([
        np.stack([q[:, i.taps][:, :, j.taps].max(axis=(1, 2), initial=least) for j in columns], axis=1) for i in rows
    ], axis=1)  # fmt: skip


def mean_pool(
    q: Integers, zero_point: int, windows: Windows, include_padding: bool = True, divisor: int | None = None
) -> Integers:
    """The mean of each window on the grid it came from: rint(sum (q - z) / count) + z, exact, ties to even.

    count: `divisor`, or the window's taps, of which those in the padding (worth 0) count if `include_padding`.
    """
    rows, columns = (windows.spans(axis, q.shape[1 + axis]) for axis in (0, 1))
    steps = q.astype(np.int64) - zero_point
    y = np.empty((len(q), len(rows), len(columns), q.shape[3]), q.dtype)
    for o, i in enumerate(rows):
        for p, j in enumerate(columns):
            taps = i.counted * j.counted if include_padding else len(i.taps) * len(j.taps)
            count = divisor or max(taps, 1)
            total = steps[:, i.taps][:, :, j.taps].sum(axis=(1, 2))
            y[:, o, p] = np.clip(_divide(total, count) + zero_point, *Grid(1.0, 0, q.dtype).limits)
    return y


def _divide(total: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """rint(total / count), ties to even, in integers."""
    quotient, rest = np.divmod(2 * total + count, 2 * count)
    return np.asarray(quotient - ((rest == 0) & (quotient % 2 == 1)))
