"""qparams: the observer rule, the dynamic rule, and the value that holds their result."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles
import pytest
import strategies
from golden_vectors import cases
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nanoquant.qparams import EPS, QParams, choose_dynamic_qparams, choose_qparams
from nanoquant.scheme import (
    QDTYPES,
    QDType,
    per_channel_affine_float_qparams,
    per_tensor_affine,
    per_tensor_symmetric,
    qint8,
    quint8,
)

moderate = st.floats(-(2.0**100), 2.0**100, width=32)


@given(moderate, moderate, strategies.dtypes)
@example(0.0, 0.0, quint8)
@example(2.0, 2.0, quint8)
@example(-3.0, -3.0, quint8)
@example(-0.0, 1e-40, qint8)
def test_affine_rule_against_exact_arithmetic(a: float, b: float, dtype: QDType) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = choose_qparams(low, high, dtype, per_tensor_affine)
    low, high = min(low, 0.0), max(high, 0.0)
    width = oracles.total(high, -low)
    assert scale == max(oracles.quotient(width, 255), np.float32(EPS))
    expected = dtype.quant_min - oracles.rint(oracles.quotient(low, scale))
    assert zero_point == oracles.clamp(expected, dtype.quant_min, dtype.quant_max)


@given(moderate, moderate, strategies.dtypes)
def test_symmetric_rule_against_exact_arithmetic(a: float, b: float, dtype: QDType) -> None:
    scale, zero_point = choose_qparams(min(a, b), max(a, b), dtype, per_tensor_symmetric)
    largest = max(-min(a, b, 0.0), max(a, b, 0.0))
    assert scale == max(oracles.quotient(largest, Fraction(255, 2)), np.float32(EPS))
    assert zero_point == (0 if dtype == qint8 else 128)


@given(moderate, moderate, strategies.dtypes)
def test_zero_and_both_ends_are_representable(a: float, b: float, dtype: QDType) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero_point = (v.item() for v in choose_qparams(low, high, dtype, per_tensor_affine))
    assert dtype.quant_min <= zero_point <= dtype.quant_max
    represented = [(q - zero_point) * Fraction(scale) for q in (dtype.quant_min, dtype.quant_max)]
    slack = Fraction(scale) * Fraction(501, 1000)
    assert represented[0] <= Fraction(low) + slack
    assert represented[1] >= Fraction(high) - slack


def test_a_range_of_its_own_moves_the_middle_as_in_torch() -> None:
    assert choose_qparams(-1, 1, quint8, per_tensor_symmetric)[1] == 128
    assert choose_qparams(-1, 1, quint8, per_tensor_symmetric, 0, 255)[1] == 127
    assert choose_qparams(-1, 1, quint8, per_tensor_symmetric, 0, 127)[1] == 63


def test_the_smallest_scales() -> None:
    tiny = np.float32(EPS)
    assert choose_qparams(0, tiny, quint8, per_tensor_affine, 0, 1)[0] == tiny
    assert choose_qparams(0, tiny / 2, quint8, per_tensor_affine, 0, 1)[0] == tiny
    assert choose_qparams(0, tiny, quint8, per_channel_affine_float_qparams, 0, 1)[0] == 1
    assert choose_qparams(0, 2 * tiny, quint8, per_channel_affine_float_qparams, 0, 1)[0] == 2 * tiny
    assert choose_qparams(0, 0, quint8, per_tensor_affine, eps=2.0**-12)[0] == 2.0**-12


def test_zero_points_of_32_bits_stay_inside() -> None:
    """1000 / f32(1000 / 2^32) is 2^32: one more than there are steps."""
    assert choose_qparams(-1000, 0, QDTYPES["qint32"])[1] == 2**31 - 1
    assert choose_qparams(0, 1000, QDTYPES["qint32"])[1] == -(2**31)


def test_what_does_not_fit_together() -> None:
    with pytest.raises(ValueError, match="must be scalars per tensor .vectors need an axis.; got"):
        QParams([1.0, 2.0], [0, 0])
    with pytest.raises(ValueError, match="must be vectors of one length per channel; got"):
        QParams([1.0, 2.0], [0], axis=0)
    for scale, zero_point in (([[1.0]], [0]), (1.0, 0)):
        with pytest.raises(ValueError, match="must be arrays of one shape per group; got"):
            QParams(scale, zero_point, axis=0, group_size=1)
    with pytest.raises(ValueError, match="zero_point must be finite; got inf for channel 1"):
        QParams([1.0, 1.0], [0.5, np.inf], axis=0, float_qparams=True)
    assert QParams([1.0], np.float64([0.5]), axis=0, float_qparams=True).zero_point.dtype == np.float32
    assert QParams([1.0], [3], axis=0).zero_point.dtype == np.int64
    with pytest.raises(ValueError, match="got 1e-40 for channel 1"):
        QParams([1.0, 1e-40], [0, 0], axis=0)


def test_groups_along_any_axis() -> None:
    for axis in (-2, 0):
        scale, _ = QParams(np.ones((1, 3)), np.zeros((1, 3)), axis=axis, group_size=4).over((4, 3))
        assert scale.shape == (4, 3)
    assert QParams([1.0, 2.0], [0, 0], axis=0, group_size=3).over((6,))[0].tolist() == [1, 1, 1, 2, 2, 2]
    for axis, shape in ((2, (4, 3)), (-3, (4, 3)), (0, (4,)), (0, (4, 3, 1))):
        with pytest.raises(ValueError, match="do not fit an array of shape"):
            QParams(np.ones((1, 3)), np.zeros((1, 3)), axis=axis, group_size=4).over(shape)


def test_results_have_the_declared_types() -> None:
    for qscheme in (per_tensor_affine, per_tensor_symmetric):
        scale, zero_point = choose_qparams(np.float64([-1, 0]), np.float64([1, 3]), quint8, qscheme, 0, 8)
        assert (scale.dtype, zero_point.dtype) == (np.float32, np.int64)
    scale, zero_point = choose_qparams([1.0], [3.0], quint8, per_channel_affine_float_qparams)
    assert (scale.dtype, zero_point.dtype) == (np.float32, np.float32)
    assert choose_qparams(-1, 1, quint8, per_tensor_symmetric, 0, 8)[1] == 4


def test_how_qparams_print() -> None:
    assert repr(QParams([0.5, 1.0], [0, 1], axis=1)) == (
        "QParams(real = scale * (q - zero_point), 2 channels on axis 1, scale=[0.5 1. ], zero_point=[0 1], q in [0, 255])"
    )
    assert repr(QParams([[0.5]], [[0]], axis=1, group_size=4)).startswith(
        "QParams(real = scale * (q - zero_point), 1 groups of 4 on axis 1, scale=[[0.5]]"
    )
    assert repr(QParams(0.5, 3, qint8, quant_min=-8, quant_max=7)).endswith("q in [-8, 7], real in [-5.5, 2])")


def test_int8_weights_use_127_and_a_half() -> None:
    scale, _ = choose_qparams(-1.0, 1.0, qint8, per_tensor_symmetric)
    assert scale == np.float32(1) / np.float32(127.5)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.nan, 1.0, "must be finite"),
        (0.0, np.inf, "must be finite"),
        (1.0, -1.0, "must not exceed"),
        (-3e38, 3e38, "wider than float32"),
    ],
)
def test_impossible_ranges(low: float, high: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_qparams(low, high)


def test_dynamic_rule_equals_torch() -> None:
    for options, arrays in cases("dynamic_qparams"):
        quant_max = 127 if options["reduce_range"] else 255
        for (low, high), scale, zero_point in zip(arrays["bounds"], arrays["scale"], arrays["zero_point"], strict=True):
            assert choose_dynamic_qparams(low, high, 0, quant_max) == (scale, zero_point)


def rule_by_hand(low: float, high: float, q_low: int, q_high: int) -> tuple[float, int]:
    """The published rule for a range that needs no floor, in exact arithmetic but for the double that a scale is."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = Fraction((high - low) / (q_high - q_low))
    from_min, from_max = q_low - Fraction(low) / scale, q_high - Fraction(high) / scale
    nearer = abs(q_low) - abs(Fraction(low) / scale) < abs(q_high) - abs(Fraction(high) / scale)
    return float(scale), min(max(oracles.rint(from_min if nearer else from_max), q_low), q_high)


