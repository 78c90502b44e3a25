"""Ranges that clip, chosen on the exact histogram.

|   .--.                  Clipping at T makes every step smaller (less rounding error for many values) and cuts off
|  /    \\                what lies beyond (more clipping error for few). Each observer here and in the next files
| /      '-.              is one answer to where the trade is best.
|/          '--..___
+---------------|-----    Before: `exact_histogram`. After: `entropy`, `mse`.
                T
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..observers.base import Floats
from ..observers.histogram import walk
from .exact_histogram import Counts, ExactHistogramObserver

Doubles = NDArray[np.float64]


class ClippingObserver(ExactHistogramObserver):
    """Base of the observers that choose a range within [min, max] on the counts of each channel."""

    @abstractmethod
    def choose(self, counts: Counts) -> tuple[float, float]:
        """The range for one channel."""

    def range(self) -> tuple[Floats, Floats]:
        """What `choose` says, channel by channel."""
        chosen = [self.choose(self.of_channel(c)) for c in range(self.exponent.size)]
        low, high = np.array(chosen, np.float32).T.reshape(2, *self.min_val.shape)
        return np.clip(low, self.min_val, self.max_val), np.clip(high, self.min_val, self.max_val)


class PerChannelHistogramObserver(ClippingObserver):
    """`HistogramObserver`'s walk for each channel along `ch_axis`, on the exact histogram brought to `BINS` bins.

    >>> observer = PerChannelHistogramObserver(ch_axis=0)
    >>> _ = observer([[-1.0, 2.0], [0.0, 0.5]])
    >>> observer.calculate_qparams()[0].shape
    (2,)
    """

    BINS = 2048

    def __init__(self, ch_axis: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(ch_axis, *args, **kwargs)

    def choose(self, counts: Counts) -> tuple[float, float]:
        return walked(counts, self.BINS, 1 << self.dtype.bits)


def walked(counts: Counts, bins: int, levels: int) -> tuple[float, float]:
    """`histogram.walk` over the counts, brought to equal bins over [min, max]."""
    low, high = counts.edges[0], counts.edges[-1]
    if low == high:
        return low, high
    histogram = rebinned(counts.edges, counts.counts, low, high, bins)
    ends = np.array([low, high], np.float32) / np.float32(counts.width)  # exact; far from where cubes overflow
    start, end = walk(histogram.astype(np.float32), ends[0], ends[1], levels)
    return counts.width * float(start), counts.width * float(end)


def rebinned(edges: Doubles, sizes: NDArray[np.int64], low: float, high: float, bins: int) -> Doubles:
    """The counts in `bins` equal bins over [low, high], each old bin's spread evenly over its width."""
    below = np.concatenate([[0], np.cumsum(sizes)])
    return np.diff(np.interp(np.linspace(low, high, bins + 1), edges, below))


class PercentileObserver(ClippingObserver):
    """The range that holds `percentile` % of the values: what lies beyond is clipped.

        affine:     [quantile((100 - p) / 2 %), quantile((100 + p) / 2 %)]        symmetric: quantile(p %) of |x|

    A quantile is the outer edge of the bin in which it falls: at least so much is inside.

    Arguments: percentile, in (0, 100]; then those of `ExactHistogramObserver`.

    >>> observer = PercentileObserver(99.0)
    >>> _ = observer(np.arange(1000.0))
    >>> print(*observer.range())
    4.0 994.03125
    """

    def __init__(self, percentile: float = 99.99, *args: Any, **kwargs: Any) -> None:
        if not 0 < percentile <= 100:
            raise ValueError(f"percentile must be in (0, 100]; got {percentile}")
        super().__init__(*args, **kwargs)
        self.percentile = percentile

    def choose(self, counts: Counts) -> tuple[float, float]:
        outside = 1 - self.percentile / 100
        if self.qscheme.symmetric:
            edges, sizes = magnitudes(counts)
            bound = edges[1 + first_beyond(np.cumsum(sizes), (1 - outside) * sizes.sum())]
            return max(counts.edges[0], -bound), min(counts.edges[-1], bound)
        below, total = np.cumsum(counts.counts), counts.counts.sum()
        low = counts.edges[first_beyond(below, outside / 2 * total)]
        return low, counts.edges[1 + first_beyond(below, (1 - outside / 2) * total)]


def first_beyond(below: NDArray[Any], target: float) -> int:
    """The first bin whose cumulated count reaches `target`, which rounding may have put just above an integer."""
    return min(int(np.searchsorted(below, target * (1 - 1e-12), side="left")), below.size - 1)


def magnitudes(counts: Counts) -> tuple[Doubles, NDArray[np.int64]]:
    """Edges and counts of |x|: the bins of both signs, which mirror each other, added up."""
    side = round(max(-counts.edges[0], counts.edges[-1]) / counts.width + 0.5)
    sizes = np.zeros(side + 1, np.int64)
    np.add.at(sizes, np.abs(counts.first + np.arange(counts.counts.size)), counts.counts)
    return counts.width * np.arange(side + 2), sizes
