"""calibration and quantization.calibrate: the exact histogram, ranges that clip, work dealt out to workers."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from nanoquant import manual_seed, nn, per_tensor_symmetric, qint8
from nanoquant.affine import fake_quantize_as
from nanoquant.calibration.entropy import information_lost
from nanoquant.calibration.exact_histogram import coarser
from nanoquant.calibration.mse import ErrorTable
from nanoquant.observers import NotCalibratedError
from nanoquant.quantization import (
    CalibrationWarning,
    EntropyObserver,
    ExactHistogramObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageAbsMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    MSEObserver,
    PercentileObserver,
    PerChannelHistogramObserver,
    PerChannelMinMaxObserver,
    PerGroupMinMaxObserver,
    QuantStub,
    calibrate,
    convert,
    fuse_modules,
    get_default_qconfig,
    prepare,
)
from nanoquant.testing.strategies import shapes

Make = Callable[[], Any]

MERGEABLE: list[Make] = [
    MinMaxObserver,
    lambda: PerChannelMinMaxObserver(1),
    lambda: PerGroupMinMaxObserver(3),
    MovingAverageMinMaxObserver,
    lambda: MovingAveragePerChannelMinMaxObserver(0.1, 1),
    MovingAverageAbsMaxObserver,
    HistogramObserver,
    lambda: PerChannelHistogramObserver(1),
    ExactHistogramObserver,
    lambda: PercentileObserver(99.0),
    EntropyObserver,
    MSEObserver,
]


def stream(batches: int = 100, shape: tuple[int, ...] = (4, 6)) -> list[np.ndarray]:
    """Batches whose spread changes from one to the next, so that ranges widen on the way."""
    g = np.random.default_rng(batches)
    return [(g.standard_normal(shape) * 10 ** g.uniform(-2, 2)).astype(np.float32) for _ in range(batches)]


# ---- the exact histogram -----------------------------------------------------------------------------------------------


def expected_counts(x: np.ndarray, exponent: int, side: int) -> dict[int, int]:
    """Counts by the definition, in exact arithmetic."""
    found: dict[int, int] = {}
    for value in x.reshape(-1):
        k = int(Fraction(float(value)) / Fraction(2) ** exponent)  # int() truncates
        found[k + side] = found.get(k + side, 0) + 1
    return found


@given(st.lists(strategies.arrays(shapes(max_dims=1, max_side=6)), min_size=1, max_size=4), st.randoms())
def test_counts_are_those_of_the_final_bins_in_any_order(batches: list[np.ndarray], random: Any) -> None:
    everything = np.concatenate([b.reshape(-1) for b in batches])
    observer = ExactHistogramObserver()
    for batch in batches:
        observer(batch)
    if not everything.size:
        assert not observer.calibrated
        return
    largest, exponent = float(np.abs(everything).max()), int(observer.exponent[0])
    assert largest < observer.side * 2.0**exponent
    assert exponent == -126 or largest >= observer.side * 2.0 ** (exponent - 1)
    counts = observer.counts[0]
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == expected_counts(everything, exponent, observer.side)
    shuffled = batches[:]
    random.shuffle(shuffled)
    parts = [ExactHistogramObserver() for _ in shuffled]
    for part, batch in zip(parts, shuffled, strict=True):
        part(batch)
    merged = ExactHistogramObserver()
    for part in parts:
        merged.merge(part)
    assert np.array_equal(merged.counts, observer.counts)
    assert (merged.min_val, merged.max_val) == (observer.min_val, observer.max_val)


def test_bins_are_merged_in_pairs_towards_zero() -> None:
    counts = np.arange(16)  # bins -8 .. 7
    by_hand = np.zeros(16, int)
    for k in range(-8, 8):
        by_hand[int(k / 4) + 8] += counts[k + 8]
    assert coarser(counts, 2).tolist() == by_hand.tolist()
    assert coarser(counts, 100)[8] == counts.sum()


def test_counts_of_a_channel_lie_between_its_edges() -> None:
    x = np.random.default_rng(0).standard_normal((3, 500)).astype(np.float32)
    x[1] = np.abs(x[1])
    observer = ExactHistogramObserver(0)
    observer(x)
    for c in range(3):
        counts = observer.of_channel(c)
        assert (counts.edges[0], counts.edges[-1]) == (x[c].min(), x[c].max())
        expected, _ = np.histogram(x[c], counts.edges)  # no value lies on an edge
        assert np.array_equal(counts.counts, expected)


# ---- ranges that clip --------------------------------------------------------------------------------------------------


@given(strategies.seeds, st.sampled_from([50.0, 90.0, 99.0, 99.9, 100.0]))
def test_percentiles_hold_as_much_as_they_say(seed: int, percentile: float) -> None:
    x = np.random.default_rng(seed).standard_normal(1000).astype(np.float32)
    for options in ({}, {"dtype": qint8, "qscheme": per_tensor_symmetric}):
        observer = PercentileObserver(percentile, **options)
        observer(x)
        low, high = observer.range()
        inside = ((x >= low) & (x <= high)).mean()
        assert percentile / 100 - 1e-9 <= inside <= percentile / 100 + 0.02
    with pytest.raises(ValueError, match=r"percentile must be in \(0, 100\]; got 0"):
        PercentileObserver(0)


def sqnr(x: np.ndarray, observer: Any) -> float:
    """Decibels, after quantizing x with what the observer chose for it."""
    observer(x)
    y = fake_quantize_as(x, observer.qparams()).astype(float)
    return float(10 * np.log10((x.astype(float) ** 2).sum() / ((x - y) ** 2).sum()))


def test_entropy_survives_a_relu() -> None:
    """Migacz's algorithm as published breaks here; with the zero bin repaired it comes near the best there is."""
    x = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0).astype(np.float32)
    symmetric = {"dtype": qint8, "qscheme": per_tensor_symmetric}
    assert sqnr(x, EntropyObserver(**symmetric)) > 40
    assert sqnr(x, EntropyObserver()) > 45  # all 256 integers for one side
    assert sqnr(x, MSEObserver(**symmetric)) > 40
    bins, _ = np.histogram(x, 2048, (0, x.max()))
    unrepaired = bins.astype(float)
    losses = [information_lost(unrepaired, end, 128) for end in range(128, 2049)]
    assert (128 + np.argmin(losses)) / 2048 * x.max() < 2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_entropy_is_not_fooled_by_data_far_from_zero(bits: int) -> None:
    g = np.random.default_rng(0)
    for x in (g.uniform(2, 3, 20_000), g.standard_normal(20_000) * 0.1 + g.choice([-5, 7], 20_000), np.ones(10)):
        observer = EntropyObserver(quant_min=0, quant_max=2**bits - 1)
        observer(x.astype(np.float32))
        assert observer.range()[1] > 0.95 * x.max()


