"""A histogram of integers: the same for every order and division of the data.

A bin's width w is a power of two, and its edges are the multiples of w:

    index  k = trunc(x / w)

          -(2w)      -w         0         w         2w        3w
    x  -----|---------|---------+---------|---------|---------|-----
            |   k=-1  |       k = 0       |   k=1   |   k=2   |

w follows from the largest |x| alone: the smallest power of two for which |k| < side. When larger data come, bins are
merged in pairs, and since trunc(trunc(x / w) / 2) = trunc(x / 2w), the counts are those of having known the larger w
from the beginning. Dividing by w is exact, counts are integers, so nothing rounds: streams merge in any order.

Before: `nanoquant.observers`. After: `clipping`, which chooses ranges on it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..observers.base import Floats
from ..observers.minmax import MinMaxObserver

SMALLEST = -126  # exponent of the narrowest bins: w is a normal float32, and so is 1 / w


class Counts(NamedTuple):
    """The counts of one channel: `counts[i]` elements lie in [edges[i], edges[i + 1]], within [min, max]: bin first + i."""

    edges: NDArray[Any]
    counts: NDArray[np.int64]
    width: float
    first: int


class ExactHistogramObserver(MinMaxObserver):
    """Minimum, maximum, and integer counts in power-of-two bins; per channel if `ch_axis` is given.

    The range is [min, max]; subclasses choose better ones. Arguments: ch_axis, then those of `Observer`.

    >>> first, second = ExactHistogramObserver(), ExactHistogramObserver()
    >>> _ = first([0.1, 0.2]), second([-300.0])
    >>> counts = first.merge(second).of_channel(0)
    >>> int(counts.counts.sum()), counts.width
    (3, 0.015625)
    """

    may_be_dynamic = False
    exponent: NDArray[np.int64]
    counts: NDArray[np.int64]
    resizable_buffers = MinMaxObserver.resizable_buffers | {"exponent", "counts"}

    def __init__(self, ch_axis: int | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, ch_axis=ch_axis, **kwargs)

    @property
    def granularity(self) -> str:
        """'channel' if ch_axis is given, else 'tensor'."""
        return "tensor" if self.ch_axis is None else "channel"

    @property
    def side(self) -> int:
        """How many bins lie on each side of zero: one tensor can afford more of them than each of many channels."""
        return 1 << 15 if self.ch_axis is None else 1 << 13

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        self.register_buffer("exponent", np.zeros(0, np.int64))
        self.register_buffer("counts", np.zeros((0, 2 * self.side), np.int64))

    def observe(self, x: Floats) -> None:
        """Counts x."""
        low, high = self.extremes(x)
        self.widen(low, high)
        rows = x.reshape(1, -1)
        if self.ch_axis is not None:
            rows = np.moveaxis(x, self.ch_axis, 0).reshape(x.shape[self.ch_axis], -1)
        self.coarsen(exponent_for(np.maximum(-low, high).reshape(-1), self.side))
        k = (rows * np.ldexp(np.float32(1), -self.exponent)[:, None]).astype(np.int64)
        k += (self.side + 2 * self.side * np.arange(len(rows)))[:, None]
        found = np.bincount(k.reshape(-1), minlength=self.counts.size)
        self.counts = self.counts + found.reshape(self.counts.shape)

    def coarsen(self, exponent: NDArray[np.int64]) -> None:
        """Widens each channel's bins to at least 2^exponent, by adding neighbours up."""
        if not self.exponent.size:
            self.exponent = exponent
            self.counts = np.zeros((exponent.size, 2 * self.side), np.int64)
        wider = np.maximum(self.exponent, exponent)
        for channel in np.flatnonzero(wider > self.exponent):
            self.counts[channel] = coarser(self.counts[channel], int(wider[channel] - self.exponent[channel]))
        self.exponent = wider

    def absorb(self, other: Any) -> None:
        """Adds the other's counts."""
        super().absorb(other)
        self.coarsen(other.exponent)
        doublings = (self.exponent - other.exponent).tolist()
        self.counts = self.counts + np.array([coarser(row, d) for row, d in zip(other.counts, doublings, strict=True)])

    def of_channel(self, channel: int) -> Counts:
        """The counts of one channel (0 per tensor), without the empty bins outside [min, max]."""
        width = 2.0 ** int(self.exponent[channel])
        low, high = float(self.min_val.reshape(-1)[channel]), float(self.max_val.reshape(-1)[channel])
        first, last = int(low / width), int(high / width)
        k = np.arange(first, last + 1)
        inner = width * np.where(k[:-1] < 0, k[:-1], k[1:])
        return Counts(np.concatenate([[low], inner, [high]]), self.counts[channel, k + self.side], width, first)


def exponent_for(largest: Floats, side: int) -> NDArray[np.int64]:
    """The smallest e with largest < side * 2^e."""
    _, power = np.frexp(largest)  # largest < 2^power
    return np.where(largest > 0, np.maximum(power.astype(np.int64) - (side.bit_length() - 1), SMALLEST), SMALLEST)


def coarser(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The counts in bins 2^doublings times as wide."""
    side = counts.size // 2
    k = np.arange(-side, side)
    target = np.sign(k) * (np.abs(k) >> min(doublings, 62))
    wider = np.zeros_like(counts)
    np.add.at(wider, target + side, counts)
    return wider
