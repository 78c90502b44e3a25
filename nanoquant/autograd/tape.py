"""The tape: which operation made which tensor, and the walk back over it.

    x --op--> y --op--> loss            recorded forward: (op, inputs, options) at each result
    dx <-vjp- dy <-vjp- 1               walked backward: each result after all that depend on it

Before: `fake_quant`. After: `shaped`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from .ops import Array, Op


class Recorded(Protocol):
    """What the tape needs to know of a tensor."""

    array: Array
    requires_grad: bool
    node: Node | None

    def accumulate(self, gradient: Array) -> None:
        """Adds to the gradient of a leaf."""


@dataclass
class Node:
    """How a tensor was computed. After the walk the inputs are forgotten, unless the graph is retained."""

    op: Op
    inputs: tuple[Recorded, ...] | None
    options: dict[str, Any]


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _mode.recording = self._before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def without_recording(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return without_recording


def walk(root: Recorded, seed: Array, retain_graph: bool) -> None:
    """Carries the gradient `seed` of `root` back to every leaf that asks for one."""
    gradients: dict[int, Array] = {id(root): seed}
    for tensor in _dependents_first(root):
        gradient = gradients.pop(id(tensor))
        node = tensor.node
        if node is None:
            tensor.accumulate(gradient)
            continue
        assert node.inputs is not None
        parts = node.op.vjp(gradient, tensor.array, *(t.array for t in node.inputs), **node.options)
        for source, part in zip(node.inputs, parts, strict=True):
            if part is not None and source.requires_grad:
                part = sum_to_shape(part, source.array.shape)
                known = gradients.get(id(source))
                gradients[id(source)] = part if known is None else known + part
        if not retain_graph:
            node.inputs = None


def _dependents_first(root: Recorded) -> list[Recorded]:
    """Every tensor that root depends on and that wants a gradient, each after all that depend on it. No recursion."""
    order: list[Recorded] = []
    visited: set[int] = set()
    stack: list[tuple[Recorded, bool]] = [(root, False)]
    while stack:
        tensor, finished = stack.pop()
        if finished:
            order.append(tensor)
        elif id(tensor) not in visited:
            visited.add(id(tensor))
            stack.append((tensor, True))
            if tensor.node is not None:
                if tensor.node.inputs is None:
                    raise RuntimeError("this graph was freed by a backward pass; give that one retain_graph=True")
                stack.extend((source, False) for source in tensor.node.inputs if source.requires_grad)
    return order[::-1]


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
