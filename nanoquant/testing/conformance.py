"""Does an observer keep the promises of all observers?

`check_observer` takes a factory (a class, or `Class.with_args(...)`), and tries each promise of PROMISES on streams that
hypothesis shrinks to the simplest that breaks it.

Before: `closeness`. After: `quantizers`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import Verbosity, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..affine import fake_quantize_as
from ..observers import NotCalibratedError, Observer
from ..qparams import is_scale
from .strategies import Shape, observer_streams

Factory = Callable[[], Observer]
Stream = list[NDArray[np.float32]]


def falsify(promise: str, examples: int, body: Callable[[Any], None], strategy: st.SearchStrategy[Any]) -> None:
    """Runs `body` on examples; raises the AssertionError of the simplest that fails, headed by the promise's name."""

    def run(example: Any) -> None:
        body(example)

    quiet = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    try:
        quiet(given(strategy)(run))()
    except AssertionError as broken:
        raise AssertionError(f"{promise}: {broken}") from None


def answer(observer: Observer) -> tuple[Any, ...] | None:
    """What calculate_qparams says, in a form that `==` compares bit for bit; None if nothing has been seen."""
    try:
        scale, zero_point = observer.calculate_qparams()
    except NotCalibratedError:
        return None
    return scale.shape, scale.tolist(), zero_point.shape, zero_point.tolist()


def seen(make: Factory, stream: Stream) -> Observer:
    """A new observer that has seen the stream."""
    observer = make()
    for batch in stream:
        observer(batch)
    return observer


def returns_its_input(make: Factory, stream: Stream) -> None:
    """observer(x) is x, unchanged."""
    x = stream[0].copy()
    assert make()(x) is x, "observer(x) must return x itself"
    assert np.array_equal(x, stream[0]), f"observer(x) changed x from {stream[0]} to {x}"


def needs_calibration(make: Factory, stream: Stream) -> None:
    """NotCalibratedError before any data and after reset; instances share nothing."""
    observer = seen(make, stream)
    assert answer(make()) is None, "a new observer must raise NotCalibratedError; another instance has been calibrated"
    observer.reset_min_max_vals()
    assert answer(observer) is None, "after reset_min_max_vals() an observer must raise NotCalibratedError"


def ignores_empty_batches(make: Factory, stream: Stream) -> None:
    """An empty batch changes nothing."""
    observer, empty = seen(make, stream), stream[0][..., :0]
    before = answer(observer)
    observer(empty)
    assert answer(observer) == before, f"a batch of shape {empty.shape} changed {before} to {answer(observer)}"


def refuses_nan_and_infinity(make: Factory, stream: Stream) -> None:
    """NaN and infinity in the data raise ValueError."""
    for bad in (np.nan, np.inf, -np.inf):
        x = stream[0].copy()
        x.flat[0] = bad
        try:
            make()(x)
        except ValueError:
            continue
        raise AssertionError(f"data with {bad} must raise ValueError")


def gives_legal_qparams(make: Factory, stream: Stream) -> None:
    """Scales are positive, normal, finite float32, zero points integers of the range, and so real zero is exact."""
    observer = seen(make, stream)
    scale, zero_point = observer.calculate_qparams()
    assert scale.dtype == np.float32, f"scale must be float32; got {scale.dtype}"
    assert is_scale(scale).all(), f"scale must be positive, normal and finite; got {scale}"
    if not observer.qscheme.float_qparams:
        inside = (zero_point >= observer.quant_min) & (zero_point <= observer.quant_max)
        assert (inside & (zero_point == np.rint(zero_point))).all(), (
            f"zero points must be integers in [{observer.quant_min}, {observer.quant_max}], or real zero is not "
            f"representable; got {zero_point}"
        )


def has_one_scale_each(make: Factory, stream: Stream) -> None:
    """One scale per tensor, channel or group of the data."""
    observer = seen(make, stream)
    shape: Shape = (1,)
    if observer.ch_axis is not None:
        sizes, axis, group = list(stream[0].shape), observer.ch_axis, observer.group_size
        shape = (sizes[axis],)
        if group is not None:
            sizes[axis] //= group
            shape = tuple(sizes)
    got = [np.shape(v) for v in observer.calculate_qparams()]
    assert got == [shape, shape], f"data of shape {stream[0].shape} needs scales of shape {shape}; got {got}"


