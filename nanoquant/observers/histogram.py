"""A range that cuts off outliers, chosen on a histogram.

Before: `moving_average`. After: `nanoquant.quantization`, which puts observers into networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..qparams import EPS
from ..scheme import QDType, QScheme, per_tensor_affine, quint8
from .base import extremes
from .minmax import MinMaxObserver

Floats = NDArray[np.float32]


class HistogramObserver(MinMaxObserver):
    """The range with the smallest modelled squared error, found by a walk inward from both ends of a histogram.

    Every batch is counted into `bins` equal bins over [min_val, max_val]; when a batch widens the range, the old
    counts are spread over the new bins. The chosen range drops, from either end, one quantile step of 1e-5 after
    another, as long as `quantization_error` of what remains does not grow; real zero is forced in afterwards, by the
    observer rule.

    The walk stops at the first increase, and models a level for every integer of the dtype even when the range is
    reduced: it is torch's, to the bit where float32 sums are exact (fewer than 2^24 counts), and can choose worse
    than MinMax.

    Arguments: see `Observer`; bins: how many bins.

    Source: torch.ao.quantization.HistogramObserver; the walk is Caffe2's "nonlinear quantization parameters search".

    >>> observer = HistogramObserver()
    >>> _ = observer(np.concatenate([np.linspace(-1, 1, 9999), [50.0]]))
    >>> [float(bound) < 50 for bound in observer.range()]
    [True, True]
    """

    UPSAMPLE = 16  # parts that an old bin is cut into when the range widens
    STEP = 1e-5  # of quantile, for each move of the walk

    histogram: Floats
    resizable_buffers = frozenset({"min_val", "max_val", "histogram"})

    def __init__(
        self,
        bins: int = 2048,
        dtype: QDType = quint8,
        qscheme: QScheme = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        if is_dynamic:
            raise NotImplementedError("HistogramObserver: a dynamic range is known from one batch, without a histogram")
        if bins < 1:
            raise ValueError(f"bins must be at least 1; got {bins}")
        object.__setattr__(self, "bins", bins)
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)

    def reset_min_max_vals(self) -> None:
        """Forgets all data."""
        super().reset_min_max_vals()
        self.register_buffer("histogram", np.zeros(self.bins, np.float32))

    def observe(self, x: Floats) -> None:
        """Counts x, after widening the range to include it."""
        low, high = extremes(x, self)
        if self.calibrated:
            low, high = np.minimum(self.min_val, low), np.maximum(self.max_val, high)
            if low != self.min_val or high != self.max_val:
                self.histogram = self._spread(low, high)
        self.histogram = self.histogram + count(x, self.bins, low, high)
        self.min_val, self.max_val = low, high

    def _spread(self, low: Floats, high: Floats) -> Floats:
        """The counts so far, in the bins of the wider range [low, high].

        Each old bin is cut into 16 equal parts, each counted where its middle falls.
        """
        if self.min_val == self.max_val:
            return np.asarray(count(self.min_val, self.bins, low, high) * self.histogram.sum())
        parts = self.bins * self.UPSAMPLE
        part_width = np.float32((self.max_val - self.min_val) / np.float32(parts))
        middles = linspace(self.min_val, self.max_val, parts + 1)[:-1] + np.float32(0.5) * part_width
        edges = linspace(low, high, self.bins + 1)
        target = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, self.bins - 1)
        weights = np.repeat(self.histogram, self.UPSAMPLE) / np.float32(self.UPSAMPLE)
        spread: Floats = np.bincount(target, weights=weights, minlength=self.bins).astype(np.float32)
        return spread

    def range(self) -> tuple[Floats, Floats]:
        """The range that the walk ends with."""
        width = np.float32((self.max_val - self.min_val) / np.float32(self.bins))
        start, end = self._walk()
        return self.min_val + width * np.float32(start), self.min_val + width * np.float32(end + 1)

    def _walk(self) -> tuple[int, int]:
        """First and last bin of the chosen range."""
        below = np.cumsum(self.histogram, dtype=np.float64).astype(np.float32)  # counts up to and including each bin
        total = float(self.histogram.sum())
        start, end, low, high, best = 0, self.bins - 1, 0.0, 1.0, np.inf
        while low < high:
            next_low, next_high = low + self.STEP, high - self.STEP
            left = min(max(int(np.searchsorted(below, np.float32(next_low * total), side="left")), start), end)
            right = max(min(int(np.searchsorted(below, np.float32(next_high * total), side="right")) - 1, end), start)
            if left - start > end - right:  # the side whose step frees more bins moves
                candidate, low = (left, end), next_low
            else:
                candidate, high = (start, right), next_high
            if candidate == (start, end):
                continue
            error = self.quantization_error(*candidate)
            if error > best:
                break
            best, (start, end) = error, candidate
        return start, end

    def quantization_error(self, start: int, end: int) -> float:
        """Modelled squared error of quantizing the histogram with the bins start..end as range.

        The range is cut into 2^bits levels of width D, each represented by its centre; what lies outside goes to the
        outermost level. A bin's mass is spread evenly over its width, so that each piece of it between offsets u and
        v from a level's centre contributes

            density * integral_u^v t^2 dt = density * (v^3 - u^3) / 3

        A bin starts inside one level, may cover some whole ones, and ends inside another: three terms.
        """
        levels = 1 << self.dtype.bits
        width = (float(self.max_val) - float(self.min_val)) / self.bins
        level = width * (end - start + 1) / levels
        if level == 0.0:
            return 0.0
        half, one = np.float32(level / 2), np.float32(level)
        left = (np.arange(self.bins) - start).astype(np.float32) * np.float32(width)
        right = left + np.float32(width)
        first, last = (np.clip(np.floor_divide(edge, one), 0, np.float32(levels - 1)) for edge in (left, right))
        density = self.histogram / np.float32(width)
        into_first = left - (first + np.float32(0.5)) * one
        into_last = right - (last * one + half)
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

    in float32, operation by operation. An empty range is widened by 1 on both sides.
    """
    if low == high:
        low, high = low - np.float32(1), high + np.float32(1)
    position = (np.ravel(x) - low) * np.float32(bins) / np.float32(high - low)
    return np.bincount(np.minimum(position.astype(np.int64), bins - 1), minlength=bins).astype(np.float32)


def linspace(start: Floats, stop: Floats, count: int) -> Floats:
    """`count` evenly spaced float32 numbers, computed from the nearer end: start + i step, or stop - (count - 1 - i) step."""
    step = np.float32((stop - start) / np.float32(count - 1))
    i = np.arange(count)
    forward = start + step * i.astype(np.float32)
    backward = stop - step * (count - 1 - i).astype(np.float32)
    return np.where(i < count // 2, forward, backward).astype(np.float32)
