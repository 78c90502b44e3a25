"""conventions: A to F by formulas written out once more, and the conversions between them (P8)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nanoquant import qint8, quint8
from nanoquant.affine import dequantize, quantize
from nanoquant.conventions import A, B, C, CodeBook, Convention, D, E, Quantizer

LINEAR = [A, B, C, D]
values = st.floats(-1e4, 1e4, width=32)
integers = np.arange(256)


@st.composite
def grids(draw: st.DrawFn) -> Quantizer:
    """Convention A over the 8-bit dtypes."""
    dtype = draw(st.sampled_from([quint8, qint8]))
    return A(draw(strategies.scales), draw(strategies.zero_points(dtype)), dtype.quant_min, dtype.quant_max)


def rounded_half_even(x: Fraction) -> int:
    return x.numerator // x.denominator + (x % 1 > Fraction(1, 2) or (x % 1 == Fraction(1, 2) and int(x // 1) % 2))


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=4), grids())
@example([0.27393994], A(np.float32(0.00214854861)))  # 128 by the reciprocal, 127 by division
def test_a_is_the_library_bit_for_bit(x: list[float], a: Quantizer) -> None:
    dtype = qint8 if a.low else quint8
    scale, zero_point = float(a.scale), int(a.offset)
    assert np.array_equal(a.quantize(x), quantize(x, scale, zero_point, dtype))
    q = integers + a.low
    assert np.array_equal(a.dequantize(q), dequantize(q, scale, zero_point))


@given(grids(), st.permutations(LINEAR))
def test_conversions_come_back(a: Quantizer, way: list[Convention]) -> None:
    """P8: through any of A, B, C, D, in any order, and home: the same value, and on the way the same reals."""
    there, q = a, integers + a.low
    for convention in way:
        there = there.to(convention)
        assert np.array_equal(there.dequantize(q), a.dequantize(q))
        assert np.array_equal(there.quantize(a.dequantize(q)), q) or not np.isfinite(a.dequantize(q)).all()
    assert there.to(A) == a


@given(values, strategies.everyday_scales, st.integers(0, 255))
@example(0.25, 0.5, 0)
@example(0.25, 0.5, 1)
def test_each_formula(x: float, scale: float, z: int) -> None:
    """Exactly; and what ties do: with an odd zero point B and D differ from C."""
    a, exact, s = A(scale, z), Fraction(x), Fraction(scale)
    expected = {
        B: rounded_half_even((exact + s * z) / s),
        C: rounded_half_even(exact / s) + z,
        D: rounded_half_even(exact * (1 / s) + z),
    }
    for convention, code in expected.items():
        assert a.to(convention).quantize(x) == oracles.clamp(code, 0, 255), convention.name
    steps = exact / s
    if (steps - Fraction(1, 2)).denominator != 1:
        assert len(set(expected.values())) == 1
    elif z % 2:
        assert expected[B] == expected[D] != expected[C]
    if abs(steps - round(steps)) < Fraction(1, 2) - Fraction(
        1, 2**8
    ):  # A's two float32 roundings cross no half (beyond 2^9 steps all saturate)
        assert a.quantize(x) == oracles.clamp(expected[C], 0, 255)


def test_a_real_offset_without_zero() -> None:
    """Range [-1, 3] with origin at its minimum, as tutorials have it: zero comes back as 0.0039."""
    b = B(4 / 255, -1.0)
    assert np.isclose(float(b.dequantize(b.quantize(0.0))), 0.0039, atol=5e-5)
    for convention in (A, C, D):
        with pytest.raises(ValueError, match=r"no integer means real zero, 63\.75 would: let choose_qparams"):
            b.to(convention)
    with pytest.raises(ValueError, match=r"zero_point must be an integer in \[0, 255\]; got -2"):
        B(0.5, 1.0).to(A)  # real zero below the range


def test_an_integer_zero_point_in_the_formula_for_a_real_offset() -> None:
    """Seed 001's slip: z = rint(-min / s) belongs to A; used as B's offset it sends every x out of the range."""
    step = 4 / 255
    z = round(1 / step)
    assert z == 64
    assert [round((x - z) / step) for x in (-1, 0, 3)] == [-4144, -4080, -3889]
    assert A(step, z).quantize([-1.0, 0.0, 3.0]).tolist() == [0, 64, 255]


def test_signed_symmetric() -> None:
    e = E(0.5, 0, -127, 127)
    assert e.to(A) == A(0.5, 0, -127, 127)
    assert A(0.5, 0, -127, 127).to(E) == e
    assert e.quantize([-100.0, -0.25, 0.75, np.inf]).tolist() == [-127, 0, 2, 127]
    for other in (A(0.5, 0, -128, 127), A(0.5, 1, -127, 127)):
        with pytest.raises(ValueError, match="E has origin 0 and integers"):
            other.to(E)


def test_a_scale_that_multiplies_need_not_be_a_float() -> None:
    assert A(0.1).to(D).scale == 1 / Fraction(float(np.float32(0.1)))
    with pytest.raises(ValueError, match=r"the step 1/100 is no float32, .* the nearest is 0\.0099"):
        D(100.0).to(A)
    assert D(128.0, 5).to(A) == A(1 / 128, 5)


@given(grids())
def test_a_uniform_book_is_a_line(a: Quantizer) -> None:
    assume(a.low == 0)
    book = CodeBook.of(a)
    assert max(map(abs, book.book)) == 1
    assert book.to(A) == a
    assert np.array_equal(book.dequantize(integers), a.dequantize(integers))


def test_code_books() -> None:
    """NF4 is no line. The nearest code wins, and halfway the lower one."""
    nf4 = (-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626,
           0.723, 1)  # fmt: skip
    book = CodeBook(nf4, absmax=2.0)
    x = np.linspace(-3, 3, 101, dtype=np.float32)
    expected = np.abs(x[:, np.newaxis].astype(float) - 2 * np.array(nf4)).argmin(1)
    assert np.array_equal(book.quantize(x), expected)
    assert book.quantize([-np.inf, np.inf]).tolist() == [0, 15]
    with pytest.raises(ValueError, match="the 16 entries of this book lie on no line"):
        book.to(A)
    with pytest.raises(ValueError, match="count from 0; got -128..127"):
        CodeBook.of(A(1.0, 0, -128, 127))
    with pytest.raises(ValueError, match="a book ascends"):
        CodeBook((0.0, 0.0))


def test_what_cannot_be_a_quantizer() -> None:
    with pytest.raises(ValueError, match="scale must be a positive"):
        A(0.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        D(Fraction(-1))
    with pytest.raises(ValueError, match=r"no integer means real zero, 2\.5 would"):
        C(1.0, -2.5)
    with pytest.raises(ValueError, match="the step 1/3 is no float32"):
        A(Fraction(1, 3))
    with pytest.raises(ValueError, match="NaN"):
        B(1.0).quantize(np.nan)
