"""What happens between two products: the C code equals its NumPy specification on every instruction set, for every size
and thread count, and the specification equals exact arithmetic where that says what is right."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import seeds

from nanoquant import qparams
from nanoquant.kernels import elementwise, native, pointwise, pooling, tables
from nanoquant.kernels.elementwise import operation
from nanoquant.kernels.grid import Grid
from nanoquant.kernels.pooling import Adaptive, Sliding

ISAS = [native.isa_number(name) for name in native.available_isas()]
UINT8, INT8 = np.dtype(np.uint8), np.dtype(np.int8)
BLOCK = 64  # elements in the widest step of any instruction set
counts = st.one_of(st.integers(0, 2 * BLOCK + 1), st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1]))
# Wide, but so that no product of three scales leaves float32.
scales = st.one_of(st.floats(2**-10, 1, width=32), st.floats(-12, 12).map(lambda e: float(np.float32(10.0**e))))


@st.composite
def grids(draw: Any, dtype: Any = None) -> Grid:
    """A grid of either dtype; its zero point at the ends now and then."""
    dtype = draw(st.sampled_from([UINT8, INT8])) if dtype is None else dtype
    low = -128 if dtype == INT8 else 0
    ends = st.sampled_from([low, low + 128, low + 255])
    return Grid(draw(scales), draw(st.one_of(ends, st.integers(low, low + 255))), dtype)


@st.composite
def limits_of(draw: Any, grid: Grid) -> Any:
    """None, relu's, or any that hold the zero point."""
    low, high = grid.limits
    given = (draw(st.integers(low, grid.zero_point)), draw(st.integers(grid.zero_point, high)))
    return draw(st.sampled_from([None, grid.relu, given]))


def integers(seed: int, grid: Grid, shape: Any) -> np.ndarray:
    """Any of the grid's integers, or its ends only."""
    g = np.random.default_rng(seed)
    low, high = grid.limits
    drawn = g.choice([low, high], shape) if seed % 4 == 0 else g.integers(low, high + 1, shape)
    return drawn.astype(grid.dtype)


def assert_everywhere(wanted: np.ndarray, run: Any) -> None:
    """run(isa) equals `wanted` on each instruction set of this CPU."""
    for isa in ISAS:
        got = run(isa)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted, err_msg=native.isa_names()[isa])


# ---- element by element ----------------------------------------------------------------------------------------------


@given(st.data(), st.one_of(counts, st.integers(2047, 2049 + BLOCK)), seeds)
def test_requantize(data: Any, count: int, seed: int) -> None:
    x, y = data.draw(grids()), data.draw(grids())
    limits = data.draw(limits_of(y))
    q = integers(seed, x, count)
    wanted = pointwise.requantize(q, x, y, limits)
    assert_everywhere(wanted, lambda isa: operation("requantize", q.shape, x, None, y, limits, isa).run(q))


@given(st.data(), counts, seeds)
def test_add_and_mul(data: Any, count: int, seed: int) -> None:
    a_grid, y = data.draw(grids()), data.draw(grids())
    b_grid = data.draw(grids(a_grid.dtype))
    if seed % 2:  # an output scale that is neither too coarse nor too fine, and sums that are ties
        b_grid = b_grid._replace(scale=a_grid.scale)
        y = y._replace(scale=a_grid.scale * 2)
    limits = data.draw(limits_of(y))
    a, b = integers(seed, a_grid, count), integers(seed + 1, b_grid, count)
    for name in ("add", "mul"):
        wanted = getattr(pointwise, name)(a, a_grid, b, b_grid, y, limits)
        prepare = lambda isa, name=name: operation(name, a.shape, a_grid, b_grid, y, limits, isa)  # noqa: E731
        assert_everywhere(wanted, lambda isa, prepare=prepare: prepare(isa).run(a, b))