@given(
    st.floats(-(2.0**20), 2.0**20, width=32), st.floats(-(2.0**20), 2.0**20, width=32),
    st.sampled_from([(0, 255), (0, 127), (-128, 127), (-8, 7)]),
)  # fmt: skip
def test_dynamic_rule_against_exact_arithmetic(a: float, b: float, limits: tuple[int, int]) -> None:
    low, high = min(a, b), max(a, b)
    assume(max(high, 0) - min(low, 0) > 6.2e-5 * (limits[1] - limits[0]))
    scale, zero_point = choose_dynamic_qparams(low, high, *limits)
    expected_scale, expected = rule_by_hand(low, high, *limits)
    exact = limits[0] - Fraction(min(low, 0.0)) / Fraction(expected_scale)
    assert scale == expected_scale
    near_tie = abs(abs(exact - int(exact)) - Fraction(1, 2)) < Fraction(1, 10**9)
    assert zero_point == expected or near_tie


def test_dynamic_rule_at_its_floors() -> None:
    stretched = choose_dynamic_qparams(-1e-6, 3e-6, 0, 255)  # the range is stretched, its proportions kept
    assert stretched == (np.float32(6.1e-5), 64)
    assert choose_dynamic_qparams(-1e-6, 3e-6, -128, 127) == (np.float32(6.1e-5), -64)
    assert choose_dynamic_qparams(0, 1e-6, -128, 127) == (np.float32(6.1e-5), -128)
    assert choose_dynamic_qparams(-1e-6, 0, -8, 7) == (np.float32(6.1e-5), 7)
    assert choose_dynamic_qparams(0, 1e-38, 0, 255) == (0.1, 0)  # 1 / scale is not finite
    exactly = float(np.float32(6.1e-5)) * 255
    assert choose_dynamic_qparams(0, np.float32(exactly), 0, 255)[1] == 0
    assert choose_dynamic_qparams(0, 0, 0, 255) == (0.1, 0)
    assert choose_dynamic_qparams(0, 1e-6, 0, 255) == (np.float32(6.1e-5), 0)
    assert choose_dynamic_qparams(-1e-6, 0, 0, 255) == (np.float32(6.1e-5), 255)
    with pytest.raises(ValueError, match="must be finite"):
        choose_dynamic_qparams(0, np.inf, 0, 255)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-39, np.inf, np.nan, 1e300])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(ValueError, match="positive, normal and finite"):
        QParams(scale, 0)


