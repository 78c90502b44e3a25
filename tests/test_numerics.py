"""numerics: the epilogues, against exact arithmetic and against what torch printed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st

from nanoquant.numerics import ENGINES, Profile, bind, fma, requantize

small = st.floats(2.0**-10, 2.0**10, width=32)


@given(strategies.finite_floats, strategies.finite_floats, strategies.finite_floats)
@example(1 + 2**-12, 1 + 2**-12, -1.0)
@example(2.0**-100, 2.0**-30, 2.0**-149)
@example(1.0, 2.0**-60, 1 + 2**-23)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    expected = oracles.float32(oracles.exact(a) * oracles.exact(b) + oracles.exact(c))
    got = fma(np.float32(a), np.float32(b), np.float32(c))
    assert got == expected


@given(
    st.integers(-(2**31), 2**31 - 1),
    small,
    small,
    st.floats(-1e3, 1e3, width=32),
    small,
    st.integers(0, 255),
    st.booleans(),
)
def test_form_a_against_exact_arithmetic(
    acc: int, x_scale: float, w_scale: float, bias: float, y_scale: float, zero_point: int, per_channel: bool
) -> None:
    scale = np.float32([w_scale]) if per_channel else np.float32(w_scale)
    for profile in Profile:
        try:
            epilogue = bind(profile, x_scale, scale, np.float32([bias]), np.array([0]), y_scale, zero_point)
        except ValueError:
            continue  # a bias beyond int32, which has its own test
        if profile is Profile.fbgemm:
            real = oracles.fbgemm(acc, x_scale, w_scale, bias, y_scale, per_channel)
        else:
            real = oracles.qnnpack(acc, x_scale, w_scale, bias, y_scale)
        expected = (
            oracles.clamp(oracles.rint(real) + zero_point, 0, 255) if np.isfinite(real) else (255 if real > 0 else 0)
        )
        assert epilogue(np.array([acc])) == expected


@given(st.integers(-(2**31), 2**31 - 1), small, small, st.floats(-1e3, 1e3, width=32))
def test_form_d_against_exact_arithmetic(acc: int, x_scale: float, w_scale: float, bias: float) -> None:
    a = oracles.product(x_scale, w_scale)
    converted = oracles.float32(Fraction(acc))
    fused = oracles.float32(oracles.exact(converted) * oracles.exact(a) + oracles.exact(bias))
    two_steps = oracles.total(oracles.product(converted, a), bias)
    for profile, expected in ((Profile.fbgemm, fused), (Profile.qnnpack, two_steps)):
        epilogue = bind(profile, x_scale, np.float32(w_scale), np.float32([bias]), np.array([0]))
        assert epilogue(np.array([acc])) == expected


def test_profiles_differ_where_the_bias_is_rounded() -> None:
    """A bias of half an accumulator unit: FBGEMM keeps it, QNNPACK rounds it to 0 (half to even)."""
    answers = {}
    for profile in Profile:
        epilogue = bind(profile, 1.0, np.float32(1), np.float32([0.5]), np.array([0]), 0.25)
        answers[profile] = int(epilogue(np.array([1]))[0])
    assert answers == {Profile.fbgemm: 6, Profile.qnnpack: 4}


def test_relu_is_a_lower_limit_at_the_zero_point() -> None:
    acc = np.float32([-1000, -1, 0, 1, 1000])
    assert requantize(acc, np.float32(0), np.float32(1), 10, 0, 255, relu=True).tolist() == [10, 10, 10, 11, 255]


def test_huge_values_saturate() -> None:
    acc = np.float32([-3e9, 3e9, 3e38, -3e38])
    assert requantize(acc, np.float32(0), np.float32(1e10), 128, 0, 255).tolist() == [0, 255, 255, 0]


def test_engines_are_torchs() -> None:
    assert list(ENGINES) == ["qnnpack", "fbgemm", "x86", "onednn"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"x_scale": 1e-30, "w_scale": np.float32([1, 1e-30])},
            "output channel 1: x_scale . w_scale is not a positive",
        ),
        ({"y_scale": 1e-38, "x_scale": 100.0}, "output channel 0: x_scale . w_scale / y_scale is not"),
        ({"bias": np.float32([0, np.inf])}, "output channel 1: the bias is not finite"),
        ({"magnitude": np.array([1, 2**31 // 255 + 1])}, "output channel 1: the accumulator may leave int32"),
        (
            {"profile": Profile.qnnpack, "bias": np.float32([0, 3e9])},
            "output channel 1: the accumulator may leave int32",
        ),
    ],
)
def test_what_cannot_be_exact_is_an_error_that_names_the_channel(arguments: dict, message: str) -> None:
    usual = {
        "profile": Profile.fbgemm,
        "x_scale": 1.0,
        "w_scale": np.float32(1),
        "bias": None,
        "magnitude": np.array([1, 1]),
        "y_scale": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        bind(**{**usual, **arguments})


def test_the_largest_exact_accumulator_is_accepted() -> None:
    bind(Profile.fbgemm, 1.0, np.float32(1), None, np.array([(2**31 - 1) // 255]), 1.0)
