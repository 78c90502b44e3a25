"""numerics: the epilogues, against exact arithmetic and against what torch printed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st

from nanoquant.numerics import (
    ENGINES,
    Profile,
    bind,
    fma,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    twice_inverted,
)

small = st.floats(2.0**-10, 2.0**10, width=32)


@given(strategies.finite_floats, strategies.finite_floats, strategies.finite_floats)
@example(1 + 2**-12, 1 + 2**-12, -1.0)
@example(2.0**-100, 2.0**-30, 2.0**-149)
@example(1.0, 2.0**-60, 1 + 2**-23)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    expected = oracles.float32(oracles.exact(a) * oracles.exact(b) + oracles.exact(c))
    got = fma(np.float32(a), np.float32(b), np.float32(c))
    assert got == expected


odd = st.integers(2**11, 2**12).map(lambda n: 2 * n + 1)


@given(odd, odd, st.sampled_from([1, -1]), st.sampled_from([1, -1]), st.integers(0, 80), st.integers(-90, 90))
def test_fma_next_to_a_tie(a: int, b: int, sign: int, towards: int, distance: int, power: int) -> None:
    """The product of two odd numbers of 13 bits is a tie of float32, or of its last bits; c pushes it off by a hair."""
    product, hair = sign * a * b * 2.0**power, towards * 2.0 ** max(power - distance, -149)
    expected = oracles.float32(Fraction(product) + Fraction(hair))
    assert fma(np.float32(sign * a), np.float32(b * 2.0**power), np.float32(hair)) == expected


@given(st.integers(-(2**31), 2**31 - 1), small, small, st.floats(-1e3, 1e3, width=32), small, st.integers(0, 255), st.booleans())
def test_8_bit_outputs_against_exact_arithmetic(
    acc: int, x_scale: float, w_scale: float, bias: float, y_scale: float, zero_point: int, per_channel: bool
) -> None:
    scale = np.float32([w_scale]) if per_channel else np.float32(w_scale)
    for profile in Profile:
        try:
            epilogue = bind(profile, x_scale, scale, np.float32([bias]), np.array([0]), y_scale, zero_point)
        except ValueError:
            continue  # a bias beyond int32, or a multiplier of 2^30, which have their own tests
        arguments = (acc, x_scale, w_scale, bias, y_scale, zero_point, per_channel)
        assert epilogue(np.array([acc])) == oracles.output(profile.name, *arguments), profile


@given(st.integers(-(2**31), 2**31 - 1), st.integers(2**30, 2**31 - 1), st.integers(-31, 30), st.booleans())
@example(7984, 1583594044, -9, False)
@example(-(2**31), 2**31 - 1, 30, False)
@example(-(2**31), 2**31 - 1, 30, True)
@example(-(2**31), 2**30, -31, True)
def test_form_c_over_its_whole_domain(acc: int, multiplier: int, shift: int, once: bool) -> None:
    """Left shifts too: Jacob et al. call the multiplier smaller than 1, which is an observation and no law."""
    real = multiplier * 2.0 ** (shift - 31)
    assert tuple(int(v) for v in quantize_multiplier(real)) == (multiplier, shift)
    assert multiply_by_quantized_multiplier(acc, multiplier, shift, once) == oracles.fixed_point(acc, real, once)


@given(st.floats(2.0**-32, 2.0**30, exclude_max=True))
@example(1 - 2.0**-33)
def test_a_quantized_multiplier_is_the_nearest(real: float) -> None:
    multiplier, shift = (int(v) for v in quantize_multiplier(real))
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (shift - 32)


@given(st.integers(-(2**24), 2**24), small, small, st.floats(-1e3, 1e3, width=32), small, st.integers(0, 255))
def test_requantization_is_as_near_as_declared(
    acc: int, x_scale: float, w_scale: float, bias: float, y_scale: float, zero_point: int
) -> None:
    """At most half a step, plus half an accumulator unit where the bias is rounded, plus half a unit of the last bit
    of the first of two roundings, plus float32's own error."""
    multiplier = Fraction(x_scale) * Fraction(w_scale) / Fraction(y_scale)
    product, addend = acc * multiplier, Fraction(bias) / Fraction(y_scale)
    exact = product + addend + zero_point
    if not 0 <= exact <= 255:
        return
    for profile in Profile:
        try:
            epilogue = bind(profile, x_scale, np.float32(w_scale), np.float32([bias]), np.array([0]), y_scale, zero_point)
        except ValueError:
            continue
        allowed = Fraction(1, 2) + (abs(product) + abs(addend) + 255) / 2**20
        if profile not in (Profile.fbgemm, Profile.onednn):
            allowed += multiplier / 2
        if profile is Profile.tflite:
            allowed += min(multiplier, Fraction(1, 2))
        assert abs(int(epilogue(np.array([acc]))[0]) - exact) <= allowed, profile