@pytest.mark.parametrize("zero_point", [-1, 256, 1.5])
def test_zero_points_outside_the_range(zero_point: float) -> None:
    with pytest.raises(ValueError, match=r"zero_point must be an integer in \[0, 255\]"):
        QParams(1.0, zero_point)


def test_an_error_names_the_channel() -> None:
    with pytest.raises(ValueError, match="for channel 2"):
        QParams([1, 2, 0], [0, 0, 0], axis=0)
    with pytest.raises(ValueError, match="got 300 for channel 1"):
        QParams([1, 2], [0, 300], axis=0)


def test_shapes_must_fit_the_granularity() -> None:
    with pytest.raises(ValueError, match="scalars per tensor"):
        QParams([1.0, 2.0], [0, 0])
    with pytest.raises(ValueError, match="vectors of one length"):
        QParams([1.0, 2.0], [0], axis=0)


def test_what_an_observer_calculates_is_taken() -> None:
    assert QParams([0.5], [3]).scale.shape == ()


def test_a_value_cannot_be_changed() -> None:
    q = QParams(0.5, 3)
    with pytest.raises(ValueError, match="read-only"):
        q.scale[...] = 1
    assert "scale=0.5, zero_point=3" in repr(q)
    assert "2 channels on axis 1" in repr(QParams([0.5, 1], [0, 0], axis=1))
