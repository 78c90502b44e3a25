"""Models side by side: what they score, weigh and take.

Before: `profile`. After: `nanoquant.io`.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...autograd.tape import no_grad
from ...module import Module
from ...progress import progress
from .profile import median_seconds

Metric = Callable[[Any, Any], float]


def top1(output: Any, target: Any) -> float:
    """The share of rows whose largest entry is where the target says."""
    return float((np.asarray(output).argmax(axis=-1) == np.asarray(target)).mean())


def evaluate(model: Module, loader: Iterable[Any], metric: Metric = top1) -> float:
    """The mean over all samples of metric(output, target), of (input, target) batches; by default, top-1 accuracy.

    At a terminal a progress bar shows how far it is. Raises ValueError for a loader without batches.

    >>> from nanoquant import nn
    >>> batches = [(nq.tensor([[1.0, 0.0], [0.0, 2.0]]), nq.tensor([0, 1])), (nq.tensor([[3.0, 0.0]]), nq.tensor([1]))]
    >>> round(evaluate(nn.Identity(), batches), 4)
    0.6667
    """
    total, count = 0.0, 0
    with no_grad():
        for x, target in progress(loader, "evaluate", len(loader) if isinstance(loader, Sized) else None):
            total += metric(model(x), target) * len(target)
            count += len(target)
    if not count:
        raise ValueError("evaluate needs at least one batch; the loader gave none")
    return total / count


@dataclass(frozen=True)
class Comparison:
    """A row for each model: its score, bytes of state, milliseconds for x, and the most memory that a call allocated."""

    rows: dict[str, tuple[float, int, float, int]]
    columns = ("score", "bytes", "ms", "peak bytes")

    def panels(self) -> dict[str, dict[str, float]]:
        """Columns by name, as `viz.bars` draws them."""
        return {title: {name: row[i] for name, row in self.rows.items()} for i, title in enumerate(self.columns)}

    def __str__(self) -> str:
        width = max(len(name) for name in self.rows)
        lines = [f"{'':{width}}  {'score':>8}  {'bytes':>11}  {'ms':>9}  {'peak bytes':>11}"]
        for name, (score, size, ms, peak) in self.rows.items():
            lines.append(f"{name:{width}}  {score:8.4f}  {size:11,}  {ms:9.3f}  {peak:11,}")
        return "\n".join(lines)


def compare(models: Mapping[str, Module], loader: Iterable[Any], x: Any, metric: Metric = top1, rounds: int = 20) -> Comparison:
    """Evaluates models on a loader and times them on x, in turns. The loader is read once for each model, so that an iterator is
    a TypeError. `viz.bars(found.panels(), formats)` draws the result.

    >>> from nanoquant import nn, quantization
    >>> model = nn.Sequential(nn.Linear(8, 4))
    >>> data = [(nq.ones(2, 8), nq.tensor([0, 1]))]
    >>> found = compare({"float": model, "int8": quantization.quantize_dynamic(model)}, data, nq.ones(1, 8), rounds=2)
    >>> [row[1] for row in found.rows.values()]
    [144, 60]
    """
    if isinstance(loader, Iterator):
        raise TypeError("compare reads the loader once for each model: give a list or a DataLoader; got an iterator")
    with no_grad():
        seconds = median_seconds(list(models.values()), x, rounds)
        peaks = [_peak_bytes(model, x) for model in models.values()]
    rows = {}
    for (name, model), time, peak in zip(models.items(), seconds, peaks, strict=True):
        size = sum(np.asarray(value).nbytes for value in model.state_dict().values())
        rows[name] = evaluate(model, loader, metric), size, 1e3 * time, peak
    return Comparison(rows)


def _peak_bytes(model: Module, x: Any) -> int:
    """The most memory that Python and NumPy held at once for a call, beyond what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        model(x)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
