"""Is this a quantizer? `check_quantizer` tries six properties on functions of your own, and says which slip broke them.

    P1  |x - dequantize(quantize(x))| <= scale / 2 inside the range      P4  dequantize(quantize(0)) = 0
    P2  quantize(dequantize(q)) = q                                      P5  beyond the range, the nearest end
    P3  x <= y  =>  quantize(x) <= quantize(y)                           P6  quantize(-x) = -quantize(x)

P6 holds for ranges -n..n and zero point 0 only, and is asked there only.

Before: `conformance`. After: the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from .conformance import falsify
from .strategies import everyday_scales

Function = Callable[[NDArray[Any], float, int], ArrayLike]


class Grid(NamedTuple):
    """A scale and a zero point, and two numbers, in scales, that lie anywhere from well below to well above the range."""

    scale: float
    zero_point: int
    steps: float
    more: float


class Subject(NamedTuple):
    """The functions under test, and their integer range."""

    quantize: Function
    dequantize: Function
    low: int
    high: int

    def q(self, x: float, grid: Grid) -> int:
        """quantize of one number."""
        return int(np.asarray(self.quantize(np.array([x], np.float32), grid.scale, grid.zero_point))[0])

    def real(self, q: int, grid: Grid) -> float:
        """dequantize of one integer."""
        return float(np.asarray(self.dequantize(np.array([q]), grid.scale, grid.zero_point))[0])


def zero_is_exact(subject: Subject, grid: Grid) -> None:
    """P4."""
    q = subject.q(0.0, grid)
    real = subject.real(q, grid)
    assert real == 0, f"real zero becomes {q}, which means {real}{_where(grid)}"


def integers_come_back(subject: Subject, grid: Grid) -> None:
    """P2."""
    q = min(max(round(grid.steps) + grid.zero_point, subject.low), subject.high)
    real = subject.real(q, grid)
    again = subject.q(real, grid)
    assert again == q, f"{q} means {real}, which becomes {again}{_where(grid)}"


def the_error_is_half_a_step(subject: Subject, grid: Grid) -> None:
    """P1, with room for the roundings of float32: 2^-22 of the range."""
    ends = [grid.scale * (q - grid.zero_point) for q in (subject.low, subject.high)]
    x = float(np.float32(min(max(grid.steps * grid.scale, ends[0]), ends[1])))
    q = subject.q(x, grid)
    real = subject.real(q, grid)
    bound = grid.scale * (0.5 + (subject.high - subject.low) * 2.0**-22)
    assert abs(x - real) <= bound, (
        f"{x} becomes {q}, which means {real}: off by more than half a step, inside the range{_where(grid)}"
    )


def order_is_kept(subject: Subject, grid: Grid) -> None:
    """P3."""
    x, y = sorted(float(np.float32(steps * grid.scale)) for steps in (grid.steps, grid.more))
    small, large = subject.q(x, grid), subject.q(y, grid)
    assert small <= large, f"{x} becomes {small}, and {y}, which is not less, {large}{_where(grid)}"


def the_ends_saturate(subject: Subject, grid: Grid) -> None:
    """P5."""
    for end, beyond in ((subject.low, -1 - abs(grid.steps)), (subject.high, 1 + abs(grid.steps))):
        x = float(np.float32(grid.scale * (end - grid.zero_point + beyond)))
        q = subject.q(x, grid)
        assert q == end, f"{x} lies beyond the range and becomes {q}, not its end {end}{_where(grid)}"


def signs_mirror(subject: Subject, grid: Grid) -> None:
    """P6."""
    grid = grid._replace(zero_point=0)
    x = float(np.float32(grid.steps * grid.scale))
    plus, minus = subject.q(x, grid), subject.q(-x, grid)
    assert minus == -plus, f"{x} becomes {plus}, but {-x} becomes {minus}{_where(grid)}"


def _where(grid: Grid) -> str:
    return f" (scale {grid.scale}, zero point {grid.zero_point})"


PROPERTIES = {
    "P4": zero_is_exact,
    "P2": integers_come_back,
    "P1": the_error_is_half_a_step,
    "P3": order_is_kept,
    "P5": the_ends_saturate,
    "P6": signs_mirror,
}

# What people write for rint(x / s) + z, in exact numbers before the clamp, and what is wrong with it.
SLIPS: list[tuple[str, Callable[[Any, float, int], Any], str]] = [
    ("rint((x - z) / s)", lambda x, s, z: np.rint((x - z) / s),
     "convention A's integer zero point in convention B's formula, where a real offset belongs: try rint(x / s) + z"),
    ("rint(x / s) - z", lambda x, s, z: np.rint(x / s) - z,
     "convention C's sign: add the zero point, or negate it"),
    ("rint(x * s) + z", lambda x, s, z: np.rint(x * s) + z,
     "convention D's formula, for an inverse scale: divide by the scale"),
    ("floor(x / s) + z", lambda x, s, z: np.floor(x / s) + z,
     "floor is low by half a step on average: try rint"),
    ("trunc(x / s) + z", lambda x, s, z: np.trunc(x / s) + z,
     "int() and astype cut towards zero: round first, with rint"),
]  # fmt: skip


def diagnose(subject: Subject) -> str:
    """Which slip computes what the user's quantize computes, on a grid where each gives something else."""
    scale, zero_point = 0.25, max(subject.low, min(3, subject.high))
    steps = np.array([-2.75, -1.0, -0.75, 0.0, 0.25, 0.75, 1.0, 2.75])
    x = scale * np.concatenate([steps, (subject.high - subject.low) * np.array([0.25, 0.5, 0.75]) + 0.75])
    given = np.asarray(subject.quantize(x.astype(np.float32), scale, zero_point)).astype(np.int64)
    for formula, slip, advice in SLIPS:
        if np.array_equal(given, np.clip(slip(x, scale, zero_point), subject.low, subject.high)):
            return f". It computes {formula}: {advice}"
    return ""


def check_quantizer(
    quantize: Function, dequantize: Function, quant_min: int = 0, quant_max: int = 255, examples: int = 200
) -> None:
    """Tries P1 to P6; AssertionError shows the simplest counter-example, and names the slip if it is a known one.

    quantize(x, scale, zero_point): integers for a float32 array. dequantize(q, scale, zero_point): floats for an array of
    integers. quant_min, quant_max: their range, of at most 16 bits. examples: tries per property.
    """
    subject, span = Subject(quantize, dequantize, quant_min, quant_max), 2.0 * (quant_max - quant_min)
    steps = st.floats(-span, span) | st.integers(-int(span), int(span)).map(lambda n: n / 2)  # halfway, too
    grids = st.builds(Grid, everyday_scales, st.integers(quant_min, quant_max), steps, steps)
    for name, holds in PROPERTIES.items():
        if name != "P6" or quant_min == -quant_max:
            try:
                falsify(name, examples, lambda grid, holds=holds: holds(subject, grid), grids)  # type: ignore[misc]
            except AssertionError as broken:
                raise AssertionError(f"{broken}{diagnose(subject)}") from None