def slow_information_lost(bins: list[float], end: int, levels: int) -> float:
    """The published algorithm in loops."""
    p = bins[:end]
    q = [0.0] * end
    for level in range(levels):
        inside = range(level * end // levels, (level + 1) * end // levels)
        occupied = [i for i in inside if p[i] > 0]
        for i in occupied:
            q[i] = sum(p[j] for j in inside) / len(occupied)
    p[-1] += sum(bins[end:])
    total_p, total_q = sum(p), sum(q)
    return sum(a / total_p * np.log(a / total_p / (b / total_q)) for a, b in zip(p, q, strict=True) if a > 0)


@given(st.lists(st.integers(1, 50), min_size=12, max_size=24), st.integers(2, 8))
def test_information_lost_as_published(bins: list[int], levels: int) -> None:
    for end in range(levels, len(bins) + 1):
        got = information_lost(np.array(bins, float), end, levels)
        if sum(bins[end:]) > sum(bins) / 2:
            assert got == np.inf
        else:
            assert got == pytest.approx(slow_information_lost([float(b) for b in bins], end, levels), abs=1e-12)


@given(strategies.seeds, st.floats(0.02, 2), st.integers(-4, 3))
def test_the_error_table_is_the_integral(seed: int, scale: float, zero_point: int) -> None:
    x = (np.random.default_rng(seed).standard_normal(50) * 3).astype(np.float32)
    observer = ExactHistogramObserver()
    observer(x)
    counts = observer.of_channel(0)
    levels = scale * (np.arange(-4, 4) - zero_point)
    expected = 0.0
    for low, high, n in zip(counts.edges[:-1], counts.edges[1:], counts.counts, strict=True):
        if n:  # bins are narrower than any level: at most one cut within
            middle = np.linspace(low, high, 201)[1::2]
            expected += n * (np.abs(middle[:, None] - levels).min(axis=1) ** 2).mean()
    got = ErrorTable(counts).errors(np.array([scale]), np.array([zero_point]), -4, 3)
    assert got[0] == pytest.approx(expected, rel=1e-4)


G = np.random.default_rng(7)
SHAPES = {
    "normal": G.standard_normal(50_000),
    "laplace": G.laplace(size=50_000),
    "relu": np.maximum(G.standard_normal(50_000), 0),
    "one outlier": np.append(G.standard_normal(50_000), 100),
    "one far outlier": np.append(G.standard_normal(50_000), 1e4),
    "uniform": G.uniform(-1, 3, 50_000),
    "far from zero": G.uniform(2, 3, 50_000),
    "heavy tails": G.standard_t(1, 50_000),
    "log-normal": np.exp(5 * G.standard_normal(50_000)),
    "pixels": G.integers(0, 256, 50_000) / 255,
    "two values": G.choice([-1, 3.3], 5_000),
    "two humps": G.standard_normal(50_000) * 0.1 + G.choice([-5, 7], 50_000),
    "mostly zero": np.where(G.random(50_000) < 0.99, 0, G.standard_normal(50_000)),
    "ten numbers": G.standard_normal(10),
    "one number": np.array([3.7]),
    "zeros": np.zeros(9),
    "tiny": G.standard_normal(5_000) * 1e-30,
    "huge": G.standard_normal(5_000) * 1e30,
}
OPTIONS = [
    {},
    {"quant_min": 0, "quant_max": 127},
    {"quant_min": 0, "quant_max": 15},
    {"dtype": qint8, "qscheme": per_tensor_symmetric},
    {"dtype": qint8, "qscheme": per_tensor_symmetric, "quant_min": -2, "quant_max": 1},
]


@pytest.mark.parametrize("name", SHAPES)
def test_mse_is_never_worse_than_minmax_or_histogram(name: str) -> None:
    x = SHAPES[name].astype(np.float32)
    for options in OPTIONS:
        modelled, raw = [], []
        chosen = MSEObserver(**options)
        for observer in (chosen, MinMaxObserver(**options), HistogramObserver(**options)):
            observer(x)
            qparams = observer.qparams()
            raw.append(float(((x - fake_quantize_as(x, qparams).astype(float)) ** 2).sum()))
            table = ErrorTable(chosen.of_channel(0))
            modelled.append(table.errors(qparams.scale.reshape(1), qparams.zero_point.reshape(1), *qparams.limits)[0])
        noise = 1e-9 * float((x.astype(float) ** 2).sum())  # float64, where an error is 0
        assert modelled[0] <= min(modelled[1:]) * (1 + 1e-12) + noise, options
        assert raw[0] <= 1.01 * min(raw[1:]), options


def test_mse_finds_what_a_fine_grid_finds() -> None:
    x = SHAPES["laplace"].astype(np.float32)
    for limits in ({"quant_min": -8, "quant_max": 7}, {}):
        observer = MSEObserver(dtype=qint8, qscheme=per_tensor_symmetric, **limits)
        observer(x)
        found = float(((x - fake_quantize_as(x, observer.qparams())) ** 2).sum())
        for bound in np.linspace(0.2, 1, 200) * np.abs(x).max():
            grid = MinMaxObserver(dtype=qint8, qscheme=per_tensor_symmetric, **limits)
            grid([-bound, bound])
            assert found <= 1.001 * float(((x - fake_quantize_as(x, grid.qparams())) ** 2).sum())


@pytest.mark.parametrize("kind", [MSEObserver, EntropyObserver, lambda axis: PercentileObserver(99, axis)])
def test_channels_are_clipped_one_by_one(kind: Any) -> None:
    x = np.random.default_rng(0).laplace(size=(3, 2000)).astype(np.float32) * np.float32([[1], [30], [0.01]])
    together = kind(0)
    together(x)
    for c in range(3):
        alone = kind(None)
        alone(x[c])
        assert together.range()[1][c] == pytest.approx(float(alone.range()[1]), rel=0.05)


# ---- merging -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MERGEABLE)
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_threads_give_the_qparams_of_one_pass(make: Make, workers: int) -> None:
    batches = stream()
    with ThreadPoolExecutor(workers) as pool:
        assert_same(calibrate(make(), batches, pool), calibrate(make(), batches))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_processes_give_the_qparams_of_one_pass(workers: int) -> None:
    batches = stream()
    with ProcessPoolExecutor(workers) as pool:
        for kind in (MinMaxObserver, MovingAverageMinMaxObserver, HistogramObserver, MSEObserver):
            assert_same(calibrate(kind(), batches, pool), calibrate(kind(), batches))


@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_dask_cluster_gives_the_qparams_of_one_pass() -> None:
    distributed = pytest.importorskip("distributed", reason="the optional extra `dask` is not installed")
    try:
        socket.create_server(("127.0.0.1", 0)).close()
    except OSError as error:
        pytest.skip(f"no sockets on loopback here: {error}")
    batches = stream()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor(pure=False)
        for kind in (MovingAverageMinMaxObserver, HistogramObserver, MSEObserver):
            assert_same(calibrate(kind(), batches, executor), calibrate(kind(), batches))


def assert_same(a: Any, b: Any) -> None:
    for ours, theirs in zip(a.calculate_qparams(), b.calculate_qparams(), strict=True):
        assert np.array_equal(ours, theirs)


def model() -> Any:
    manual_seed(0)
    net = nn.Sequential(QuantStub(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    net = fuse_modules(net, ["1", "2"])  # the default is HistogramObserver, which minds being shown a batch twice
    net.qconfig = get_default_qconfig("fbgemm")
    return prepare(net)


def test_a_network_calibrated_by_workers_is_the_same_network() -> None:
    batches: list[Any] = [(batch,) for batch in stream(30)]
    by_one, by_many = model(), model()
    for (batch,) in batches:
        by_one(batch)
    with ProcessPoolExecutor(3) as pool:
        calibrate(by_many, batches, pool)
    x = batches[3][0]
    assert np.array_equal(convert(by_one)(x).int_repr().array, convert(by_many)(x).int_repr().array)


def test_what_calibrate_refuses() -> None:
    with pytest.raises(ValueError, match="has no observers: call prepare"):
        calibrate(nn.Linear(2, 2), [])
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match="take two passes: give batches as a list, not an iterator"),
    ):
        calibrate(HistogramObserver(), iter(stream(3)), pool)


class Immediate(Executor):
    """Runs a task when it is submitted, and remembers how many results nobody has asked for yet."""

    def __init__(self) -> None:
        self.waiting, self.most = 0, 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        outer = self
        value = function(*args, **kwargs)
        outer.waiting += 1
        outer.most = max(outer.most, outer.waiting)

        class Done:
            def result(self) -> Any:
                outer.waiting -= 1
                return value

        return Done()


def test_batches_stream_through_in_bounded_memory() -> None:
    drawn = 0

    def batches() -> Any:
        nonlocal drawn
        for batch in stream(400):
            drawn += 1
            yield batch

    executor = Immediate()
    calibrate(MinMaxObserver(), batches(), executor)
    assert drawn == 400
    assert executor.most <= 16


def test_order_matters_and_has_to_be_said() -> None:
    a, b = MovingAverageMinMaxObserver(), MovingAverageMinMaxObserver()
    a([1.0])
    b([2.0])
    with pytest.raises(ValueError, match=r"depends on the order of the batches: number all of them, observer.at\(i\)"):
        a.merge(b)
    b = MovingAverageMinMaxObserver()
    b.at(3)([1.0])
    with pytest.raises(ValueError, match="has seen batch 3 before"):
        b.at(3)([1.0])
    with pytest.raises(ValueError, match="number all of them"):
        b.at(None)([1.0])


def test_unlike_observers_do_not_merge() -> None:
    for other in (MinMaxObserver(dtype=qint8), MinMaxObserver(eps=1e-3), MovingAverageMinMaxObserver()):
        with pytest.raises(ValueError, match="observers must be set up alike"):
            MinMaxObserver().merge(other)


def test_a_histogram_of_numbered_batches_wants_them_twice() -> None:
    first, second = HistogramObserver(), HistogramObserver()
    batches = stream(4)
    for i in (0, 1):
        first.at(i)(batches[i])
    for i in (2, 3):
        second.at(i)(batches[i])
    first.merge(second)
    with pytest.raises(NotCalibratedError, match="knows the ranges of 4 batches and counted 0"):
        first.calculate_qparams()
    second = copy.deepcopy(first)
    for i in (3, 1):
        first.at(i)(batches[i])
    for i in (0, 2):
        second.at(i)(batches[i])
    with pytest.raises(ValueError, match="has counted batch 3 before"):
        first.at(3)(batches[3])
    with pytest.raises(ValueError, match="counts its batches already; got the unknown batch 9"):
        first.at(9)(batches[0])
    assert_same(first.merge(second), calibrate(HistogramObserver(), batches))
    stranger = HistogramObserver()
    stranger.at(0)(batches[0])
    stranger.at(0)(batches[0])
    with pytest.raises(ValueError, match="merge the ranges of all batches before any is counted"):
        first.merge(stranger)


# ---- data that are none ------------------------------------------------------------------------------------------------


def test_uniform_noise_draws_a_warning_and_data_do_not() -> None:
    g = np.random.default_rng(0)
    with pytest.warns(CalibrationWarning, match="look like uniform noise in"):
        calibrate(MinMaxObserver(), [g.random((8, 64), np.float32)])
    with pytest.warns(CalibrationWarning):
        calibrate(MinMaxObserver(), [(2 * g.random((1, 3, 224, 224)) - 1).astype(np.float32)])
    for x in (g.standard_normal(4096), np.sin(np.arange(4096)), g.integers(0, 256, 4096) / 255, np.ones(999), g.random(9)):
        calibrate(MinMaxObserver(), [x.astype(np.float32)])
