"""A range that cuts off outliers, chosen on a histogram: torch's.

Before: `moving_average`. After: `placeholder`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Floats, NotCalibratedError
from .moving_average import NumberedObserver

UPSAMPLE = 16  # parts that an old bin is cut into when the range widens
STEP = 1e-5  # of quantile, for each move of the walk


class HistogramObserver(NumberedObserver):
    """The range with the smallest modelled squared error, found by a walk inward from both ends of a histogram.

    Every batch is counted into `bins` equal bins over [min_val, max_val]; when a batch widens the range, the old
    counts are spread over the new bins. The chosen range drops, from either end, one quantile step of 1e-5 after
    another, as long as `quantization_error` of what remains does not grow; real zero is forced in afterwards, by the
    observer rule.

    The walk stops at the first increase, and models a level for every integer of the dtype even when the range is
    reduced: it is torch's, to the bit where float32 sums are exact (fewer than 2^24 counts), and can choose worse
    than MinMax (`MSEObserver` cannot).

    A batch's bins depend on all batches before it. So numbered batches (`at`) pass twice: the first time their ranges
    are noted; once the observers of all workers are merged, every range so far is known, and the second time the
    batches are counted. `ranges` (k, 2) and `counts` (k, bins) keep one histogram for each range that the stream had;
    the ranges contain one another, which is their order.

    Arguments: bins: how many bins; then those of `Observer`.

    Source: torch.ao.quantization.HistogramObserver; the walk is Caffe2's "nonlinear quantization parameters search".

    >>> observer = HistogramObserver()
    >>> _ = observer(np.concatenate([np.linspace(-1, 1, 9999), [50.0]]))
    >>> [float(bound) < 50 for bound in observer.range()]
    [True, True]
    """

    may_be_dynamic = False
    histogram: Floats
    counted: NDArray[np.int64]
    ranges: Floats
    counts: Floats
    resizable_buffers = NumberedObserver.resizable_buffers | {"histogram", "counted", "ranges", "counts"}
    bins = 2048

    def __init__(self, bins: int = 2048, *args: Any, **kwargs: Any) -> None:
        if bins < 1:
            raise ValueError(f"bins must be at least 1; got {bins}")
        super().__init__(*args, **kwargs)
        self.bins = bins
        self.reset_min_max_vals()

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        self.register_buffer("histogram", np.zeros(self.bins, np.float32))
        self.register_buffer("counted", np.zeros(0, np.int64))
        self.register_buffer("ranges", np.zeros((0, 2), np.float32))
        self.register_buffer("counts", np.zeros((0, self.bins), np.float32))

    def observe(self, x: Floats) -> None:
        """Counts x, after widening the range to include it; or the half of that which a numbered batch's turn asks for."""
        low, high = self.extremes(x)
        self.check_numbered(self.batch is not None)
        if self.batch is None:
            low, high = np.minimum(self.min_val, low), np.maximum(self.max_val, high)
            self.add(low, high, count(x, self.bins, low, high))
        elif self.batch not in self.numbers:
            self.note(np.array([self.batch]), low[None], high[None])
        else:
            so_far = self.numbers <= self.batch
            low, high = self.lows[so_far].min(), self.highs[so_far].max()
            self.file(np.array([self.batch]), np.array([[low, high]]), count(x, self.bins, low, high)[None])

    def add(self, low: Floats, high: Floats, counts: Floats) -> None:
        """Adds counts over [low, high], which includes the range so far and becomes it."""
        if self.histogram.any() and (low != self.min_val or high != self.max_val):
            self.histogram = spread(self.histogram, self.min_val, self.max_val, low, high)
        self.min_val, self.max_val = np.asarray(low), np.asarray(high)
        self.histogram = self.histogram + counts

    def note(self, numbers: NDArray[np.int64], lows: Floats, highs: Floats) -> None:
        """Files batches' ranges. Raises ValueError when counting has begun: it could change the bins of what was counted."""
        if self.counted.size:
            raise ValueError(f"{type(self).__name__} counts its batches already; got the unknown batch {numbers[0]}")
        super().note(numbers, lows, highs)
        self.min_val, self.max_val = self.lows.min(), self.highs.max()

    def file(self, numbers: NDArray[np.int64], ranges: Floats, counts: Floats) -> None:
        """Adds counts to those of the same range. Raises ValueError for a batch that was counted before."""
        again = numbers[np.isin(numbers, self.counted)]
        if again.size:
            raise ValueError(f"{type(self).__name__} has counted batch {again[0]} before")
        self.counted = np.concatenate([self.counted, numbers])
        ranges, place = np.unique(np.concatenate([self.ranges, ranges]), axis=0, return_inverse=True)
        merged = np.zeros((len(ranges), self.bins), np.float32)
        np.add.at(merged, place.reshape(-1), np.concatenate([self.counts, counts]))
        self.ranges, self.counts = ranges, merged

    def absorb(self, other: Any) -> None:
        """Files the other's batches, or what it counted of batches that both know."""
        if np.array_equal(self.numbers, other.numbers) and self.numbers.size:
            self.file(other.counted, other.ranges, other.counts)
        elif other.counted.size:
            raise ValueError(f"{type(self).__name__}: merge the ranges of all batches before any is counted")
        else:
            super().absorb(other)

    @property
    def wants_second_pass(self) -> bool:
        return self.counted.size < self.numbers.size

    def range(self) -> tuple[Floats, Floats]:
        if self.wants_second_pass:
            raise NotCalibratedError(
                f"{type(self).__name__} knows the ranges of {self.numbers.size} batches and counted {self.counted.size}: merge "
                "all workers' observers, then pass every batch once more, with its number (quantization.calibrate does)"
            )
        if self.counted.size:
            self.histogram = np.zeros(self.bins, np.float32)
            for i in np.argsort(self.ranges[:, 1] - self.ranges[:, 0], kind="stable"):
                self.add(self.ranges[i, 0], self.ranges[i, 1], self.counts[i])
        return walk(self.histogram, self.min_val, self.max_val, 1 << self.dtype.bits)


