"""Six ways to write a quantizer down, as papers and libraries do, and exact conversions between them.

       q = clamp of                   real                          who
    A  rint(x / s) + z                s (q - z)                     nanoquant, PyTorch, TFLite, ONNX, gemmlowp
    B  rint((x - o) / s), o real      s q + o                       tutorials; gemmlowp's legacy; Q4_1, k-quants
    C  rint(x / s) - z                s (q + z)                     Gholami et al. 2021
    D  rint(s x + z), s = 1 / step    (q - z) / s                   Wu et al. 2020, Distiller
    E  rint(x / s)                    s q, -n <= q <= n             weights everywhere; TensorRT
    F  argmin_k |x - absmax c_k|      absmax c_k, a book of codes   NF4, FP4, k-means

All but a book that is not uniform are lines, real = step q + origin: a conversion reads the line off one and writes it
down as another, in fractions, or says why it cannot. B has origins for which no integer means real zero; E has only 0.

Equal lines mean the same reals, to the bit. Integers may differ where x lies halfway between two: A, C and E round (half
to even) before they add the zero point, B and D after. And A is the library's own float32 arithmetic, where x / s is
x * f32(1 / s); the other formulas are evaluated in fractions, slowly, for arrays that one looks at.

Before: `affine`. After: `numerics`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import affine
from .qparams import check_scale, check_zero_point
from .scheme import qint32


@dataclass(frozen=True)
class Convention:
    """A row of the table: two formulas, and how a line is written in it.

    code(x, scale, offset): the integer for x, before the clamp. real(q, scale, offset): what an integer means. write(
    step, origin, low, high): scale and offset of a line for the integers low..high, or a ValueError that says why there
    are none. Calling a convention makes a quantizer.

    >>> A(0.5, 3).to(B), A(0.5, 3).to(D)
    (B(0.5, -1.5, 0, 255), D(2.0, 3.0, 0, 255))
    """

    name: str
    code: Callable[[Fraction, Fraction, Fraction], Fraction | int]
    real: Callable[[int, Fraction, Fraction], Fraction]
    write: Callable[[Fraction, Fraction, int, int], tuple[Fraction, Fraction | int]]

    def __call__(self, scale: float | Fraction, offset: float | Fraction = 0, low: int = 0, high: int = 255) -> Quantizer:
        """A quantizer for the integers low..high. A scale that is no Fraction is rounded to float32."""
        step = scale if isinstance(scale, Fraction) else Fraction(check_scale(scale).item())
        return Quantizer(self, step, Fraction(offset), low, high)


def _zero(step: Fraction, origin: Fraction) -> int:
    """The integer that means real zero."""
    zero = -origin / step
    if zero.denominator != 1:
        raise ValueError(f"no integer means real zero, {float(zero):.6g} would: let choose_qparams choose scale and zero")
    return int(zero)


def _write_a(step: Fraction, origin: Fraction, low: int, high: int) -> tuple[Fraction, int]:
    nearest = check_scale(float(step)).item()
    if nearest != step:
        raise ValueError(f"the step {step} is no float32, as A's scale must be; the nearest is {nearest:.9g}")
    check_zero_point(_zero(step, origin), low, high)
    return step, _zero(step, origin)


def _write_e(step: Fraction, origin: Fraction, low: int, high: int) -> tuple[Fraction, int]:
    if origin or low != -high:
        raise ValueError(f"E has origin 0 and integers -n..n; got {float(origin):.6g} and {low}..{high}")
    return step, 0


A = Convention("A", lambda x, s, z: int(affine.quantize(float(x), float(s), 0, qint32)) + z,
               lambda q, s, z: s * (q - z), _write_a)  # fmt: skip
B = Convention("B", lambda x, s, o: round((x - o) / s), lambda q, s, o: s * q + o,
               lambda step, origin, low, high: (step, origin))  # fmt: skip
C = Convention("C", lambda x, s, z: round(x / s) - z, lambda q, s, z: s * (q + z),
               lambda step, origin, low, high: (step, -_zero(step, origin)))  # fmt: skip
D = Convention("D", lambda x, s, z: round(s * x + z), lambda q, s, z: (q - z) / s,
               lambda step, origin, low, high: (1 / step, _zero(step, origin)))  # fmt: skip
E = Convention("E", lambda x, s, _: round(x / s), lambda q, s, _: s * q, _write_e)


class Grid(ABC):
    """Integers low..high and the reals they mean: arrays go through the two formulas element by element."""

    low: int
    high: int

    @abstractmethod
    def code(self, x: Fraction) -> int:
        """The integer for a real number, before the clamp."""

    @abstractmethod
    def real(self, q: int) -> Fraction:
        """The real number that an integer means."""

    def line(self) -> tuple[Fraction, Fraction]:
        """(step, origin) of real = step q + origin."""
        return self.real(1) - self.real(0), self.real(0)

    def to(self, convention: Convention) -> Quantizer:
        """The same grid in another convention. ValueError says why there is none.

        >>> B(4 / 255, -1.0).to(A)
        Traceback (most recent call last):
        ValueError: no integer means real zero, 63.75 would: let choose_qparams choose scale and zero
        """
        scale, offset = convention.write(*self.line(), self.low, self.high)
        return Quantizer(convention, scale, Fraction(offset), self.low, self.high)

    def quantize(self, x: ArrayLike) -> NDArray[np.int64]:
        """Floats to integers. Infinity saturates, NaN raises ValueError."""
        values = np.asarray(x, dtype=np.float32)
        affine.refuse_nan(values)
        ends = {-np.inf: self.low, np.inf: self.high}
        codes = [ends[v] if v in ends else self.code(Fraction(v)) for v in values.ravel().tolist()]
        return np.array([min(max(q, self.low), self.high) for q in codes], dtype=np.int64).reshape(values.shape)

    def dequantize(self, q: ArrayLike) -> NDArray[np.float32]:
        """Integers to the floats they mean, rounded once to float32."""
        integers = np.asarray(q, dtype=np.int64)
        exact = np.array([float(self.real(v)) for v in integers.ravel().tolist()], dtype=np.float64)
        with np.errstate(over="ignore", under="ignore"):
            return exact.astype(np.float32).reshape(integers.shape)


@dataclass(frozen=True, repr=False)
class Quantizer(Grid):
    """A convention with its two numbers, held as fractions, and the integer range. ValueError if they cannot be.

    >>> D(Fraction(255, 4), 64).quantize([-1.0, 0.0, 3.0])
    array([  0,  64, 255])
    >>> B(4 / 255, -1.0).dequantize([0, 63, 64])  # zero is not among them
    array([-1.        , -0.01176465,  0.00392163], dtype=float32)
    """

    convention: Convention
    scale: Fraction
    offset: Fraction
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.low >= self.high:
            raise ValueError(f"scale must be positive and low < high; got {self.scale}, {self.low} and {self.high}")
        self.convention.write(*self.line(), self.low, self.high)

    def code(self, x: Fraction) -> int:
        return int(self.convention.code(x, self.scale, self.offset))

    def real(self, q: int) -> Fraction:
        return self.convention.real(q, self.scale, self.offset)

    def __repr__(self) -> str:
        return f"{self.convention.name}({float(self.scale)}, {float(self.offset)}, {self.low}, {self.high})"


@dataclass(frozen=True)
class CodeBook(Grid):
    """F: integer k means absmax * book[k]. The book ascends; halfway between two entries, the lower is nearest.

    >>> CodeBook((-1.0, 0.0, 0.25, 1.0), absmax=8.0).quantize([-9.0, 0.5, 1.5, 6.0])
    array([0, 1, 2, 3])
    >>> CodeBook((-0.5, 0.0, 0.5, 1.0), absmax=4.0).to(A)
    A(2.0, 1.0, 0, 3)
    """

    book: tuple[Fraction | float, ...]
    absmax: Fraction | float = 1.0
    low = 0

    def __post_init__(self) -> None:
        if len(self.book) < 2 or any(a >= b for a, b in pairwise(self.book)) or not self.absmax > 0:
            raise ValueError(f"a book ascends, and absmax is positive; got {self.book} and {self.absmax}")

    @classmethod
    def of(cls, grid: Grid) -> CodeBook:
        """The reals that a grid means, over the largest magnitude. A book's integers count from 0: ValueError if not."""
        if grid.low:
            raise ValueError(f"the integers of a code book count from 0; got {grid.low}..{grid.high}")
        reals = [grid.real(q) for q in range(grid.high + 1)]
        absmax = max(map(abs, reals))
        return cls(tuple(r / absmax for r in reals), absmax)

    @property
    def high(self) -> int:  # type: ignore[override]
        """The last index."""
        return len(self.book) - 1

    def code(self, x: Fraction) -> int:
        """argmin_k |x - absmax c_k|."""
        return min(range(len(self.book)), key=lambda k: abs(x - self.real(k)))

    def real(self, q: int) -> Fraction:
        """absmax c_k."""
        return Fraction(self.absmax) * Fraction(self.book[q])

    def line(self) -> tuple[Fraction, Fraction]:
        """As for every grid, if the entries lie on a line; ValueError if not."""
        if len({Fraction(b) - Fraction(a) for a, b in pairwise(self.book)}) > 1:
            raise ValueError(f"the {len(self.book)} entries of this book lie on no line: no scale can stand for them")
        return super().line()
