"""The table of operations: what each computes, and its vjp, the product of the incoming gradient with its Jacobian.

A row is Op(name, forward, vjp). With y = forward(*inputs) and g the gradient of y, vjp(g, y, *inputs) returns the
gradients of the inputs. These are functions on arrays, which know nothing of tensors. Convolution, pooling and batch
normalization are rows too, but need more than a line each: they live in `nanoquant.nn`.

Before: `affine`. After: `fake_quant`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None
Number = bool | int | float


@dataclass(frozen=True)
class Op:
    """One differentiable operation.

    forward(*arrays, **options) -> y. vjp(g, y, *arrays, **options) -> one gradient, or None, for each input. An input
    that was broadcast has its gradient summed back to its shape by `tape`.
    """

    name: str
    forward: Callable[..., Array]
    vjp: Callable[..., tuple[Array | None, ...]]


def _expand(g: Array, like: Array, axis: Axis, keepdims: bool) -> Array:
    """Gives a reduced gradient its axes back."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, like.shape)


def _count(x: Array, axis: Axis) -> int:
    return int(np.prod([x.shape[a] for a in ((axis,) if isinstance(axis, int) else axis or range(x.ndim))]))


def _extreme_vjp(g: Array, y: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
    """The gradient goes to the elements equal to the extreme, in equal shares."""
    hit = x == _expand(y, x, axis, keepdims)
    return (_expand(g, x, axis, keepdims) * hit / hit.sum(axis=axis, keepdims=True),)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def _log_softmax(x: Array, axis: int = -1) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _matmul_vjp(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    if a.ndim == 1 or b.ndim == 1:
        raise NotImplementedError(
            "the gradient of matmul needs both operands to have at least two axes: reshape the vector"
        )
    return g @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ g


def _getitem_vjp(g: Array, y: Array, x: Array, index: Any = None) -> tuple[Array]:
    dx = np.zeros_like(x)
    np.add.at(dx, index, g)  # an element may have been picked more than once
    return (dx,)


def _concatenate(*parts: Array, axis: int = 0) -> Array:
    return np.concatenate(parts, axis)


def _concatenate_vjp(g: Array, y: Array, *parts: Array, axis: int = 0) -> tuple[Array, ...]:
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return tuple(np.split(g, ends, axis))


ROWS: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    # ---- elementwise, two operands
    ("add", np.add, lambda g, y, a, b: (g, g)),
    ("sub", np.subtract, lambda g, y, a, b: (g, -g)),
    ("mul", np.multiply, lambda g, y, a, b: (g * b, g * a)),
    ("div", np.true_divide, lambda g, y, a, b: (g / b, -g * y / b)),
    ("maximum", np.maximum, lambda g, y, a, b: (g * (a >= b), g * (b > a))),
    # ---- elementwise, one operand
    ("clone", np.copy, lambda g, y, x: (g,)),
    ("neg", np.negative, lambda g, y, x: (-g,)),
    ("pow", lambda x, p=1: x**p, lambda g, y, x, p=1: (g * p * x ** (p - 1),)),
    ("exp", np.exp, lambda g, y, x: (g * y,)),
    ("log", np.log, lambda g, y, x: (g / x,)),
    ("sqrt", np.sqrt, lambda g, y, x: (g / (2 * y),)),
    ("abs", np.abs, lambda g, y, x: (g * np.sign(x),)),
    ("relu", lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    ("tanh", np.tanh, lambda g, y, x: (g * (1 - y * y),)),
    ("sigmoid", _sigmoid, lambda g, y, x: (g * y * (1 - y),)),
    ("clamp", lambda x, low=None, high=None: np.clip(x, low, high),
     lambda g, y, x, low=None, high=None: (g * (y == x),)),
    # ---- reductions
    ("sum", lambda x, axis=None, keepdims=False: np.asarray(x.sum(axis, keepdims=keepdims)),
     lambda g, y, x, axis=None, keepdims=False: (_expand(g, x, axis, keepdims),)),
    ("mean", lambda x, axis=None, keepdims=False: np.asarray(x.mean(axis, keepdims=keepdims)),
     lambda g, y, x, axis=None, keepdims=False: (_expand(g, x, axis, keepdims) / x.dtype.type(_count(x, axis)),)),
    ("max", lambda x, axis=None, keepdims=False: np.asarray(x.max(axis, keepdims=keepdims)), _extreme_vjp),
    ("min", lambda x, axis=None, keepdims=False: np.asarray(x.min(axis, keepdims=keepdims)), _extreme_vjp),
    ("log_softmax", _log_softmax,
     lambda g, y, x, axis=-1: (g - np.exp(y) * g.sum(axis=axis, keepdims=True),)),
    # ---- shape
    ("reshape", lambda x, shape=(): x.reshape(shape), lambda g, y, x, shape=(): (g.reshape(x.shape),)),
    ("permute", lambda x, axes=(): x.transpose(axes), lambda g, y, x, axes=(): (g.transpose(np.argsort(axes)),)),
    ("getitem", lambda x, index=None: np.asarray(x[index]), _getitem_vjp),
    ("cat", _concatenate, _concatenate_vjp),
    ("pad", lambda x, width=(): np.pad(x, width),
     lambda g, y, x, width=(): (g[tuple(slice(a, n - b) for (a, b), n in zip(width, g.shape, strict=True))],)),
    # ---- products
    ("matmul", np.matmul, _matmul_vjp),
]  # fmt: skip

OPS = {name: Op(name, forward, vjp) for name, forward, vjp in ROWS}


def constant(value: Any, like: np.dtype[Any] | None) -> Array:
    """The array for a value that meets a tensor of dtype `like`: Python numbers take on its dtype where it can hold them."""
    if isinstance(value, Number) and like is not None and (like.kind == "f" or not isinstance(value, float)):
        return np.asarray(value, dtype=like)
    return np.asarray(value, dtype=np.float32) if isinstance(value, float) else np.asarray(value)
