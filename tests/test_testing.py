"""nanoquant.testing: each check catches what is broken on purpose, and accepts all that the library has."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from processes import run_python

import nanoquant as nq
from nanoquant import calibration, nn, observers
from nanoquant.affine import dequantize, dequantize_as, quantize, quantize_as
from nanoquant.autograd.tensor import Tensor
from nanoquant.kernels import reference
from nanoquant.numerics import requantize
from nanoquant.observers import MinMaxObserver, PerChannelMinMaxObserver, histogram
from nanoquant.qparams import QParams
from nanoquant.testing import assert_quantized_close, check_observer, check_quantizer, oracles, strategies

# ---- strategies and oracles ------------------------------------------------------------------------------------------


@given(strategies.quantized_tensors())
def test_every_quantized_tensor_survives(q: nq.QTensor) -> None:
    again = quantize_as(dequantize_as(q.values, q.qparams), q.qparams)
    if not q.qparams.float_qparams and q.dtype.bits <= 16:
        assert_quantized_close(nq.QTensor(again, q.qparams), q, steps=0)
    assert q.dequantize().shape == q.shape


@given(strategies.layers())
def test_every_layer_takes_its_input(case: tuple[nn.Linear | nn.Conv2d, Tensor]) -> None:
    layer, x = case
    y = layer(x)
    assert y.shape[:2] == (x.shape[0], layer.weight.shape[0])
    assert np.isfinite(y.array).all()


def test_strategies_reach_the_corners() -> None:
    """Found means reachable: hypothesis raises when nothing of the kind is drawn."""
    quick = settings(database=None, derandomize=True, max_examples=2000, phases=[Phase.generate])
    tiny = np.finfo(np.float32).tiny
    for wanted in (
        lambda x: (np.signbit(x) & (x == 0)).any(),
        lambda x: ((x != 0) & (np.abs(x) < tiny)).any(),
        lambda x: (np.abs(x) > 1e38).any(),
        lambda x: x.size == 0,
    ):
        find(strategies.arrays(), wanted, settings=quick)
    find(strategies.arrays((2,), infinity=True), lambda x: np.isinf(x).all(), settings=quick)
    for wanted in (
        lambda q: q.axis is None,
        lambda q: q.axis == 1 and q.group_size is None,
        lambda q: q.group_size == 3,
        lambda q: q.float_qparams,
        lambda q: q.quant_min is not None and q.dtype == nq.qint4,
    ):
        find(strategies.qparams((2, 6)), wanted, settings=quick)


def test_oracles_share_no_code_with_the_library() -> None:
    tree = ast.parse(Path(oracles.__file__).read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert modules <= {"__future__", "fractions", "typing", "numpy", "numpy.typing"}


@given(st.integers(-128, 127), strategies.scales, st.integers(-128, 127))
def test_dequantize_against_its_oracle(q: int, scale: float, zero_point: int) -> None:
    assert dequantize(q, scale, zero_point) == oracles.dequantize(q, scale, zero_point)


@given(st.integers(-(2**23), 2**23), strategies.everyday_scales, st.integers(0, 255))
def test_requantize_against_its_oracle(acc: int, multiplier: float, zero_point: int) -> None:
    """One float32 product against the exact one: equal, but next to a tie."""
    mine = requantize(np.float32([acc]), np.float32(multiplier), zero_point, 0, 255)[0]
    exact = oracles.requantize(acc, Fraction(multiplier), zero_point, 0, 255)
    steps = acc * Fraction(multiplier)
    assert mine == exact or abs(abs(steps - round(steps)) - Fraction(1, 2)) < Fraction(1, 2**14)


def test_matmul_against_the_specification() -> None:
    g = np.random.default_rng(0)
    x, w, zero = g.integers(0, 256, (3, 5)), g.integers(-128, 128, (4, 5)), g.integers(-128, 128, 4)
    expected = reference.accumulate(x[np.newaxis, np.newaxis], 7, w[:, :, np.newaxis, np.newaxis], zero)[0, 0]
    assert oracles.matmul(x, 7, w, zero).tolist() == expected.tolist()


def test_without_hypothesis_the_error_names_the_cure() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import nanoquant.testing"
    result = run_python("-c", code, check=False)
    assert "nanoquant.testing needs hypothesis: pip install 'nanoquant[testing]'" in result.stderr


# ---- assert_quantized_close ------------------------------------------------------------------------------------------


def test_closeness() -> None:
    a = np.arange(100, dtype=np.uint8)
    b = a.copy()
    b[7] += 1
    assert_quantized_close(a, b)
    assert_quantized_close(a, b, fraction=0.01)
    with pytest.raises(AssertionError, match=r"1 of 100 integers differ \(allowed: 0\), by up to 1 steps"):
        assert_quantized_close(a, b, fraction=0.009)
    with pytest.raises(AssertionError, match=r"worst at \(7,\): 7, expected 8"):
        assert_quantized_close(a, b, steps=0)
    with pytest.raises(AssertionError, match=r"by up to 255 steps"):  # no wrap-around
        assert_quantized_close(np.uint8([0]), np.uint8([255]))
    with pytest.raises(AssertionError, match=r"shapes differ: \(2,\), expected \(1,\)"):
        assert_quantized_close([1, 2], [1])
    with pytest.raises(TypeError, match="actual must be a QTensor or an array of integers; got float64"):
        assert_quantized_close([1.0], [1])
    assert_quantized_close(np.zeros((0, 2), int), np.zeros((0, 2), int))


def test_closeness_of_quantized_tensors() -> None:
    make = lambda q, scale: nq.QTensor(np.uint8([q]), QParams(scale, 3))  # noqa: E731
    assert_quantized_close(make(4, 0.5), make(5, 0.5))
    with pytest.raises(AssertionError, match=r"6, expected 4; QParams\(real = scale"):
        assert_quantized_close(make(6, 0.5), make(4, 0.5))
    with pytest.raises(AssertionError, match=r"qparams differ in scale: 0\.5, expected 0\.25"):
        assert_quantized_close(make(4, 0.5), make(4, 0.25))


# ---- check_observer --------------------------------------------------------------------------------------------------

LIBRARY: list[Any] = [
    MinMaxObserver,
    MinMaxObserver.with_args(dtype=nq.qint4, qscheme=nq.per_tensor_symmetric, power_of_two=True),
    PerChannelMinMaxObserver.with_args(ch_axis=1),
    PerChannelMinMaxObserver.with_args(qscheme=nq.scheme.per_channel_affine_float_qparams),
    observers.PerGroupMinMaxObserver.with_args(group_size=4),
    observers.PerTokenMinMaxObserver,
    observers.MovingAverageMinMaxObserver.with_args(averaging_constant=0.5),
    observers.MovingAveragePerChannelMinMaxObserver,
    observers.MovingAverageAbsMaxObserver,
    calibration.ExactHistogramObserver,
]


@pytest.mark.parametrize("factory", LIBRARY, ids=repr)
def test_the_observers_of_the_library_keep_their_promises(factory: Any) -> None:
    check_observer(factory)


@pytest.mark.parametrize(
    "factory",
    [
        observers.HistogramObserver.with_args(bins=16),
        calibration.PercentileObserver,
        calibration.PerChannelHistogramObserver,
        calibration.EntropyObserver,
        calibration.MSEObserver,
    ],
    ids=repr,
)
def test_those_that_search_keep_them_too(factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On moderate data, for the histogram's walk needs the cube of a range in float32; with longer strides, for speed."""
    monkeypatch.setattr(histogram, "STEP", 0.01)
    check_observer(factory, largest=2.0**20, examples=3)


