"""affine and its C twin: quantize, dequantize, fake_quantize."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import strategies
from golden_vectors import cases
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nanoquant import quantize_per_channel, quantize_per_tensor
from nanoquant.affine import dequantize, fake_quantize, quantize
from nanoquant.kernels import native
from nanoquant.scheme import QDTYPES, QDType, qint4, qint8, qint32, quint4, quint8

values = st.floats(width=32, allow_nan=False)  # infinities included
NATIVE = [quint8, qint8, qint32, quint4, qint4]  # what the C kernels store


@st.composite
def grids(draw: Any) -> tuple[QDType, float, int]:
    dtype = draw(st.sampled_from([quint8, qint8, qint32]))
    return dtype, draw(strategies.scales), draw(strategies.zero_points(dtype))


@given(values, grids())
@example(0.0, (quint8, 1.0, 0))
@example(-0.0, (qint8, 1.0, -128))
@example(0.27393994, (quint8, 0.00214854861, 0))  # 128 by the reciprocal, 127 by division
@example(float("inf"), (quint8, 3e38, 255))
@example(2.5, (qint8, 1.0, 1))
def test_quantize_against_exact_arithmetic(x: float, grid: tuple[QDType, float, int]) -> None:
    dtype, scale, zero_point = grid
    expected = oracles.quantize(x, scale, zero_point, dtype.quant_min, dtype.quant_max)
    assert quantize(x, scale, zero_point, dtype) == expected
    assert quantize_per_tensor(x, scale, zero_point, dtype).int_repr().item() == expected


def quantize_in_c(x: np.ndarray, affine: native.Affine) -> np.ndarray:
    q = np.empty(x.shape, affine.dtype)
    affine.on(native.pointer(native.FLOATS, x), native.pointer(q))
    return q


@given(strategies.arrays(elements=values), grids())
def test_c_equals_numpy_on_every_isa(x: np.ndarray, grid: tuple[QDType, float, int]) -> None:
    dtype, scale, zero_point = grid
    expected = quantize(x, scale, zero_point, dtype)
    scales, zeros = np.array([scale], np.float32), np.array([zero_point], np.int32)
    for name in native.available_isas():
        limits = dtype.quant_min, dtype.quant_max
        affine = native.affine(dtype.storage, x.shape, None, scales, zeros, *limits, native.isa_number(name))
        q = quantize_in_c(x, affine)
        assert np.array_equal(q, expected), name
        y = affine.back(native.pointer(q))
        assert np.array_equal(y, dequantize(expected, scale, zero_point)), name


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 32767, 32768, 32769, 300_001])
@pytest.mark.parametrize("dtype", NATIVE, ids=lambda dtype: dtype.name)
def test_every_length(count: int, dtype: QDType, isa: str) -> None:
    x = (np.random.default_rng(count).standard_normal(count) * 50).astype(np.float32)
    scales, zeros, limits = np.float32([0.37]), np.int32([3]), (dtype.quant_min, dtype.quant_max)
    affine = native.affine(dtype.storage, x.shape, None, scales, zeros, *limits, native.isa_number(isa))
    q = quantize_in_c(x, affine)
    assert np.array_equal(q, quantize(x, 0.37, 3, dtype))
    y = affine.back(native.pointer(q))
    assert np.array_equal(y, dequantize(q, 0.37, 3))


wide_scales = st.floats(float(np.finfo(np.float32).tiny), 2.0**118, width=32, allow_subnormal=False)


@given(st.integers(0, 255), wide_scales, strategies.dtypes, st.data())
def test_integers_survive_the_round_trip(q: int, scale: float, dtype: QDType, data: st.DataObject) -> None:
    zero_point = data.draw(strategies.zero_points(dtype))
    q += dtype.quant_min
    assert quantize(dequantize(q, scale, zero_point), scale, zero_point, dtype) == q


@given(st.floats(-300, 300), wide_scales, strategies.dtypes, st.data())
def test_error_is_at_most_half_a_step_inside_the_range(steps: float, scale: float, dtype: QDType, data: st.DataObject) -> None:
    x = float(np.float32(steps * scale))
    zero_point = data.draw(strategies.zero_points(dtype))
    low, high = (scale * (q - zero_point) for q in (dtype.quant_min, dtype.quant_max))
    error = abs(float(fake_quantize(x, scale, zero_point, dtype.quant_min, dtype.quant_max)) - x)
    if low <= x <= high:
        assert error <= scale / 2 * (1 + 2**-14)  # x * (1 / scale) carries two roundings of |x / scale| <= 255
    else:
        assert error <= max(low - x, x - high) + scale / 2 * (1 + 2**-14)


@given(st.lists(values, min_size=2, max_size=2), grids())
def test_monotone(pair: list[float], grid: tuple[QDType, float, int]) -> None:
    dtype, scale, zero_point = grid
    small, large = (int(quantize(x, scale, zero_point, dtype)) for x in sorted(pair))
    assert small <= large


@given(grids())
def test_zero_is_exact(grid: tuple[QDType, float, int]) -> None:
    dtype, scale, zero_point = grid
    assert quantize(0.0, scale, zero_point, dtype) == zero_point
    assert dequantize(zero_point, scale, zero_point) == 0.0


@given(values, strategies.scales)
def test_a_narrow_symmetric_range_is_odd(x: float, scale: float) -> None:
    assert quantize(-x, scale, 0, qint8, None, -127, 127) == -quantize(x, scale, 0, qint8, None, -127, 127)


def test_the_full_int8_range_is_not_odd() -> None:
    assert quantize(-200.0, 1.0, 0, qint8) == -128 != -quantize(200.0, 1.0, 0, qint8)


@given(st.floats(-1e3, 1e3, width=32, allow_subnormal=False), st.floats(0.5, 1, width=32), st.integers(-100, 100))
def test_powers_of_two_commute(x: float, scale: float, power: int) -> None:
    assume(abs(x) > 1e-7)  # or x * 2^power may be subnormal
    assert quantize(x * 2.0**power, scale * 2.0**power, 7, quint8) == quantize(x, scale, 7, quint8)


@given(strategies.seeds, st.integers(0, 3))
def test_per_channel_is_a_stack_of_per_tensor(seed: int, axis: int) -> None:
    g = np.random.default_rng(seed)
    x = (g.standard_normal((2, 3, 4, 5)) * 10).astype(np.float32)
    scale = g.uniform(0.01, 1, x.shape[axis]).astype(np.float32)
    zero_point = g.integers(-128, 128, x.shape[axis])
    q = quantize_per_channel(x, scale, zero_point, axis, qint8)
    for c in range(x.shape[axis]):
        expected = quantize(x.take(c, axis), scale[c], zero_point[c], qint8)
        assert np.array_equal(q.int_repr().array.take(c, axis), expected)
        assert np.array_equal(q.dequantize().array.take(c, axis), dequantize(expected, scale[c], zero_point[c]))


@given(strategies.strided_arrays())
def test_strides_do_not_matter(x: np.ndarray) -> None:
    expected = quantize(x.copy(), 0.5, 3, quint8)
    assert np.array_equal(quantize(x, 0.5, 3, quint8), expected)
    assert np.array_equal(quantize_per_tensor(x, 0.5, 3, quint8).int_repr(), expected)
    assert quantize_per_tensor(x, 0.5, 3, quint8).dequantize().shape == x.shape


def test_ties_go_to_even_before_the_zero_point_is_added() -> None:
    x = np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]) / 4
    for zero_point in (0, 1, 2):
        assert quantize(x, 0.25, zero_point, qint8).tolist() == [v + zero_point for v in (-2, -2, 0, 0, 2, 2)]


def test_golden_vectors() -> None:
    """torch's fake_quantize is our rule. Its quantize_per_tensor adds the zero point first, and differs near ties only."""
    for options, arrays in cases("affine"):
        dtype = QDTYPES[options["dtype"]]
        scale, zero_point, limits = options["scale"], options["zero_point"], (dtype.quant_min, dtype.quant_max)
        x, ours = arrays["x"], quantize(arrays["x"], scale, zero_point, dtype)
        assert np.array_equal(fake_quantize(x, scale, zero_point, *limits), arrays["fake"])
        theirs = np.array([oracles.quantize_adding_first(v, scale, zero_point, *limits) for v in x])
        assert np.array_equal(theirs, arrays["q"])
        assert np.array_equal(dequantize(arrays["q"], scale, zero_point), arrays["dequantized"])
        steps = x * (np.float32(1) / np.float32(scale))
        near_tie = np.abs(np.abs(steps - np.trunc(steps)) - 0.5) < 2**-14
        assert np.array_equal(ours[~near_tie], arrays["q"][~near_tie])