@given(st.data(), st.integers(0, 3), st.one_of(counts, st.just(1030)), seeds)
def test_batch_norm(data: Any, rows: int, channels: int, seed: int) -> None:
    x, y = data.draw(grids()), data.draw(grids())
    limits = data.draw(limits_of(y))
    g = np.random.default_rng(seed)
    q, magnitude = integers(seed, x, (rows, channels)), 10.0 ** g.integers(-3, 8)
    mean, weight, bias = (g.standard_normal((3, channels)) * magnitude).astype(np.float32)
    constants = mean, g.random(channels, np.float32), weight, bias, 1e-5
    wanted = pointwise.batch_norm(q, x, *constants, y, limits)
    prepare = lambda isa: operation("scale_shift", q.shape, x, None, y, limits, isa)  # noqa: E731
    assert_everywhere(wanted, lambda isa: elementwise.batch_norm(prepare(isa), q, *constants))


@given(st.data(), counts, seeds)
def test_clamp_and_lookup(data: Any, count: int, seed: int) -> None:
    grid = data.draw(grids())
    q = integers(seed, grid, count)
    low, high = sorted(data.draw(st.tuples(*[st.integers(*grid.limits)] * 2)))
    limits = (low, high)
    assert_everywhere(np.clip(q, *limits), lambda isa: elementwise.clamping(q.shape, q.dtype, limits, isa).run(q))
    entries = np.random.default_rng(seed).integers(0, 256, 256).astype(np.uint8).view(grid.dtype)
    looked_up = entries[q.view(np.uint8)]
    assert_everywhere(looked_up, lambda isa: elementwise.looking_up(q.shape, q.dtype, entries, isa).run(q))


def concatenate(call: elementwise.Concatenation, parts: list[np.ndarray]) -> np.ndarray:
    y = np.empty(call.shape, call.dtype)
    call.on([native.pointer(part) for part in parts], native.pointer(y))
    return y


@given(st.data(), st.integers(0, 3), st.lists(st.integers(0, BLOCK + 3), min_size=1, max_size=3), seeds)
def test_concatenate(data: Any, rows: int, widths: list[int], seed: int) -> None:
    y = data.draw(grids())
    given_grids = [data.draw(grids()) for _ in widths]
    limits = data.draw(limits_of(y))
    parts = [integers(seed + i, x, (rows, width)) for i, (x, width) in enumerate(zip(given_grids, widths, strict=True))]
    wanted = [pointwise.requantize(q, x, y, limits) for q, x in zip(parts, given_grids, strict=True)]
    whole = np.concatenate(wanted, axis=1)
    prepare = lambda isa: [  # noqa: E731
        operation("requantize", q.shape, x, None, y, limits, isa) for q, x in zip(parts, given_grids, strict=True)
    ]
    assert_everywhere(whole, lambda isa: concatenate(elementwise.concatenation(prepare(isa), whole.shape), parts))


def test_in_place() -> None:
    x = Grid(0.1, 7)
    for isa in ISAS:
        a, b = integers(1, x, 333), integers(2, x, 333)
        wanted = pointwise.add(a, x, b, x, x)
        np.testing.assert_array_equal(operation("add", a.shape, x, x, x, None, isa).run(a, b, out=a), wanted)


@given(st.data())
def test_requantizing_to_the_same_grid_changes_nothing(data: Any) -> None:
    x = data.draw(grids())
    q = np.arange(*np.add(x.limits, (0, 1))).astype(x.dtype)
    np.testing.assert_array_equal(pointwise.requantize(q, x, x), q)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(-3, 3), seeds)
def test_add_is_exact_on_powers_of_two(z_a: int, z_b: int, exponent: int, seed: int) -> None:
    """Where nothing is rounded before the end, the end is Python's own round, half to even."""
    a_grid, b_grid, y = Grid(0.5, z_a), Grid(0.25, z_b), Grid(2.0**exponent, 100)
    a, b = integers(seed | 1, a_grid, 50), integers(seed + 2 | 1, b_grid, 50)
    for got, p, q in zip(pointwise.add(a, a_grid, b, b_grid, y), a.tolist(), b.tolist(), strict=True):
        exact = (Fraction(p - z_a, 2) + Fraction(q - z_b, 4)) / Fraction(2) ** exponent
        assert got == min(max(round(exact) + 100, 0), 255)
    for got, p, q in zip(pointwise.mul(a, a_grid, b, b_grid, y), a.tolist(), b.tolist(), strict=True):
        exact = Fraction((p - z_a) * (q - z_b), 8) / Fraction(2) ** exponent
        assert got == min(max(round(exact) + 100, 0), 255)