TIES = {
    # acc / 8:              -1.5  -0.5  0.375 0.5   1.5   2.5
    (Profile.fbgemm, 100): [98, 100, 100, 100, 102, 102],
    (Profile.fbgemm, 101): [99, 101, 101, 101, 103, 103],
    (Profile.onednn, 100): [98, 100, 100, 100, 102, 102],
    (Profile.onednn, 101): [100, 100, 101, 102, 102, 104],
    (Profile.tflite, 100): [98, 99, 101, 101, 102, 103],
    (Profile.tflite, 101): [99, 100, 102, 102, 103, 104],
    (Profile.tflite_single, 100): [99, 100, 100, 101, 102, 103],
    (Profile.tflite_single, 101): [100, 101, 101, 102, 103, 104],
}


@pytest.mark.parametrize(("profile", "zero_point"), TIES)
def test_ties(profile: Profile, zero_point: int) -> None:
    """Half to even, before or after the zero point; half away from zero after a first rounding; half up."""
    epilogue = bind(profile, 1.0, np.float32(0.125), None, np.array([0]), 1.0, zero_point)
    assert epilogue(np.array([[-12], [-4], [3], [4], [12], [20]]))[:, 0].tolist() == TIES[profile, zero_point]


def test_scales_inverted_twice() -> None:
    """Of every float32 mantissa: a sixth moves, by one step, and a second time changes nothing."""
    scales = np.arange(2**23, 2**24, dtype=np.uint32).astype(np.float32)
    once = twice_inverted(scales)
    assert 0.17 < (once != scales).mean() < 0.18
    assert np.abs(once.view(np.int32) - scales.view(np.int32)).max() == 1
    assert np.array_equal(twice_inverted(once), once)


@given(st.integers(-(2**31), 2**31 - 1), small, small, st.floats(-1e3, 1e3, width=32))
def test_form_d_against_exact_arithmetic(acc: int, x_scale: float, w_scale: float, bias: float) -> None:
    a = oracles.product(x_scale, w_scale)
    converted = oracles.float32(Fraction(acc))
    fused = oracles.float32(oracles.exact(converted) * oracles.exact(a) + oracles.exact(bias))
    two_steps = oracles.total(oracles.product(converted, a), bias)
    onednn = oracles.total(oracles.product(oracles.product(converted, oracles.twice_inverted(x_scale)), w_scale), bias)
    for profile in Profile:
        expected = {Profile.fbgemm: fused, Profile.onednn: onednn}.get(profile, two_steps)
        epilogue = bind(profile, x_scale, np.float32(w_scale), np.float32([bias]), np.array([0]))
        assert epilogue(np.array([acc])) == expected


def test_profiles_differ_where_the_bias_is_rounded() -> None:
    """A bias of half an accumulator unit: FBGEMM and oneDNN keep it, the others round it to 0 (half to even)."""
    answers = {}
    for profile in Profile:
        epilogue = bind(profile, 1.0, np.float32(1), np.float32([0.5]), np.array([0]), 0.25)
        answers[profile] = int(epilogue(np.array([1]))[0])
    assert {profile for profile, answer in answers.items() if answer == 6} == {Profile.fbgemm, Profile.onednn}
    assert set(answers.values()) == {4, 6}


def test_relu_is_a_lower_limit_at_the_zero_point() -> None:
    acc = np.float32([-1000, -1, 0, 1, 1000])
    assert requantize(acc, np.float32(1), 10, 0, 255, relu=True).tolist() == [10, 10, 10, 11, 255]


def test_huge_values_saturate() -> None:
    acc = np.float32([-3e9, 3e9, 3e38, -3e38])
    assert requantize(acc, np.float32(1e10), 128, 0, 255).tolist() == [0, 255, 255, 0]


