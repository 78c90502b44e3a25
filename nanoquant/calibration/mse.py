"""The range with the smallest squared error.

Before: `entropy`. After: `nanoquant.quantization`, which puts observers into networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..observers.base import Floats
from .clipping import ClippingObserver, Doubles, walked
from .exact_histogram import Counts


class MSEObserver(ClippingObserver):
    """The range with the smallest squared error, searched globally with the very quantizer that will be used.

    A range gives a scale s and a zero point by the observer rule, zero forced in, and so the values v_1 < ... < v_L that
    exist, s apart, and the cuts c_k half way between them. With every bin's mass spread evenly over its width,

        error = integral (x - v(x))^2 dens(x) dx
              = integral (x - v_L)^2 dens(x) dx  -  2 s sum_k G(c_k),        G(t) = integral_{x < t} (t - x) dens(x) dx

    since stepping from v_(k+1) down to v_k changes (x - v)^2 by 2 s (x - c_k), for all x below c_k. G is looked up in a
    table; one error costs L look-ups.

    The candidates are [min, max], the walk of `HistogramObserver`, a grid of ranges in [min, max], and ever finer grids
    around the best. Ranges whose steps are finer than the bins are not tried (from some 14 bits on there are none, and
    [min, max] is the answer), and a candidate must win over [min, max] by more than the histogram's own resolution,
    w^2 / 3 for each element.

    >>> observer = MSEObserver(dtype=nq.qint8, qscheme=nq.per_tensor_symmetric, quant_min=-8, quant_max=7)
    >>> _ = observer(np.random.default_rng(0).standard_normal(100_000))
    >>> 2.2 < float(observer.range()[1]) < 2.8
    True
    """

    BINS = 2048
    LOOK_UPS = 1 << 18  # of the first grid
    FINENESS = (1 / 16, 1 / 64, 1 / 256, 1 / 1024)  # of the later ones, in octaves

    def choose(self, counts: Counts) -> tuple[float, float]:
        table = ErrorTable(counts)
        low, high = counts.edges[0], counts.edges[-1]
        levels = self.quant_max - self.quant_min + 1
        if high - low < levels * counts.width:
            return float(low), float(high)
        two_sided = low < 0 < high and not self.qscheme.symmetric
        points = int(np.clip(self.LOOK_UPS / levels, 64, 4096)) if not two_sided else (
            int(np.clip((self.LOOK_UPS / levels) ** 0.5, 16, 64))
        )  # fmt: skip
        best = np.array([[low, high], walked(counts, self.BINS, 1 << self.dtype.bits)])
        best = self.best_of(table, best, slack=0.0)
        octaves = np.linspace(-np.log2(max((high - low) / (levels * counts.width), 2.0)), 0, points)
        best = self.best_of(table, np.concatenate([best, ranges(low, high, octaves, two_sided)]), table.resolution)
        for step in self.FINENESS:
            near = ranges(best[0, 0], best[0, 1], step * np.arange(-3, 4), two_sided)
            best = self.best_of(table, np.concatenate([best, near.clip(low, high)]), table.resolution)
        return float(best[0, 0]), float(best[0, 1])

    def best_of(self, table: ErrorTable, candidates: Doubles, slack: float) -> Doubles:
        """The best of some ranges, shape (1, 2); it must be better than the first by more than `slack`."""
        scale, zero_point = self.qparams_of(*candidates.T.astype(np.float32))
        usable = scale >= table.width
        usable[0] = True
        errors = np.full(len(candidates), np.inf)
        errors[usable] = table.errors(scale[usable], zero_point[usable], self.quant_min, self.quant_max)
        errors[1:] += slack
        return candidates[[int(np.argmin(errors))]]


def ranges(low: float, high: float, octaves: NDArray[Any], two_sided: bool) -> Doubles:
    """[low, high] with both ends scaled by 2^octaves: together, or each by each."""
    factors = 2.0**octaves
    a, b = (f.reshape(-1) for f in np.meshgrid(factors, factors)) if two_sided else (factors, factors)
    return np.stack([low * a, high * b], axis=1)


class ErrorTable:
    """The table of G, and the squared errors of quantizers on one channel's counts."""

    def __init__(self, counts: Counts) -> None:
        self.edges, self.width, self.first = counts.edges, counts.width, counts.first
        sizes, widths = counts.counts.astype(np.float64), np.diff(counts.edges)
        self.density = np.divide(sizes, widths, out=np.zeros_like(sizes), where=widths > 0)
        self.below = np.concatenate([[0], np.cumsum(sizes)])
        self.g = np.concatenate([[0], np.cumsum((self.below[:-1] + sizes / 2) * widths)])
        self.mass = float(sizes.sum())
        middles = (counts.edges[:-1] + counts.edges[1:]) / 2
        self.mean = float((sizes * middles).sum() / self.mass)
        self.variance = float((sizes * ((middles - self.mean) ** 2 + widths**2 / 12)).sum() / self.mass)
        self.resolution = self.mass * self.width**2 / 3

    def __call__(self, t: Doubles) -> Doubles:
        """G(t): quadratic within a bin, 0 before the first and linear behind the last."""
        inside = np.clip(t, self.edges[0], self.edges[-1])
        i = np.clip((inside / self.width).astype(np.int64) - self.first, 0, self.density.size - 1)
        i -= inside < self.edges[i]
        into = inside - self.edges[i]
        g = self.g[i] + into * (self.below[i] + into * self.density[i] / 2)
        return np.asarray(g + self.mass * np.maximum(t - self.edges[-1], 0))

    def errors(self, scale: Floats, zero_point: NDArray[np.int64], quant_min: int, quant_max: int) -> Doubles:
        """Squared error, summed over all elements, of each quantizer."""
        s, z = scale.astype(np.float64), zero_point.astype(np.float64)
        total = np.zeros_like(s)
        for start in range(quant_min, quant_max, 1 << 12):
            k = np.arange(start, min(start + (1 << 12), quant_max)) + 0.5
            total += self(s[:, None] * (k - z[:, None])).sum(axis=1)
        last = s * (quant_max - z)
        return np.asarray(self.mass * (self.variance + (self.mean - last) ** 2) - 2 * s * total)