# ---- rows ------------------------------------------------------------------------------------------------------------


@given(st.data(), st.integers(0, 3), counts, seeds)
def test_softmax(data: Any, rows: int, columns: int, seed: int) -> None:
    x, y = data.draw(grids()), data.draw(grids())
    y = y._replace(scale=1 / 256) if seed % 2 else y
    q = integers(seed, x, (rows, columns))
    assert_everywhere(pointwise.softmax(q, x, y), lambda isa: elementwise.softmax(q, x, y, isa=isa))


@given(st.data(), st.integers(0, 3), st.integers(1, 2 * BLOCK + 1), seeds)
def test_layer_norm(data: Any, rows: int, columns: int, seed: int) -> None:
    x, y = data.draw(grids()), data.draw(grids())
    q = integers(seed, x, (rows, columns))
    weight, bias = np.random.default_rng(seed).standard_normal((2, columns)).astype(np.float32)
    wanted = pointwise.layer_norm(q, x, weight, bias, 1e-5, y)
    assert_everywhere(wanted, lambda isa: elementwise.layer_norm(q, x, weight, bias, 1e-5, y, isa=isa))


def test_long_rows_sum_exactly() -> None:
    """Beyond the steps after which 32-bit lanes are emptied, at the ends of the range."""
    columns = 8192 * BLOCK + 5
    x, y, ones = Grid(0.1, 0), Grid(1 / 64, 128), np.ones(columns, np.float32)
    q = np.full((1, columns), 255, np.uint8)
    q[0, ::3] = 0
    wanted = pointwise.layer_norm(q, x, ones, ones, 1e-5, y)
    for isa in ISAS[1:]:
        np.testing.assert_array_equal(elementwise.layer_norm(q, x, ones, ones, 1e-5, y, isa=isa), wanted)


@given(st.floats(2**-13, 0.5, width=32), seeds)
def test_softmax_is_within_a_step(scale: float, seed: int) -> None:
    x, y = Grid(scale, 3), Grid(1 / 256, 0)
    q = integers(seed, x, (4, 50))
    reals = np.exp(scale * (q.astype(np.float64) - q.max(axis=1, keepdims=True)))
    exact = 256 * reals / reals.sum(axis=1, keepdims=True)
    assert np.abs(pointwise.softmax(q, x, y) - np.minimum(exact, 255)).max() <= 0.5 + 1e-3


# ---- pooling ---------------------------------------------------------------------------------------------------------