def test_engines_are_torchs() -> None:
    assert list(ENGINES) == ["qnnpack", "fbgemm", "x86", "onednn"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x_scale": 1e-30, "w_scale": np.float32([1, 1e-30])}, "output channel 1: x_scale . w_scale is not a positive"),
        ({"y_scale": 1e-38, "x_scale": 100.0}, "output channel 0: x_scale . w_scale / y_scale is not"),
        ({"bias": np.float32([0, np.inf])}, "output channel 1: the bias is not finite"),
        ({"magnitude": np.array([1, 2**31 // 255 + 1])}, "output channel 1: the accumulator may leave int32"),
        ({"profile": Profile.qnnpack, "bias": np.float32([0, 3e9])}, "output channel 1: the accumulator may leave int32"),
        (
            {"profile": Profile.tflite, "w_scale": np.float32([1, 2.0**30])},
            r"output channel 1: x_scale . w_scale / y_scale is not in \[2\^-32, 2\^30\); got 1073741824",
        ),
        (
            {"profile": Profile.tflite_single, "w_scale": np.float32([1, 2.0**-33])},
            r"output channel 1: x_scale . w_scale / y_scale is not in",
        ),
        ({"profile": Profile.ort, "bias": np.float32([0, np.nan])}, "output channel 1: the bias is not finite"),
        ({"profile": Profile.tflite, "bias": np.float32([0, -3e9])}, "output channel 1: the accumulator may leave int32"),
        (
            {"profile": Profile.onednn, "x_scale": 2.0**120, "y_scale": 2.0**127},
            "output channel 0: 1 / y_scale is not a positive, normal and finite float32",
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
    magnitude, rest = divmod(2**31 - 1, 255)
    bind(Profile.qnnpack, 1.0, np.float32(1), np.float32([rest]), np.array([magnitude]), 1.0)
    with pytest.raises(ValueError, match="the accumulator may leave int32"):
        bind(Profile.qnnpack, 1.0, np.float32(1), np.float32([-rest - 1]), np.array([magnitude]), 1.0)


def test_the_widest_shifts_are_accepted() -> None:
    for w_scale, shift in ((2.0**30 * 0.9999, 30), (2.0**-32, -31)):
        epilogue = bind(Profile.tflite, 1.0, np.float32(w_scale), None, np.array([1]), 1.0)
        assert epilogue.shift.tolist() == [shift]
    for w_scale in (2.0**30, 2.0**-32 * 0.9999):
        with pytest.raises(ValueError, match=r"is not in \[2\^-32, 2\^30\)"):
            bind(Profile.tflite, 1.0, np.float32(w_scale), None, np.array([1]), 1.0)


def test_what_bind_returns_is_of_the_declared_types() -> None:
    for profile in Profile:
        epilogue = bind(profile, 0.1, np.float64([0.3, 0.7]), np.float64([1 / 3, 0.1]), np.array([9, 9]), 0.2)
        single = bind(profile, 0.1, np.float32([0.3, 0.7]), np.float32([1 / 3, 0.1]), np.array([9, 9]), 0.2)
        acc = np.array([[-50, 1000], [77, 3]])
        assert epilogue(acc).dtype == np.int64
        if profile not in (Profile.tflite, Profile.tflite_single):
            assert np.array_equal(epilogue(acc), single(acc))
            assert bind(profile, 0.1, np.float32([0.3, 0.7]), None, np.array([9, 9]))(acc).dtype == np.float32


@pytest.mark.parametrize("profile", Profile)
def test_relu_of_every_profile_is_a_maximum(profile: Profile) -> None:
    acc = np.arange(-300, 300).reshape(-1, 1)
    for y_scale in (0.25, None):
        plain, limited = (
            bind(profile, 0.5, np.float32(0.25), np.float32([3.5]), np.array([2]), y_scale, 40, 0, 255, relu)
            for relu in (False, True)
        )
        assert np.array_equal(limited(acc), np.maximum(plain(acc), 40 if y_scale else 0))


def test_fbgemm_divides_the_bias_per_channel_and_multiplies_per_tensor() -> None:
    g = np.random.default_rng(0)
    scale, bias = g.uniform(0.001, 0.1, 500).astype(np.float32), g.standard_normal(500).astype(np.float32)
    divided = bind(Profile.fbgemm, 1.0, scale, bias, np.ones(500, int), 1.0)
    assert np.array_equal(divided.badd, bias / scale)
    multiplied = bind(Profile.fbgemm, 1.0, scale[0], bias, np.ones(500, int), 1.0)
    assert np.array_equal(multiplied.badd, bias)
    assert multiplied.pre == np.float32(1) / scale[0]


def test_a_scale_that_onednn_cannot_invert_twice() -> None:
    with pytest.raises(ValueError, match=r"output channel 0: 1 / \(1 / x_scale\) is not .* float32; got inf"):
        bind(Profile.onednn, np.finfo(np.float32).max, np.float32(2.0**-120), None, np.array([1]), 1.0)


def test_accumulators_and_biases_of_other_types_are_taken() -> None:
    for bias in (np.float64([0.1]), [0.1]):
        epilogue = bind(Profile.fbgemm, 0.1, np.float64(0.3), bias, np.array([1]), 0.7)
        assert epilogue.badd.dtype == epilogue.mul.dtype == np.float32
    assert quantize_multiplier([0.5, 3.0])[1].tolist() == [0, 2]
    assert multiply_by_quantized_multiplier([7984], [1583594044], [-9], False).tolist() == [12]


def test_relu_gives_positive_zero() -> None:
    epilogue = bind(Profile.qnnpack, 1.0, np.float32(1), np.float32([-0.0]), np.array([1]), relu=True)
    assert not np.signbit(epilogue(np.array([[0], [-3]]))).any()