class Copies(MinMaxObserver):
    def forward(self, x: Any) -> Any:
        return super().forward(x).copy()


class Overwrites(MinMaxObserver):
    def forward(self, x: Any) -> Any:
        super().forward(x)
        x += 1
        return x


class AlwaysAnswers(MinMaxObserver):
    def calculate_qparams(self) -> Any:
        return super().calculate_qparams() if self.calibrated else (np.float32([1]), np.int64([0]))


class Shares(MinMaxObserver):
    seen: list[float] = []  # noqa: RUF012

    def observe(self, x: Any) -> None:
        self.seen.append(float(np.abs(x).max()))

    @property
    def calibrated(self) -> bool:
        return bool(self.seen)

    def range(self) -> Any:
        return np.float32(-max(self.seen)), np.float32(max(self.seen))


class CountsEmpty(MinMaxObserver):
    def forward(self, x: Any) -> Any:
        if not np.size(x):
            self.widen(np.float32(-1e3), np.float32(1e3)) if self.calibrated else None
            return x
        return super().forward(x)


class SwallowsNaN(MinMaxObserver):
    def observe(self, x: Any) -> None:
        super().observe(np.nan_to_num(x, posinf=0, neginf=0))


class ZeroScale(MinMaxObserver):
    def calculate_qparams(self) -> Any:
        scale, zero_point = super().calculate_qparams()
        return np.where(self.max_val == self.min_val, np.float32(0), scale), zero_point


