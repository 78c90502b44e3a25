"""metrics: signal errors, against fractions and plain loops."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import strategies
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoquant as nq
from nanoquant.affine import dequantize, fake_quantize
from nanoquant.metrics import cosine_similarity, kl_divergence, mse, quantization_error, sqnr
from nanoquant.qparams import QParams, choose_qparams

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=5)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 arrays of one shape, of values whose squares float64 can tell from zero."""
    shape = draw(shapes)
    return tuple(draw(hnp.arrays(np.float32, shape, elements=strategies.finite_floats)) for _ in range(2))


def squares(*values: float) -> Fraction:
    return sum((Fraction(v) ** 2 for v in values), Fraction(0))


def close(value: float, expected: Fraction) -> bool:
    return value == pytest.approx(float(expected), rel=1e-12, abs=0)


@given(pairs())
def test_mse_and_sqnr_against_fractions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = (a.astype(float).ravel().tolist() for a in pair)
    noise, signal = sum(squares(Fraction(a) - Fraction(b)) for a, b in zip(x, y, strict=True)), squares(*x)
    assert close(mse(*pair), noise / len(x))
    if noise == 0:
        assert sqnr(*pair) == math.inf
    elif signal == 0:
        assert sqnr(*pair) == -math.inf
    else:
        ratio = signal / noise
        expected = 10 * (math.log10(ratio.numerator) - math.log10(ratio.denominator))
        assert sqnr(*pair) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@given(pairs())
def test_cosine_against_fractions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = ([Fraction(v) for v in a.astype(float).ravel().tolist()] for a in pair)
    value = cosine_similarity(*pair)
    if not any(x) or not any(y):
        assert value == 0
    else:
        dot, norms = sum(a * b for a, b in zip(x, y, strict=True)), squares(*x) * squares(*y)
        expected = math.copysign(math.sqrt(float(dot * dot / norms)), dot)
        assert value == pytest.approx(expected, abs=1e-6)
    assert -1 <= value <= 1


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=20))
def test_kl_divergence_is_its_sum(counts: list[tuple[int, int]]) -> None:
    p, q = zip(*counts, strict=True)
    assume(any(p) and any(q))
    terms = [(Fraction(a, sum(p)), Fraction(b, sum(q))) for a, b in counts if a]
    expected = math.inf if any(b == 0 for _, b in terms) else sum(float(a) * math.log(a / b) for a, b in terms)
    assert kl_divergence(p, q) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kl_divergence(p, p) == 0


@given(
    hnp.arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32)),
    strategies.everyday_scales,
    strategies.dtypes,
    st.data(),
)
def test_the_two_parts_of_the_error(x: np.ndarray, scale: float, dtype: nq.QDType, data: st.DataObject) -> None:
    zero_point = data.draw(strategies.zero_points(dtype))
    qparams = QParams(scale, zero_point, dtype)
    error = quantization_error(x, qparams)
    low, high = (float(dequantize(q, scale, zero_point)) for q in (dtype.quant_min, dtype.quant_max))
    y = fake_quantize(x, scale, zero_point, *qparams.limits)
    parts, clipped = {True: Fraction(0), False: Fraction(0)}, 0
    for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True):
        outside = not low <= a <= high
        clipped += outside
        parts[outside] += squares(Fraction(a) - Fraction(b))
    assert close(error.clipping, parts[True])
    assert close(error.rounding, parts[False])
    assert (error.clipped, error.count) == (clipped, x.size)
    assert error.total == error.clipping + error.rounding
    assert error.total / error.count == pytest.approx(mse(x, y), rel=1e-12, abs=0)
    assert 0 <= error.clipping_share <= 1
    assert error.rounding <= x.size * (scale / 2) ** 2 * (1 + 2**-12)  # P1: half a step, and the reciprocal's rounding


def test_per_channel_error_is_the_sum_over_channels() -> None:
    x = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)
    scale = np.float32([0.01, 0.02, 0.1])
    whole = quantization_error(x, QParams(scale, [0, 5, -3], nq.qint8, axis=0))
    rows = [quantization_error(x[c], QParams(scale[c], z, nq.qint8)) for c, z in enumerate((0, 5, -3))]
    assert whole.clipping == pytest.approx(sum(row.clipping for row in rows))
    assert whole.rounding == pytest.approx(sum(row.rounding for row in rows))
    assert whole.clipped == sum(row.clipped for row in rows) > 0


def test_eight_bits_of_a_normal_signal_are_worth_forty_decibels() -> None:
    """And the best clip (3.92 sigma, Banner et al. 2019) more than min-max; half the steps cost 6.02 dB."""
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    values = {}
    for clip in (4.6, 3.92, 2.0):
        scale, zero_point = choose_qparams(-clip, clip)
        values[clip] = sqnr(x, nq.quantize_per_tensor(x, scale, zero_point, nq.quint8))
    assert 39 < values[4.6] < values[3.92] < 41
    assert values[2.0] < 20
    fine, coarse = (sqnr(x, fake_quantize(x, step, 0, -(2**20), 2**20)) for step in (0.01, 0.02))
    assert fine - coarse == pytest.approx(20 * math.log10(2), abs=0.1)


def test_whatever_holds_numbers_is_measured() -> None:
    q = nq.quantize_per_tensor([0.1, 0.26], 0.5, 0, nq.qint8)
    assert mse(nq.tensor([0.0, 0.5]), q) == 0
    assert sqnr(q, [0.0, 0.5]) == math.inf


def test_what_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match=r"one shape; got \(2,\) and \(1, 2\)"):
        mse([1, 2], [[1, 2]])
    with pytest.raises(ValueError, match="x is empty"):
        sqnr([], [])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"y of shape \(1,\) holds NaN or infinity"):
            cosine_similarity([1.0], [bad])
    for counts in ([0, 0], [2, -1]):
        with pytest.raises(ValueError, match="q must be a histogram"):
            kl_divergence([1, 1], counts)
    with pytest.raises(ValueError, match="the quantized x of shape"):
        quantization_error([3.3e38], QParams(2e38, 0))
