"""The tape: which operation made which array, and the walk back over it.

    x --op--> y --op--> loss            recorded forward: (op, arrays, sources, options) at each result
    dx <-vjp- dy <-vjp- 1               walked backward: each result after all that depend on it

A node keeps arrays, not tensors, so a tensor may change its array and its node in place without disturbing what was
recorded. What a node keeps is dropped as the walk passes, and each gradient as soon as it is used.

Before: `fake_quant`. After: `tensor`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .ops import Array, Op

# A step of training frees its activations, and the next asks for the same sizes. glibc hands freed blocks back to the system
# if they are larger than any it saw freed before (up to 32 MiB), and then a third of a ResNet-8's step is 14,000 page faults
# to get them again. So it shall see one, whose pages are never touched.
np.empty(31 << 20, np.uint8)

Source = Any  # where a gradient goes: a Node, or a leaf, a tensor whose accumulate(gradient) takes it

_clock = itertools.count()
_changed: dict[int, int] = {}  # id of an array that owns its memory -> when it was last changed in place


def changed(array: Array) -> None:
    """Notes that an array was changed in place: a gradient that needs it as it was is an error from now on."""
    _changed[_owner(array)] = next(_clock)


def _owner(array: Array) -> int:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


@dataclass
class Node:
    """How an array was computed: y = op(*arrays, **options). sources: where the gradient of each array goes, if anywhere."""

    op: Op
    arrays: tuple[Array, ...]
    sources: tuple[Source, ...]
    options: dict[str, Any]
    y: Any  # None when it was freed
    born: int = field(default_factory=_clock.__next__)

    def gradients(self, gradient: Array, retain_graph: bool) -> list[tuple[Source, Array]]:
        """The gradients of the sources that have one; forgets what it knew, unless the graph is retained."""
        if _changed and any(_changed.get(_owner(a), -1) > self.born for a in (*self.arrays, self.y)):
            raise RuntimeError(f"the gradient of {self.op.name} needs an array that was changed in place: change a clone")
        parts = self.op.vjp(gradient, self.y, *self.arrays, **self.options)
        found = []
        for source, part, array in zip(self.sources, parts, self.arrays, strict=True):
            if part is not None and source is not None:
                part = sum_to_shape(part() if callable(part) else part, array.shape)
                found.append((source, part if part.dtype == array.dtype else part.astype(array.dtype)))
        if not retain_graph:
            self.arrays, self.sources, self.options, self.y = (), (), {}, None
            self.op = Op(self.op.name, freed, freed)
        return found


def freed(*_: Any) -> Any:
    """Stands for the functions of a node that a walk has passed."""
    raise RuntimeError("this graph was freed by a backward pass; give that one retain_graph=True")


_mode = threading.local()


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return getattr(_mode, "recording", True)


class no_grad:  # noqa: N801  (torch's name)
    """Context manager and decorator: nothing computed inside is recorded.

    >>> x = nq.ones(2, requires_grad=True)
    >>> with nq.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __enter__(self) -> None:
        self._before = is_grad_enabled()
        _mode.recording = False

    def __exit__(self, *_: object) -> None:
        _mode.recording = self._before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def without_recording(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return without_recording


class set_grad_enabled(no_grad):  # noqa: N801  (torch's name)
    """Sets whether operations are recorded, from now on, or up to the end of a `with` block."""

    def __init__(self, mode: bool) -> None:
        self._before, _mode.recording = is_grad_enabled(), mode

    def __enter__(self) -> None:
        """It holds already."""


def walk(root: Source, seed: Array, retain_graph: bool, wanted: Collection[int] = ()) -> dict[int, Array]:
    """Carries the gradient `seed` of `root` back to every leaf; with `wanted`, ids of sources, returns theirs instead."""
    gradients: dict[int, tuple[Array, bool]] = {id(root): (seed, True)}  # and whether others use this memory
    found: dict[int, Array] = {}
    order = _dependencies_first(root)
    while order:
        source = order.pop()
        gradient, shared = gradients.pop(id(source), (None, False))
        if gradient is None:
            continue
        if id(source) in wanted:
            found[id(source)] = gradient
        if isinstance(source, Node):
            for earlier, part in source.gradients(gradient, retain_graph):
                if known := gradients.get(id(earlier)):
                    gradients[id(earlier)] = known[0] + part, False
                else:
                    gradients[id(earlier)] = part, part is gradient or part.base is not None
        elif not wanted:
            source.accumulate(gradient, shared)
    return found


def _dependencies_first(root: Source) -> list[Source]:
    """Everything that root depends on and that wants a gradient, each before all that depend on it. No recursion."""
    order: list[Source] = []
    visited: set[int] = set()
    stack: list[tuple[Source, bool]] = [(root, False)]
    while stack:
        source, finished = stack.pop()
        if finished:
            order.append(source)
        elif id(source) not in visited:
            visited.add(id(source))
            stack.append((source, True))
            if isinstance(source, Node):
                if source.y is None:
                    freed()
                stack.extend((earlier, False) for earlier in source.sources if earlier is not None)
    return order


def sum_to_shape(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sums a gradient over the axes along which a value of `shape` was broadcast.

    >>> sum_to_shape(np.ones((4, 3)), (1, 3))
    array([[4., 4., 4.]])
    """
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, size in enumerate(shape) if size == 1 and gradient.shape[i + extra] != 1))
    return np.asarray(gradient.sum(axis=axes)).reshape(shape)
