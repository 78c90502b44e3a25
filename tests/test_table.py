"""dtype x scheme x observer: every cell works, or is an error that names what would.

The properties P1 to P5 of quantizers are checked in every cell that works; the special data of the table in `qparams`
row by row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from nanoquant import QScheme, Tensor, quantization, quantize_per_tensor
from nanoquant.affine import dequantize_as, fake_quantize_as, pack, quantize_as, unpack
from nanoquant.observers import NotCalibratedError
from nanoquant.qparams import AbsMaxRule, QParams, choose_qparams
from nanoquant.qtensor import quantize
from nanoquant.quantization import FakeQuantize, HistogramObserver, MinMaxObserver
from nanoquant.scheme import QDTYPES, QDType, qint8, quint8

# How each observer is made, and the granularity it serves; all of them serve every dtype.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "MinMaxObserver": ("tensor", {}),
    "MovingAverageMinMaxObserver": ("tensor", {}),
    "MovingAverageAbsMaxObserver": ("tensor", {}),
    "HistogramObserver": ("tensor", {}),
    "ExactHistogramObserver": ("tensor", {}),
    "PercentileObserver": ("tensor", {"percentile": 100}),
    "EntropyObserver": ("tensor", {}),
    "MSEObserver": ("tensor", {}),
    "PerChannelMinMaxObserver": ("channel", {"ch_axis": 1}),
    "MovingAveragePerChannelMinMaxObserver": ("channel", {"ch_axis": 1}),
    "PerChannelHistogramObserver": ("channel", {"ch_axis": 1}),
    "PerGroupMinMaxObserver": ("group", {"group_size": 4}),
    "MovingAveragePerGroupMinMaxObserver": ("group", {"group_size": 4}),
    "PerTokenMinMaxObserver": ("token", {}),
}
NO_CLIPPING = [name for name in ROWS if "MinMax" in name or "Percentile" in name]
CHOOSES_NOTHING = ["PlaceholderObserver", "NoopObserver", "ReuseInputObserver", "RecordingObserver"]
X = (np.random.default_rng(0).laplace(size=(5, 3, 8)) * 2 + 0.3).astype(np.float32)


def made(name: str, dtype: QDType, qscheme: QScheme) -> Any:
    return getattr(quantization, name)(**ROWS[name][1], dtype=dtype, qscheme=qscheme)


def test_the_table_holds_all_observers() -> None:
    public = {n for n in dir(quantization) if n.endswith("Observer")}
    assert public == {*ROWS, *CHOOSES_NOTHING, "FixedQParamsObserver"}


@pytest.mark.parametrize("qscheme", QScheme)
@pytest.mark.parametrize("name", ROWS)
def test_every_cell(name: str, qscheme: QScheme) -> None:
    for dtype in QDTYPES.values():
        if qscheme.granularity != ROWS[name][0]:
            with pytest.raises(NotImplementedError, match=f"for {qscheme.name} use an observer with a range per"):
                made(name, dtype, qscheme)
            continue
        if qscheme.float_qparams and dtype.signed:
            with pytest.raises(ValueError, match="counts from 0: use an unsigned dtype"):
                made(name, dtype, qscheme)
            continue
        observer = made(name, dtype, qscheme)
        observer(X)
        qparams = observer.qparams()
        assert qparams.float_qparams == qscheme.float_qparams
        check_quantizer(qparams, dtype, exact_ends=name in NO_CLIPPING)


def check_quantizer(qparams: QParams, dtype: QDType, exact_ends: bool) -> None:
    q = quantize_as(X, qparams)
    assert q.dtype == dtype.storage
    assert dtype.quant_min <= q.min()
    assert q.max() <= dtype.quant_max
    y = dequantize_as(q, qparams)
    assert np.array_equal(y, fake_quantize_as(X, qparams))
    tensor = quantize(X, qparams)
    assert np.array_equal(tensor.values, q)
    assert np.array_equal(tensor.dequantize().array, y)
    # P1, with half a step more at an end that the zero point's rounding, or an odd number of integers, moved inside
    scale, zero_point = qparams.over(X.shape)
    low, high = (scale * (np.float64(end) - zero_point) for end in qparams.limits)
    inside = (low <= X) & (low.max() < high.min()) & (high >= X)
    slack = np.spacing(np.abs(X).max() + scale).astype(float) * 8
    assert (np.abs(X - y.astype(float)) <= 0.5 * scale + slack)[inside].all()
    if exact_ends:
        assert (np.abs(X - y.astype(float)) <= 1.01 * scale + slack).all()
    # P2, P3
    if dtype.bits <= 16:
        assert np.array_equal(quantize_as(y, qparams), q)
    flat = QParams(qparams.scale.flat[0], qparams.zero_point.flat[0], dtype, float_qparams=qparams.float_qparams)
    assert (np.diff(quantize_as(np.sort(X.reshape(-1)), flat).astype(np.int64)) >= 0).all()
    # P4, P5
    if not qparams.float_qparams:
        assert not fake_quantize_as(np.zeros_like(X), qparams).any()
    far = np.full_like(X, np.inf)
    assert (quantize_as(far, qparams) == qparams.limits[1]).all()
    assert (quantize_as(-far, qparams) == qparams.limits[0]).all()


@pytest.mark.parametrize("name", CHOOSES_NOTHING)
def test_observers_that_choose_nothing(name: str) -> None:
    observer = getattr(quantization, name)()
    assert observer(X) is X
    with pytest.raises(NotCalibratedError):
        observer.calculate_qparams()
    recorded = getattr(observer, "tensor_val", None)
    assert recorded is None or np.array_equal(recorded[0], X)


@pytest.mark.parametrize("qscheme", [s for s in QScheme if s.granularity != "token"])
def test_fake_quantize_modules_serve_every_scheme(qscheme: QScheme) -> None:
    name = next(n for n, (granularity, _) in ROWS.items() if granularity == qscheme.granularity)
    fake = FakeQuantize(getattr(quantization, name), dtype=QDTYPES["quint5"], qscheme=qscheme, **ROWS[name][1])
    x = Tensor(X, requires_grad=True)
    y = fake(x)
    assert np.array_equal(y.array, fake_quantize_as(X, fake.qparams()))
    y.sum().backward()
    assert set(np.unique(x.grad.array)) <= {0, 1}


# ---- special data: the rows of the table in qparams.py -------------------------------------------------------------------


def scale_and_zero_point(x: Any, **options: Any) -> tuple[float, int]:
    observer = MinMaxObserver(**options)
    observer(np.asarray(x, np.float32))
    scale, zero_point = observer.calculate_qparams()
    return float(scale[0]), int(zero_point[0])


def test_special_data() -> None:
    symmetric = {"qscheme": QScheme.per_tensor_symmetric}
    assert scale_and_zero_point([0, 0]) == (2.0**-23, 0)
    assert scale_and_zero_point([2, 2]) == (np.float32(2 / 255), 0)
    assert scale_and_zero_point([-3, -3]) == (np.float32(3 / 255), 255)
    assert scale_and_zero_point([0, 1], dtype=qint8) == (np.float32(1 / 255), -128)
    for value, options in ((2, {}), (-3, {}), (7e-3, {"dtype": qint8})):
        observer = MinMaxObserver(**options)
        observer(np.float32([value]))
        assert fake_quantize_as(value, observer.qparams()) == np.float32(value)
    for dtype, lowest, highest, middle in ((qint8, -127, 127, 0), (quint8, 1, 255, 128)):
        observer = MinMaxObserver(dtype=dtype, **symmetric)
        observer(np.float32([-1, 1]))
        assert quantize_as([-1, 0, 1], observer.qparams()).tolist() == [lowest, middle, highest]
    assert scale_and_zero_point([-1, 1], quant_min=0, quant_max=127, **symmetric)[1] == 63
    for kind in (MinMaxObserver, HistogramObserver):
        for bad in (np.nan, np.inf, -np.inf):
            with pytest.raises(ValueError, match="observed NaN or infinity"):
                kind()([1.0, bad])
        with pytest.raises(NotImplementedError, match="reduce_range with per_tensor_symmetric and quint8"):
            kind(reduce_range=True, **symmetric)
        with pytest.raises(NotCalibratedError, match="has seen no data"):
            kind().calculate_qparams()


# ---- options of the rule ---------------------------------------------------------------------------------------------------


@given(st.floats(2.0**-10, 2.0**20, width=32))
def test_the_three_divisors(largest: float) -> None:
    divisors = {AbsMaxRule.half_range: 127.5, AbsMaxRule.quant_max: 127, AbsMaxRule.half_levels: 128}
    for rule, divisor in divisors.items():
        for dtype, middle in ((qint8, 0), (quint8, 128)):
            scale, zero_point = choose_qparams(-largest, largest / 2, dtype, QScheme.per_tensor_symmetric, rule=rule)
            assert (scale, zero_point) == (np.float32(largest) / np.float32(divisor), middle)
    narrow = choose_qparams(-largest, 0, qint8, QScheme.per_tensor_symmetric, -127, 127)[0]
    assert narrow == np.float32(largest) / np.float32(127)


@given(
    st.floats(-(2.0**20), 2.0**20, width=32), st.floats(-(2.0**20), 2.0**20, width=32), st.sampled_from(list(QDTYPES.values()))
)
def test_power_of_two_scales_are_the_next_ones(a: float, b: float, dtype: QDType) -> None:
    low, high = min(a, b), max(a, b)
    free, _ = choose_qparams(low, high, dtype)
    scale, zero_point = choose_qparams(low, high, dtype, power_of_two=True)
    assert np.frexp(scale)[0] == 0.5
    assert scale / 2 < free <= scale
    ends = [float(scale) * (q - int(zero_point)) for q in (dtype.quant_min, dtype.quant_max)]
    assert ends[0] <= min(low, 0) + scale / 2
    assert ends[1] >= max(high, 0) - scale / 2


@given(st.data())
def test_packing_is_a_bijection(data: Any) -> None:
    dtype = data.draw(st.sampled_from([QDTYPES[n] for n in ("quint2", "qint2", "quint4", "qint4")]))
    rows, count = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9))
    numbers = st.lists(st.integers(dtype.quant_min, dtype.quant_max), min_size=rows * count, max_size=rows * count)
    q = np.array(data.draw(numbers), dtype.storage).reshape(rows, count)
    packed = pack(q, dtype)
    assert packed.shape == (rows, -(-count * dtype.bits // 8))
    assert np.array_equal(unpack(packed, count, dtype), q)
    by_hand = [sum(int(v & (2**dtype.bits - 1)) << (dtype.bits * i) for i, v in enumerate(q[0][: 8 // dtype.bits]))]
    assert packed[0][:1].tolist() == by_hand[: packed.shape[1]]


def test_packed_arrays_keep_their_other_axes() -> None:
    q = np.arange(2 * 3 * 5).reshape(2, 3, 5) % 16
    packed = pack(q, QDTYPES["quint4"])
    assert (packed.shape, packed.dtype) == ((2, 3, 3), np.uint8)
    back = unpack(packed, 5, QDTYPES["quint4"])
    assert back.dtype == np.uint8
    assert np.array_equal(back, q)
    assert unpack(packed, 5, QDTYPES["qint4"]).dtype == np.int8


def test_packing_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="qint8 has 8"):
        pack([1], qint8)
    with pytest.raises(ValueError, match=r"quint4 holds 0\.\.15; got -1\.\.16"):
        pack([-1, 16], QDTYPES["quint4"])
    for bad in (-1, 16):
        with pytest.raises(ValueError, match=rf"got {bad}\.\.{bad}"):
            pack([bad], QDTYPES["quint4"])
    with pytest.raises(ValueError, match="5 integers of quint4 take 3 bytes; got 2"):
        unpack([0, 0], 5, QDTYPES["quint4"])


@given(strategies.seeds, st.sampled_from([1, 2, 3, 6]), st.sampled_from([-1, 0, 1]))
def test_a_group_is_a_tensor_of_its_own(seed: int, size: int, axis: int) -> None:
    x = np.random.default_rng(seed).standard_normal((6, 12)).astype(np.float32)
    observer = quantization.PerGroupMinMaxObserver(size, axis)
    observer(x)
    whole = fake_quantize_as(x, observer.qparams())
    along, result = np.moveaxis(x, axis, -1), np.moveaxis(whole, axis, -1)
    for row, expected in zip(along, result, strict=True):
        for start in range(0, row.size, size):
            scale, zero_point = scale_and_zero_point(row[start : start + size])
            part = quantize_per_tensor(row[start : start + size], scale, zero_point, quint8).dequantize().array
            assert np.array_equal(part, expected[start : start + size])


def test_groups_that_do_not_fit() -> None:
    observer = quantization.PerGroupMinMaxObserver(5)
    with pytest.raises(ValueError, match=r"axis 1 of data of shape \(2, 12\) has no whole groups of 5"):
        observer(np.zeros((2, 12)))
    with pytest.raises(ValueError, match="group_size must be at least 1"):
        quantization.PerGroupMinMaxObserver(0)
    with pytest.raises(ValueError, match=r"scales of shape \(2, 3\) on axis 1 for groups of 4 do not fit .* \(2, 8\)"):
        quantize(np.zeros((2, 8)), QParams(np.ones((2, 3)), np.zeros((2, 3)), axis=1, group_size=4))
    with pytest.raises(ValueError, match="group_size counts elements along an axis"):
        QParams(1.0, 0, group_size=4)


@given(strategies.seeds)
def test_float_zero_points_join_before_rounding(seed: int) -> None:
    g = np.random.default_rng(seed)
    x = g.uniform(3, 4, (2, 50)).astype(np.float32)
    observer = quantization.PerChannelMinMaxObserver(0, quint8, QScheme.per_channel_affine_float_qparams)
    observer(x)
    scale, zero_point = observer.calculate_qparams()
    assert zero_point.dtype == np.float32
    assert np.array_equal(zero_point, -x.min(axis=1) / scale)  # zero is far outside, and stays there
    expected = np.clip(np.rint(x * (np.float32(1) / scale)[:, None] + zero_point[:, None]), 0, 255)
    assert np.array_equal(quantize_as(x, observer.qparams()), expected)
    back = dequantize_as(expected, observer.qparams())
    assert np.array_equal(back, scale[:, None] * (expected.astype(np.float32) - zero_point[:, None]))
    assert (np.abs(back - x) <= scale[:, None] * 0.501).all()