@st.composite
def windows(draw: Any, dilated: bool) -> Any:
    """Sliding windows with every argument, or adaptive ones."""
    pair = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * 2))  # noqa: E731
    if draw(st.booleans()):
        return Adaptive(pair(1, 6))
    kernel = pair(1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return Sliding(kernel, pair(1, 3), padding, pair(1, 3) if dilated else (1, 1), draw(st.booleans()))


@st.composite
def images(draw: Any, w: Any, grid: Grid) -> np.ndarray:
    """An image that holds at least one window."""
    batch, channels, seed = draw(st.integers(0, 2)), draw(st.integers(1, 2 * BLOCK + 1)), draw(seeds)
    least = [1, 1] if isinstance(w, Adaptive) else [w.dilation[a] * (w.kernel[a] - 1) + 1 - 2 * w.padding[a] for a in (0, 1)]
    height, width = (draw(st.integers(max(size, 1), max(size, 1) + 7)) for size in least)
    return integers(seed, grid, (batch, height, width, channels))


def pool(
    q: np.ndarray, windows: Any, zero_point: int | None = None, include_padding: bool = True,
    divisor: int | None = None, isa: int | None = None,
) -> np.ndarray:  # fmt: skip
    """The mean of each window, or the greatest element without a zero point."""
    grid, average = Grid(1.0, zero_point or 0, q.dtype), zero_point is not None
    return elementwise.pooling(grid, q.shape, windows, average, include_padding, divisor, isa).run(q)


@given(st.data())
def test_max_pool(data: Any) -> None:
    w = data.draw(windows(dilated=True))
    q = data.draw(images(w, data.draw(grids())))
    assert_everywhere(pooling.max_pool(q, w), lambda isa: pool(q, w, isa=isa))


@given(st.data(), st.booleans(), st.one_of(st.none(), st.integers(1, 20), st.sampled_from([65535, 65536])))
def test_mean_pool(data: Any, include_padding: bool, divisor: int | None) -> None:
    w, grid = data.draw(windows(dilated=False)), data.draw(grids())
    q, z = data.draw(images(w, grid)), grid.zero_point
    wanted = pooling.mean_pool(q, z, w, include_padding, divisor)
    assert_everywhere(wanted, lambda isa: pool(q, w, z, include_padding, divisor, isa=isa))


@pytest.mark.parametrize(("height", "width"), [(1, 257), (1, 258), (3, 21845), (255, 257), (256, 256), (300, 301)])
@pytest.mark.parametrize("dtype", [UINT8, INT8])
def test_means_of_many(height: int, width: int, dtype: Any) -> None:
    """Around 257 taps, where 16-bit sums are emptied, and 65535, where float32 gives way to double."""
    for seed, zero_point in ((0, np.iinfo(dtype).min), (1, np.iinfo(dtype).max), (3, 5)):
        q = integers(seed, Grid(1.0, zero_point, dtype), (1, height, width, 3))
        wanted = pooling.mean_pool(q, zero_point, Adaptive((1, 1)))
        assert_everywhere(wanted, lambda isa, q=q, z=zero_point: pool(q, Adaptive((1, 1)), z, isa=isa))


def test_float32_means_round_like_exact_ones() -> None:
    """The claim of csrc/rows_pool.h, at the sums next to every tie of the largest counts and of some small ones."""
    for count in (2, 3, 7, 9, 49, 4095, 65533, 65534, 65535):
        for steps in range(-256, 256):
            for near in {(2 * steps + 1) * count // 2 + d for d in (-1, 0, 1)}:
                assert np.rint(np.float32(near) / np.float32(count)) == round(Fraction(near, count))


# ---- dynamic ranges, layouts, threads --------------------------------------------------------------------------------


@given(st.integers(1, 4 * BLOCK + 1), seeds)
def test_range(count: int, seed: int) -> None:
    x = (np.random.default_rng(seed).standard_normal(count) * 10.0 ** (seed % 60 - 30)).astype(np.float32)
    for isa in ISAS:
        assert elementwise.value_range(x, isa) == (x.min(), x.max())
        for bad in (np.nan, np.inf, -np.inf):
            spoiled = x.copy()
            spoiled[seed % count] = bad
            with pytest.raises(ValueError, match="NaN or infinity"):
                elementwise.value_range(spoiled, isa)
        zeros = elementwise.value_range(np.where(x < 0, np.float32(-0.0), np.float32(0)), isa)
        assert [math.copysign(1, z) for z in zeros] == [1, 1]


bounds = st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(-(2**-6), 2**-6, width=32))


@given(bounds, bounds, st.sampled_from([(0, 255), (0, 127), (-128, 127)]))
@example(0.0, 0.0, (0, 255))
@example(-0.0, 1e-45, (0, 255))
@example(-3.4028234663852886e38, 3.4028234663852886e38, (0, 255))
def test_dynamic_qparams(a: float, b: float, limits: tuple[int, int]) -> None:
    low, high = min(a, b), max(a, b)
    assert elementwise.choose_dynamic_qparams(low, high, *limits) == qparams.choose_dynamic_qparams(low, high, *limits)


@given(st.integers(0, 2), st.integers(0, 20), st.integers(0, 40), seeds)
def test_swap_axes(batch: int, rows: int, columns: int, seed: int) -> None:
    q = integers(seed, Grid(1.0, 0), (batch, rows, columns))
    np.testing.assert_array_equal(elementwise.swap_axes(q), q.swapaxes(1, 2))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads: int) -> None:
    before, x, y = native.get_num_threads(), Grid(0.1, 100), Grid(0.15, 90)
    a, b = integers(1, x, (70, 57, 101)), integers(2, x, (70, 57, 101))
    image, w = a.reshape(1, 70, 57, 101), Sliding((3, 3), (1, 1), (1, 1))
    ones = np.ones(101, np.float32)
    native.set_num_threads(threads)
    try:
        for isa in ISAS[1:]:
            got = operation("add", a.shape, x, x, y, None, isa).run(a, b)
            np.testing.assert_array_equal(got, pointwise.add(a, x, b, x, y))
            call = operation("requantize", (70, 5757), x, None, y, None, isa)
            got = concatenate(elementwise.concatenation([call, call], (70, 2 * 5757)), [a, b])
            wanted = [pointwise.requantize(q.reshape(70, -1), x, y) for q in (a, b)]
            np.testing.assert_array_equal(got, np.concatenate(wanted, axis=1))
            np.testing.assert_array_equal(pool(image, w, isa=isa), pooling.max_pool(image, w))
            np.testing.assert_array_equal(elementwise.softmax(a, x, y, isa=isa), pointwise.softmax(a, x, y))
            got = elementwise.layer_norm(a, x, ones, ones, 1e-5, y, isa=isa)
            np.testing.assert_array_equal(got, pointwise.layer_norm(a, x, ones, ones, 1e-5, y))
            floats = a.astype(np.float32).reshape(-1)
            assert elementwise.value_range(floats, isa) == (floats.min(), floats.max())
        np.testing.assert_array_equal(elementwise.swap_axes(a), a.swapaxes(1, 2))
    finally:
        native.set_num_threads(before)