def test_nan_is_an_error_everywhere(isa: str) -> None:
    for size in (1, 16, 100):
        x = np.zeros(size, np.float32)
        x[size // 2] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            quantize(x, 1.0, 0)
        number, one = native.isa_number(isa), (np.float32([1]), np.int32([0]))
        affine = native.affine(np.dtype(np.uint8), x.shape, None, *one, 0, 255, number)
        with pytest.raises(ValueError, match="NaN"):
            quantize_in_c(x, affine)


def test_float64_is_rounded_to_float32_first() -> None:
    almost = 0.5 + 2.0**-30  # float32: a tie, which goes to 0
    assert quantize(np.array([almost]), 1.0, 0) == 0
    assert quantize(np.array([1.5 - 2.0**-30]), 1.0, 0) == 2
    assert fake_quantize(np.array([almost]), 1.0, 0, 0, 255) == 0
    third = np.float64(1) / 3
    assert quantize(np.array([third * 7]), third, 0) == quantize(np.float32([third * 7]), np.float32(third), 0)


def test_clamps_beyond_the_exact_integers_of_float32() -> None:
    for end in (2**24 - 1, 2**24 + 1, 2**25 + 1, 2**31 - 1):
        assert quantize([np.inf, 3e9], 1.0, 0, qint32, None, -5, end).tolist() == [end, end]
        assert quantize([-np.inf, -3e9], 1.0, 0, qint32, None, -end, 5).tolist() == [-end, -end]
        assert quantize([np.inf], 1.0, -3, qint32, None, -7, end).tolist() == [end]


def test_results_have_the_declared_types() -> None:
    for dtype in QDTYPES.values():
        assert quantize([[0.5]], 0.1, 0, dtype).dtype == dtype.storage
    assert dequantize([1], 0.5, 0).dtype == fake_quantize([1.0], 0.5, 0, 0, 9).dtype == np.float32
    assert dequantize(np.uint8([3]), 0.5, 5) == -1


def test_groups_and_float_zero_points_as_arguments() -> None:
    x = np.float32([[0.4, 1.0, 9.0, 3.0]])
    q = quantize(x, [[0.1, 1.0]], [[0, 2]], quint8, axis=1, group_size=2)
    assert q.tolist() == [[4, 10, 11, 5]]
    assert np.allclose(dequantize(q, [[0.1, 1.0]], [[0, 2]], axis=1, group_size=2), x)
    q = quantize(x, [2.0], [1.25], quint8, axis=0, float_qparams=True)
    assert q.tolist() == [[1, 2, 6, 3]]
    assert dequantize(q, [2.0], [1.25], axis=0, float_qparams=True).tolist() == [[-0.5, 1.5, 9.5, 3.5]]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="vectors need an axis"):
        quantize([1.0, 2.0], [1.0, 2.0], [0, 0])
    with pytest.raises(ValueError, match="axis 3 is out of range for an array with 1 dim"):
        quantize([1.0], [1.0], [0], axis=3)
    with pytest.raises(ValueError, match=r"takes one scale .* shapes \(2,\)"):
        quantize_per_tensor([1.0], [1.0, 2.0], 0, quint8)
    with pytest.raises(ValueError, match=r"scales of shape \(2,\) on axis 0 do not fit an array of shape \(3, 2\)"):
        quantize_per_channel(np.zeros((3, 2)), [1, 2], [0, 0], 0, quint8)