class DoubleScale(MinMaxObserver):
    def calculate_qparams(self) -> Any:
        scale, zero_point = super().calculate_qparams()
        return scale.astype(np.float64), zero_point


class FractionalZero(MinMaxObserver):
    def calculate_qparams(self) -> Any:
        scale, zero_point = super().calculate_qparams()
        return scale, zero_point + 0.5


class FreeZero(MinMaxObserver):
    """The zero point outside the integers, as when the range is not widened to hold zero."""

    def calculate_qparams(self) -> Any:
        scale, zero_point = super().calculate_qparams()
        return scale, zero_point - 256


class OneScaleForAll(PerChannelMinMaxObserver):
    def calculate_qparams(self) -> Any:
        scale, zero_point = super().calculate_qparams()
        return scale[:1], zero_point[:1]


class Random(MinMaxObserver):
    def observe(self, x: Any) -> None:
        super().observe(x + np.float32(np.random.default_rng().random()))


class FirstOnly(MinMaxObserver):
    def observe(self, x: Any) -> None:
        super().observe(x.reshape(-1)[: max(1, x.size // 2)])


class Forgets(MinMaxObserver):
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {name: value * np.float32(0.5) for name, value in super().state_dict(*args, **kwargs).items()}


class IgnoresTheOther(MinMaxObserver):
    def absorb(self, other: Any) -> None:
        del other


class NotConstant(MinMaxObserver):
    """Blind to data without spread."""

    def range(self) -> Any:
        low, high = super().range()
        return (np.float32(0), np.float32(0)) if low == high else (low, high)


MUTANTS: list[tuple[type[MinMaxObserver], str]] = [
    (Copies, "returns_its_input: .* return x itself"),
    (Overwrites, "returns_its_input: .* changed x"),
    (AlwaysAnswers, "needs_calibration: a new observer must raise"),
    (Shares, "needs_calibration: .* another instance has been calibrated"),
    (CountsEmpty, r"ignores_empty_batches: a batch of shape \(4, 0\) changed"),
    (SwallowsNaN, "refuses_nan_and_infinity: data with nan must raise"),
    (ZeroScale, "gives_legal_qparams: scale must be positive"),
    (DoubleScale, "gives_legal_qparams: scale must be float32; got float64"),
    (FractionalZero, "gives_legal_qparams: zero points must be integers"),
    (FreeZero, "gives_legal_qparams: .* or real zero is not representable"),
    (OneScaleForAll, r"has_one_scale_each: .* needs scales of shape \(4,\); got \[\(1,\), \(1,\)\]"),
    (NotConstant, "bears_constant_data: constant data 1.0 is off by"),
    (Random, "depends_on_the_data_alone|bears_constant_data"),
    (FirstOnly, "ignores_order_within_a_batch: the order of elements changed"),
    (Forgets, "keeps_its_state: after loading"),
    (IgnoresTheOther, "merges: merged, two observers say"),
]


@pytest.mark.parametrize(("mutant", "message"), MUTANTS, ids=lambda v: getattr(v, "__name__", ""))
def test_broken_observers_are_caught(mutant: type[MinMaxObserver], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_observer(mutant, largest=2.0**20)


def test_with_args_that_forgets_its_arguments() -> None:
    class Factory:
        def __call__(self) -> MinMaxObserver:
            return MinMaxObserver(quant_min=0, quant_max=15)

        def with_args(self, **arguments: Any) -> Any:
            return MinMaxObserver.with_args(**arguments)

    with pytest.raises(AssertionError, match=r"takes_arguments: with_args\(\) made an observer that says"):
        check_observer(Factory())


# ---- check_quantizer -------------------------------------------------------------------------------------------------


def to_real(q: Any, scale: float, zero_point: int) -> Any:
    return scale * (q - zero_point)


def clipped(code: Callable[..., Any], low: int = 0, high: int = 255) -> Callable[..., Any]:
    return lambda x, scale, zero_point: np.clip(code(x, scale, zero_point), low, high)


def test_the_library_and_its_formula_pass() -> None:
    check_quantizer(quantize, dequantize)
    check_quantizer(clipped(lambda x, s, z: np.rint(x / s) + z), to_real)
    for low, high in ((-128, 127), (-127, 127), (-8, 7), (0, 65535)):
        check_quantizer(clipped(lambda x, s, z: np.rint(x / s) + z, low, high), to_real, low, high, examples=50)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda x, s, z: np.rint((x - z) / s), r"P4: real zero becomes 0, which means -1\.0 \(scale 1\.0, zero point 1\)"
         r"\. It computes rint\(\(x - z\) / s\): convention A's .* try rint\(x / s\) \+ z"),
        (lambda x, s, z: np.rint(x / s) - z, r"P4: .* It computes rint\(x / s\) - z: convention C's sign"),
        (lambda x, s, z: np.rint(x * s) + z, r"P2: .* It computes rint\(x \* s\) \+ z: convention D's"),
        (lambda x, s, z: np.floor(x / s) + z, r"P[12]: .* It computes floor"),
        (lambda x, s, z: np.trunc(x / s) + z, r"P[12]: .* It computes trunc"),
        (lambda x, s, z: np.rint(x / s) + z + 1, r"P4: real zero becomes 1, which means 1\.0"),
        (lambda x, s, z: -np.rint(x / s) + z, "P2"),
    ],
)  # fmt: skip
def test_slips_are_found_and_named(code: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_quantizer(clipped(code), to_real)


def test_other_slips() -> None:
    wraps = lambda x, s, z: (np.rint(x / s) + z).astype(np.int64).astype(np.uint8)  # noqa: E731
    with pytest.raises(AssertionError, match="P[35]: .*"):
        check_quantizer(wraps, to_real)
    unclamped = lambda x, s, z: np.rint(x / s) + z  # noqa: E731
    with pytest.raises(AssertionError, match=r"P5: .* beyond the range and becomes -?\d+, not its end"):
        check_quantizer(unclamped, to_real)
    half_up = clipped(lambda x, s, z: np.floor(x / s + 0.5) + z, -127, 127)
    with pytest.raises(AssertionError, match=r"P6: \d+\.5 becomes \d+, but -\d+\.5 becomes"):
        check_quantizer(half_up, to_real, -127, 127)
    with pytest.raises(AssertionError, match="P4|P2"):
        check_quantizer(quantize, lambda q, s, z: s * q + z)
    coarse = clipped(lambda x, s, z: 2 * np.rint(x / s / 2) + z)
    with pytest.raises(AssertionError, match="P[12]"):
        check_quantizer(coarse, to_real)
    bumpy = clipped(lambda x, s, z: np.rint(x / s) + z - (np.abs(x / s - np.rint(x / s)) > 0.499))
    with pytest.raises(AssertionError, match="P"):
        check_quantizer(bumpy, to_real, examples=2000)