def walk(histogram: Floats, low: Floats, high: Floats, levels: int) -> tuple[Floats, Floats]:
    """The part of [low, high] that the walk of `HistogramObserver` ends with."""
    bins = histogram.size
    below = np.cumsum(histogram, dtype=np.float64).astype(np.float32).tolist()  # counts up to and including each bin
    total = float(histogram.sum())

    def left_of(quantile: float) -> int:
        return bisect_left(below, float(np.float32(quantile * total)))

    def right_of(quantile: float) -> int:
        return bisect_right(below, float(np.float32(quantile * total))) - 1

    start, end, from_low, to_high, best = 0, bins - 1, 0.0, 1.0, np.inf
    next_left, next_right = left_of(STEP), right_of(1.0 - STEP)
    while from_low < to_high:
        left, right = min(max(next_left, start), end), max(min(next_right, end), start)
        if left - start > end - right:  # the side whose step frees more bins moves
            candidate, from_low = (left, end), from_low + STEP
            next_left = left_of(from_low + STEP)
        else:
            candidate, to_high = (start, right), to_high - STEP
            next_right = right_of(to_high - STEP)
        if candidate == (start, end):
            continue
        error = quantization_error(histogram, (float(high) - float(low)) / bins, *candidate, levels)
        if error > best:
            break
        best, (start, end) = error, candidate
    width = np.float32((high - low) / np.float32(bins))
    return low + width * np.float32(start), low + width * np.float32(end + 1)


def quantization_error(histogram: Floats, width: float, start: int, end: int, levels: int) -> float:
    """Modelled squared error of quantizing a histogram, of bins this wide, with the bins start..end as range.

    The range is cut into `levels` levels of width D, each represented by its centre; what lies outside goes to the
    outermost level. A bin's mass is spread evenly over its width, so that each piece of it between offsets u and v from a
    level's centre contributes

        density * integral_u^v t^2 dt = density * (v^3 - u^3) / 3

    A bin starts inside one level, may cover some whole ones, and ends inside another: three terms.
    """
    level = width * (end - start + 1) / levels
    if level == 0.0:
        return 0.0
    half, one = np.float32(level / 2), np.float32(level)
    left = (np.arange(histogram.size) - start).astype(np.float32) * np.float32(width)
    right = left + np.float32(width)
    first, last = (np.clip(np.floor_divide(edge, one), 0, np.float32(levels - 1)) for edge in (left, right))
    density = histogram / np.float32(width)
    into_first = left - (first + np.float32(0.5)) * one
    into_last = right - (last * one + half)
    with np.errstate(over="ignore", invalid="ignore"):  # of ranges beyond 1e12, as in torch
        error = _second_moment(into_first, half, density)
        error = error + (last - first - np.float32(1)) * _second_moment(-half, half, density)
        error = error + _second_moment(-half, into_last, density)
        return float(error.sum())


def _second_moment(begin: Floats | np.float32, end: Floats | np.float32, density: Floats) -> Floats:
    """density * integral of t^2 from begin to end."""
    return density * ((end * end * end - begin * begin * begin) / np.float32(3))


def count(x: Floats, bins: int, low: Floats, high: Floats) -> Floats:
    """How many elements of x fall into each of `bins` equal bins over [low, high]; the last bin includes `high`.

        bin = floor((x - low) * bins / (high - low))

    in float32, operation by operation. A range of one number has it in its middle bin.
    """
    if low == high:
        return np.asarray(np.eye(1, bins, bins // 2, dtype=np.float32)[0] * np.float32(np.size(x)))
    position = np.subtract(x, low).reshape(-1)
    position *= np.float32(bins)
    position /= np.float32(high - low)
    counts = np.bincount(position.astype(np.int64), minlength=bins + 1)
    counts[bins - 1] += counts[bins:].sum()
    return counts[:bins].astype(np.float32)


def spread(histogram: Floats, old_low: Floats, old_high: Floats, low: Floats, high: Floats) -> Floats:
    """Counts over [old_low, old_high], in the bins of the wider range [low, high].

    Each old bin is cut into 16 equal parts, each counted where its middle falls.
    """
    bins = histogram.size
    if old_low == old_high:
        return np.asarray(count(old_low, bins, low, high) * histogram.sum())
    parts = bins * UPSAMPLE
    part_width = np.float32((old_high - old_low) / np.float32(parts))
    middles = linspace(old_low, old_high, parts + 1)[:-1] + np.float32(0.5) * part_width
    edges = linspace(low, high, bins + 1)
    target = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, bins - 1)
    weights = np.repeat(histogram, UPSAMPLE) / np.float32(UPSAMPLE)
    return np.asarray(np.bincount(target, weights=weights, minlength=bins).astype(np.float32))


def linspace(start: Floats, stop: Floats, count: int) -> Floats:
    """`count` evenly spaced float32 numbers, computed from the nearer end: start + i step, or stop - (count - 1 - i) step."""
    step = np.float32((stop - start) / np.float32(count - 1))
    i = np.arange(count)
    forward = start + step * i.astype(np.float32)
    backward = stop - step * (count - 1 - i).astype(np.float32)
    return np.where(i < count // 2, forward, backward).astype(np.float32)