def bears_constant_data(make: Factory, stream: Stream) -> None:
    """Constant data, zero included, has a legal scale, and is off by at most a step of it."""
    value = stream[0].flat[0]
    constant = [np.full_like(batch, value) for batch in stream]
    gives_legal_qparams(make, constant)
    given_ = seen(make, constant).qparams()
    error, scale = abs(float(fake_quantize_as(constant[0], given_).flat[0]) - float(value)), float(given_.scale.flat[0])
    assert error <= scale, f"constant data {value} is off by {error}, more than the scale {scale}"


def depends_on_the_data_alone(make: Factory, stream: Stream) -> None:
    """The same stream twice gives the same bits."""
    first, second = answer(seen(make, stream)), answer(seen(make, stream))
    assert first == second, f"two observers of one stream say {first} and {second}"


def ignores_order_within_a_batch(make: Factory, stream: Stream) -> None:
    """Elements that share a scale may come in any order."""
    observer, g = seen(make, stream), np.random.default_rng(0)
    axis, group = observer.ch_axis, observer.group_size
    other = make()
    for batch in stream:
        if axis is None:
            rows = batch.reshape(1, -1)
        elif group is None:
            rows = np.moveaxis(batch, axis, 0).reshape(batch.shape[axis], -1)
        else:
            rows = np.moveaxis(batch, axis, -1).reshape(-1, group)
        mixed = rows[:, g.permutation(rows.shape[1])]
        if axis is not None:
            front = 0 if group is None else -1
            mixed = np.moveaxis(mixed.reshape(np.moveaxis(batch, axis, front).shape), front, axis)
        other(mixed.reshape(batch.shape))
    assert answer(other) == answer(observer), f"the order of elements changed {answer(observer)} to {answer(other)}"


def keeps_its_state(make: Factory, stream: Stream) -> None:
    """state_dict and load_state_dict carry everything over: also what comes after is the same."""
    observer, loaded = seen(make, stream), make()
    loaded.load_state_dict(observer.state_dict())
    for moment in ("after loading", "one batch after loading"):
        assert answer(loaded) == answer(observer), f"{moment}: {answer(loaded)}, expected {answer(observer)}"
        for each in (observer, loaded):
            each(stream[0] * np.float32(0.5))


def takes_arguments(make: Factory, stream: Stream) -> None:
    """factory.with_args() makes the same observer."""
    if hasattr(make, "with_args"):
        mine, theirs = answer(seen(make.with_args(), stream)), answer(seen(make, stream))
        assert mine == theirs, f"with_args() made an observer that says {mine}, not {theirs}"


def merges(make: Factory, stream: Stream) -> None:
    """Two observers of a part each, merged, say what one of the whole does (after its second pass, if it wants one)."""
    whole, first, second = make(), make(), make()
    for number, batch in enumerate(stream):
        for observer in (whole, first if number < len(stream) / 2 else second):
            observer.at(number)(batch)
    try:
        first.merge(second)
    except NotImplementedError:
        return
    for observer in (whole, first):
        for number, batch in enumerate(stream if observer.wants_second_pass else ()):
            observer.at(number)(batch)
    assert answer(first) == answer(whole), f"merged, two observers say {answer(first)}; one says {answer(whole)}"


PROMISES: tuple[Callable[[Factory, Stream], None], ...] = (
    returns_its_input,
    needs_calibration,
    ignores_empty_batches,
    refuses_nan_and_infinity,
    gives_legal_qparams,
    has_one_scale_each,
    bears_constant_data,
    depends_on_the_data_alone,
    ignores_order_within_a_batch,
    keeps_its_state,
    takes_arguments,
    merges,
)


def check_observer(factory: Factory, shape: Shape = (4, 8), largest: float = 2.0**100, examples: int = 25) -> None:
    """Tries every promise of PROMISES on an observer; AssertionError names the first that is broken.

    factory: makes a new observer: a class, `Class.with_args(...)`, a function. shape: of the batches; whatever channels
    or groups the observer wants must fit it. largest: their greatest magnitude. examples: streams per promise. `merges`
    is not asked of an observer that does not define `absorb`.

    >>> check_observer(nq.quantization.MinMaxObserver.with_args(dtype=nq.qint4), examples=3)
    """
    streams = observer_streams(shape, largest=largest)
    for promise in PROMISES:
        falsify(promise.__name__, examples, partial(promise, factory), streams)
