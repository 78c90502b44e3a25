"""observers: what they remember, and that they remember it as torch does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import strategies
from golden_vectors import cases
from hypothesis import given
from hypothesis import strategies as st

from nanoquant import QScheme, observers, per_channel_affine, per_tensor_affine, per_tensor_symmetric, qint8, quint8
from nanoquant.observers import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    NotCalibratedError,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from nanoquant.scheme import QDTYPES

ALL = [
    MinMaxObserver,
    PerChannelMinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    HistogramObserver,
]

# Two batches of a blog post of 2022 ("Practical Quantization in PyTorch"), and what torch 2.13 makes of them.
BATCHES = (
    [[-0.0590, 1.1674, 0.7119, -1.1270], [-1.3974, 0.5077, -0.5601, 0.0683], [-0.0929, 0.9473, 0.7159, -0.4574]],
    [[-0.0236, -0.7599, 1.0290, 0.8914], [-1.1727, -1.2556, -0.2271, 0.9568], [-0.2500, 1.4579, 1.4707, 0.4043]],
)


@pytest.mark.parametrize(
    ("observer", "scale", "zero_point"),
    [
        (MinMaxObserver(), "0.01124745", [124]),
        (MovingAverageMinMaxObserver(), "0.01006437", [139]),
        (HistogramObserver(), "0.01124196", [124]),
        (MovingAverageMinMaxObserver(qscheme=per_tensor_symmetric), "0.01094888", [128]),
        (MovingAveragePerChannelMinMaxObserver(ch_axis=0), "0.00897782 0.00748303 0.00552102", [125, 187, 82]),
    ],
)
def test_the_example_of_every_tutorial(observer: Any, scale: str, zero_point: list[int]) -> None:
    observer = copy.deepcopy(observer)
    for batch in BATCHES:
        observer(batch)
    scales, zero_points = observer.calculate_qparams()
    assert " ".join(f"{s:.8f}" for s in scales) == scale
    assert zero_points.tolist() == zero_point


def test_torch_to_the_last_bit() -> None:
    for options, arrays in cases("observers"):
        name, arguments = options["observer"], {k: v for k, v in options.items() if k != "observer"}
        arguments.update(dtype=QDTYPES[options["dtype"]], qscheme=QScheme[options["qscheme"]])
        observer = getattr(observers, name)(**arguments)
        for field in sorted(f for f in arrays if f.startswith("batch")):
            observer(arrays[field])
        scale, zero_point = observer.calculate_qparams()
        assert np.array_equal(scale, arrays["scale"]), options
        assert np.array_equal(zero_point, arrays["zero_point"]), options


@given(strategies.seeds, st.integers(1, 4))
def test_minmax_ignores_how_data_is_batched(seed: int, parts: int) -> None:
    x = np.random.default_rng(seed).standard_normal((12, 5)).astype(np.float32)
    whole, split = MinMaxObserver(), MinMaxObserver()
    whole(x)
    for part in np.array_split(x, parts):
        split(part)
    assert whole.qparams().scale == split.qparams().scale


@given(strategies.seeds, st.integers(0, 2))
def test_per_channel_is_a_stack_of_per_tensor(seed: int, axis: int) -> None:
    x = np.random.default_rng(seed).standard_normal((3, 4, 5)).astype(np.float32)
    together = PerChannelMinMaxObserver(ch_axis=axis)
    together(x)
    for channel in range(x.shape[axis]):
        alone = MinMaxObserver()
        alone(x.take(channel, axis))
        assert together.calculate_qparams()[0][channel] == alone.calculate_qparams()[0][0]


def test_a_memoryless_average_follows_at_once() -> None:
    observer = MovingAverageMinMaxObserver(averaging_constant=1)
    for factor in (1, 2, 1, 0.5):
        x = np.float32([-0.3, 0.7]) * np.float32(factor)
        observer(x)
        assert (observer.min_val, observer.max_val) == (x[0], x[1])


def test_an_average_of_constant_data_has_a_scale() -> None:
    """Rounding can push the averaged minimum above the averaged maximum, where torch gives up."""
    observer = MovingAverageMinMaxObserver(averaging_constant=0.5)
    observer(np.float32([-2.9, 3.1]))
    for _ in range(100):
        observer(np.full(3, np.float32(0.0530132)))
    assert observer.calculate_qparams()[0] > 0


def test_histogram_counts_everything() -> None:
    g = np.random.default_rng(0)
    observer = HistogramObserver(bins=64)
    for size, spread in ((100, 1), (50, 3), (200, 0.5)):
        observer(g.standard_normal(size) * spread)
    assert observer.histogram.sum() == 350


@pytest.mark.parametrize("value", [0.0, -3.0, 1e8, -1e30])
def test_histogram_of_a_constant(value: float) -> None:
    observer, widest = HistogramObserver(), MinMaxObserver()
    for batch in ([value] * 5, [value]):
        observer(batch)
        widest(batch)
    assert observer.histogram.tolist() == [0] * 1024 + [6] + [0] * 1023
    assert observer.calculate_qparams() == widest.calculate_qparams()


def test_histogram_cuts_a_far_outlier_off() -> None:
    x = np.concatenate([np.random.default_rng(0).standard_normal(100_000), [1000.0]]).astype(np.float32)
    observer = HistogramObserver()
    observer(x)
    assert observer.max_val == 1000
    assert observer.range()[1] < 1000


@pytest.mark.parametrize("kind", ALL)
def test_every_observer(kind: type[Any]) -> None:
    """The promises that hold for all: identity, forgetting, copies, state, errors."""
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    observer = kind()
    assert "no data seen" in repr(observer)
    with pytest.raises(NotCalibratedError, match="has seen no data: run calibration data"):
        observer.calculate_qparams()
    assert observer(x) is x
    observer(x[:, :0])  # an empty batch changes nothing
    scale, zero_point = observer.calculate_qparams()
    assert scale.dtype == np.float32
    assert zero_point.dtype == np.int64
    assert scale.shape == zero_point.shape == ((3,) if observer.ch_axis is not None else (1,))
    twin = copy.deepcopy(observer)
    loaded = kind()
    loaded.load_state_dict(observer.state_dict())
    observer(x * 3)
    for other in (twin, loaded):
        assert np.array_equal(other.calculate_qparams()[0], scale)
    observer.reset_min_max_vals()
    assert not observer.calibrated
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="observed NaN or infinity"):
            kind()(np.float32([[1, bad]]))


@pytest.mark.parametrize("kind", ALL)
def test_arguments_are_checked_at_once(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match=r"did you mean dtype=\?"):
        kind.with_args(qscheme=qint8)
    with pytest.raises(TypeError, match="takes no argument 'bits'"):
        kind.with_args(bits=4)
    with pytest.raises(TypeError, match="takes no argument 'group_size'"):
        kind.with_args(group_size=4)
    with pytest.raises(TypeError, match="has a range per .*; got ch_axis=.*, group_size=4"):
        kind(group_size=4)
    symmetric = per_tensor_symmetric if kind().ch_axis is None else QScheme.per_channel_symmetric
    with pytest.raises(NotImplementedError, match="has no middle"):
        kind(dtype=quint8, qscheme=symmetric, reduce_range=True)
    with pytest.raises(ValueError, match="computes on 'cpu'"):
        kind(factory_kwargs={"device": "cuda"})
    kind(factory_kwargs={"device": "cpu", "dtype": np.float32})


def test_schemes_that_an_observer_cannot_serve() -> None:
    with pytest.raises(NotImplementedError, match="use an observer with a range per channel"):
        MinMaxObserver(qscheme=per_channel_affine)
    with pytest.raises(NotImplementedError, match="for per_tensor_affine use an observer with a range per tensor"):
        PerChannelMinMaxObserver(qscheme=per_tensor_affine)
    with pytest.raises(NotImplementedError, match="a dynamic range is that of one batch"):
        PerChannelMinMaxObserver(is_dynamic=True)
    with pytest.raises(NotImplementedError, match="averaging_constant must be 1"):
        MovingAverageMinMaxObserver(is_dynamic=True)
    with pytest.raises(NotImplementedError, match="a dynamic range is that of one batch"):
        HistogramObserver(is_dynamic=True)
    with pytest.raises(ValueError, match="bins must be at least 1"):
        HistogramObserver(bins=0)


def test_channels_may_not_change() -> None:
    observer = PerChannelMinMaxObserver()
    observer(np.ones((3, 2)))
    with pytest.raises(ValueError, match="has seen ranges of shape \\(3,\\), one per channel; got \\(4,\\)"):
        observer(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"ch_axis=2 is out of range for data of shape \(4, 2\)"):
        PerChannelMinMaxObserver(ch_axis=2)(np.ones((4, 2)))


def test_factories_add_up_and_compare() -> None:
    once = MinMaxObserver.with_args(dtype=qint8, quant_min=-8, quant_max=7)
    twice = MinMaxObserver.with_args(dtype=qint8).with_args(quant_min=-8, quant_max=7)
    assert once == twice
    assert hash(once) == hash(twice)
    assert once() is not once()
    assert (once().quant_min, once(quant_max=3).quant_max) == (-8, 3)


def test_a_placeholder_has_nothing_to_tell() -> None:
    placeholder = PlaceholderObserver(is_dynamic=True)
    placeholder([1.0])
    with pytest.raises(NotCalibratedError, match="observes nothing"):
        placeholder.calculate_qparams()