# ---- tables ----------------------------------------------------------------------------------------------------------

REAL = {
    tables.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    tables.tanh: np.tanh,
    tables.hardsigmoid: lambda x: np.clip(x + 3, 0, 6) / 6,
    tables.hardswish: lambda x: x * np.clip(x + 3, 0, 6) / 6,
    tables.leaky_relu: lambda x: np.where(x > 0, x, 0.01 * x),
    tables.elu: lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


@pytest.mark.parametrize("function", REAL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [UINT8, INT8])
def test_tables_are_within_half_a_step(function: Any, dtype: Any) -> None:
    x, y = Grid(0.05, np.iinfo(dtype).min + 110, dtype), Grid(0.01, np.iinfo(dtype).min + 100, dtype)
    q = np.arange(256, dtype=np.uint8).view(dtype)
    exact = REAL[function](0.05 * (q.astype(np.float64) - x.zero_point)) / 0.01 + y.zero_point
    entries = tables.table(function, x, y)
    assert np.abs(entries - np.clip(exact, *y.limits)).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(elementwise.looking_up(q.shape, q.dtype, entries).run(q), entries)


@pytest.mark.parametrize("scale", [1.2e-38, 1e-20, 3e38])
@pytest.mark.parametrize("function", REAL, ids=lambda f: f.__name__)
def test_tables_of_extreme_scales(function: Any, scale: float) -> None:
    """No overflow, no NaN: what lies beyond float32 saturates."""
    entries = tables.table(function, Grid(scale, 128), Grid(1 / 128, 100)).astype(int)
    assert (np.diff(entries[128:]) >= 0).all()
    assert entries[128] == np.rint(128 * REAL[function](np.float64(0))) + 100


@given(st.fractions(-(2**30), 2**30), st.integers(-160, 100))
def test_nearest_float(value: Fraction, exponent: int) -> None:
    exact = value * Fraction(2) ** exponent
    with_digits = tables.Decimal(exact.numerator) / tables.Decimal(exact.denominator)
    got = tables.nearest_float(with_digits)
    with np.errstate(over="ignore"):  # beyond the largest float
        around = [float(np.nextafter(np.float32(got), np.float32(side))) for side in (-np.inf, np.inf)]
    distance = abs(Fraction(got) - exact)
    assert all(abs(Fraction(other) - exact) >= distance * (1 - Fraction(1, 10**15)) for other in around if math.isfinite(other))


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_errors_say_what_came() -> None:
    x, q, ones = Grid(0.1, 3), np.zeros((2, 4), np.uint8), np.ones(4, np.float32)
    prepare = lambda what, a=x, b=None, y=x, limits=None: operation(what, q.shape, a, b, y, limits)  # noqa: E731
    with pytest.raises(TypeError, match="mul: both inputs must have one dtype; got uint8 and int8"):
        prepare("mul", b=x._replace(dtype=INT8))
    for inputs in ((q[:1],), (q, q[:1])):
        with pytest.raises(ValueError, match="add: the inputs must have 8 elements; got"):
            prepare("add", b=x).run(*inputs)
    for out in (q[:1], q.view(np.int8), q.T.copy().T):
        with pytest.raises(ValueError, match=r"requantize: `out` must be contiguous uint8 of shape \(2, 4\); got"):
            prepare("requantize").run(q, out=out)
    with pytest.raises(ValueError, match="concatenate: a part must be 2 rows of 4; got 4 elements"):
        concatenate(elementwise.concatenation([prepare("requantize")], (2, 4)), [q[:1]])
    with pytest.raises(ValueError, match=r"concatenate: \(2, 4\), \(2, 4\) side by side are not \(2, 4\)"):
        elementwise.concatenation([prepare("requantize")] * 2, (2, 4))
    with pytest.raises(ValueError, match="scale_shift: an argument"):
        prepare("scale_shift").run(q)
    with pytest.raises(ValueError, match=r"batch_norm: the input must have shape \(2, 4\), and each constant its last"):
        elementwise.batch_norm(prepare("scale_shift"), q, ones, ones, ones, ones[:3], 0.0)
    with pytest.raises(ValueError, match="batch_norm: an argument is not"):
        elementwise.batch_norm(prepare("scale_shift"), q, ones, ones, ones * np.float32(np.inf), ones, 0.0)
    with pytest.raises(ValueError, match="a table has 256 bytes"):
        elementwise.looking_up(q.shape, q.dtype, np.zeros(255, np.uint8))
    with pytest.raises(ValueError, match="add: a scale"):
        prepare("add", a=x._replace(scale=3e38), b=x).run(q, q)
    with pytest.raises(ValueError, match="mul: a scale, or a product of scales"):
        prepare("mul", a=x._replace(scale=1e-30), b=x._replace(scale=1e-30)).run(q, q)
    with pytest.raises(ValueError, match="requantize: a scale"):
        prepare("requantize", y=x._replace(scale=0.0)).run(q)
    with pytest.raises(ValueError, match="requantize: an argument"):
        prepare("requantize", limits=(5, 255)).run(q)
    with pytest.raises(TypeError, match="softmax: the grid is one of uint8; got int8"):
        elementwise.softmax(q.view(np.int8), x, x)
    with pytest.raises(ValueError, match="softmax: `out` must be contiguous uint8"):
        elementwise.softmax(q, x, x, out=np.zeros((4, 2), np.uint8))
    with pytest.raises(ValueError, match="layer_norm: weight and bias must have 4 elements; got 3 and 4"):
        elementwise.layer_norm(q, x, ones[:3], ones, 1e-5, x)
    with pytest.raises(ValueError, match="layer_norm: an argument"):
        elementwise.layer_norm(q, x, ones, ones, 0.0, x)
    with pytest.raises(ValueError, match=r"max_pool: the images must be uint8 of shape \(1, 2, 2, 1\); got uint8 \(2, 4\)"):
        elementwise.pooling(x, (1, 2, 2, 1), Sliding((1, 1), (1, 1)), False).run(q)
    with pytest.raises(ValueError, match="holds no window"):
        pool(np.zeros((1, 2, 2, 1), np.uint8), Sliding((3, 3), (1, 1)))
    with pytest.raises(ValueError, match="mean_pool: an argument"):
        pool(np.zeros((1, 9, 9, 1), np.uint8), Sliding((2, 2), (1, 1), (0, 0), (2, 2)), 0)
    with pytest.raises(TypeError, match="swap_axes moves 8-bit integers; got float32"):
        elementwise.swap_axes(np.zeros((2, 2), np.float32))
