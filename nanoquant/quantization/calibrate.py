"""Calibration over workers: the batches of a data set, dealt out and observed with the same result as one pass.

    batches 0-7 --> worker: copy of the model --> states of its observers --+
    batches 8-15 -> worker: copy of the model --> states of its observers --+-- merge --> the model's observers
    ...

Before: `stubs`. After: `mappings`.
"""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import Any

import numpy as np

from ..module import Module
from ..observers import NoopObserver, Observer

States = dict[str, dict[str, Any]]
Numbered = list[tuple[int, Any]]

CHUNK = 8  # batches in a worker's task
IN_FLIGHT = 16  # tasks that wait or run at a time: what bounds the memory


class CalibrationWarning(UserWarning):
    """Calibration data that will not give useful ranges."""


def calibrate(model: Module, batches: Iterable[Any], executor: Executor | None = None) -> Module:
    """Runs batches through a prepared model (or an observer), here or on the workers of an executor; returns the model.

    batches: inputs, or tuples of inputs; with an executor they are numbered, pickled and sent off, a few at a time, and
    the observers' states come back as arrays: threads, processes, Dask's and MPI's executors serve alike. The ranges are
    the same for every number of workers. Observers that depend on what came before (`HistogramObserver`) take two
    passes, so `batches` must then be iterable twice: a list or a data set, not a generator.

    Warns when the first input looks like uniform noise: ranges of random data fit no real data.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from nanoquant.quantization import HistogramObserver
    >>> batches = [np.random.default_rng(i).standard_normal(1000) for i in range(20)]
    >>> alone = calibrate(HistogramObserver(), batches)
    >>> with ThreadPoolExecutor(3) as pool:
    ...     together = calibrate(HistogramObserver(), batches, pool)
    >>> alone.calculate_qparams() == together.calculate_qparams()
    True
    """
    observers = _observers(model)
    if not observers:
        raise ValueError("calibrate: this model has no observers: call prepare(model) first")
    if executor is None:
        for number, batch in enumerate(batches):
            _run(model, batch, number)
        return model
    for states in _passed(model, batches, executor):
        _merge(observers, states)
    if any(o.wants_second_pass for o in observers.values()):
        if isinstance(batches, Iterator):
            raise ValueError("calibrate: this model's observers take two passes: give batches as a list, not an iterator")
        for states in _passed(model, batches, executor):
            _merge({path: o for path, o in observers.items() if o.wants_second_pass}, states)
    return model


def _observers(model: Module) -> dict[str, Observer]:
    return {path: module for path, module in model.named_modules() if isinstance(module, Observer)}


def _passed(model: Module, batches: Iterable[Any], executor: Executor) -> Iterator[States]:
    """The states of all tasks over the batches, in order, with a bounded number in flight."""
    numbered, running = iter(enumerate(batches)), deque[Any]()
    blank = copy.deepcopy(model)
    second = any(o.wants_second_pass for o in _observers(model).values())
    while task := list(islice(numbered, CHUNK)):
        running.append(executor.submit(_task, blank, task, second))
        if len(running) >= IN_FLIGHT:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _task(model: Module, batches: Numbered, second: bool) -> States:
    """What a worker does: runs its batches through a copy of the model. In a second pass, finished observers rest."""
    model = copy.deepcopy(model)
    for path, observer in _observers(model).items():
        if not second:
            observer.reset_min_max_vals()
        elif not observer.wants_second_pass and path:
            owner, _, name = path.rpartition(".")
            setattr(model.get_submodule(owner), name, NoopObserver())
    for number, batch in batches:
        for observer in _observers(model).values():
            observer.at(number)
        _run(model, batch, number)
    return {path: dict(observer.state_dict()) for path, observer in _observers(model).items()}


def _run(model: Module, batch: Any, number: int) -> None:
    inputs = batch if isinstance(batch, tuple) else (batch,)
    if number == 0:
        warn_of_noise(inputs[0])
    model(*inputs)


def _merge(observers: dict[str, Observer], states: States) -> None:
    for path, observer in observers.items():
        seen = copy.deepcopy(observer)
        seen.load_state_dict(states[path])
        observer.merge(seen)


def warn_of_noise(x: Any, sample: int = 4096) -> None:
    """Warns when x looks like draws from a uniform distribution, as `rand` gives for want of data.

    The test is Kolmogorov's: the largest distance between the sorted values and a straight line stays below
    1.36 / sqrt(n) for 95 % of uniform samples, and never for the likes of images, sounds or sentences. Values that
    repeat (pixels, token numbers) are not judged.
    """
    values = np.asarray(x, dtype=np.float32).reshape(-1)
    values = np.sort(values[:: max(1, values.size // sample)]).astype(np.float64)
    if values.size < 256 or np.unique(values).size < 0.9 * values.size:
        return
    line = np.linspace(values[0], values[-1], values.size)
    if np.abs(values - line).max() < 1.36 / np.sqrt(values.size) * (values[-1] - values[0]):
        warnings.warn(
            f"the calibration data look like uniform noise in [{values[0]:.4g}, {values[-1]:.4g}]: ranges chosen on random "
            "data do not fit real data; calibrate with a few hundred real inputs",
            CalibrationWarning,
            stacklevel=3,
        )
