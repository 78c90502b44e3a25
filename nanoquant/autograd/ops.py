"""The table of operations: what each computes, and its vjp, the product of the incoming gradient with its Jacobian.

A row is Op(name, forward, vjp, doc). With y = forward(*inputs) and g the gradient of y, vjp(g, y, *inputs) returns the
gradients of the inputs. These are functions on arrays, which know nothing of tensors; `tensor` makes methods of them.
Convolution, pooling and batch normalization are rows too, but need more than a line each: they live in `nanoquant.nn`.

Before: `affine`. After: `fake_quant`.
"""

from __future__ import annotations

import math
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

    forward(*arrays, **options) -> y. vjp(g, y, *arrays, **options) -> for each input its gradient, None, or a function that
    computes it if asked. `tape` sums it back to the shape of an input that was broadcast. doc: of Tensor's method.
    """

    name: str
    forward: Callable[..., Array]
    vjp: Callable[..., tuple[Array | Callable[[], Array] | None, ...]]
    doc: str = ""


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


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype if x.dtype.kind == "f" else np.float32)


def _power_vjp(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return g * np.where(b == 0, 0, b * a ** (b - 1)), g * np.where(a == 0, 0, y * np.log(a))


def _larger_vjp(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """The gradient goes to the operand that y is; equal ones share it."""
    return tuple(np.where(a == b, g / 2, np.where(y == x, g, 0)) for x in (a, b))  # type: ignore[return-value]


def _matmul_vjp(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """A vector counts as a matrix of one row, or one column."""
    g = np.expand_dims(g, -1) if b.ndim == 1 else g
    g = np.expand_dims(g, -2) if a.ndim == 1 else g
    da = g @ (b[np.newaxis] if b.ndim == 1 else b.swapaxes(-1, -2))
    db = (a[:, np.newaxis] if a.ndim == 1 else a.swapaxes(-1, -2)) @ g
    return da[..., 0, :] if a.ndim == 1 else da, db[..., 0] if b.ndim == 1 else db


def _getitem_vjp(g: Array, y: Array, x: Array, index: Any = None) -> tuple[Array]:
    dx = np.zeros_like(x)
    if any(isinstance(i, list | np.ndarray) and np.asarray(i).dtype != bool for i in index):
        np.add.at(dx, index, g)  # an element may have been picked more than once
    else:
        dx[index] = g
    return (dx,)


def _setitem(x: Array, value: Array, index: Any = None) -> Array:
    y = x.copy()
    y[index] = value
    return y


def _setitem_vjp(g: Array, y: Array, x: Array, value: Array, index: Any = None) -> tuple[Array, Array]:
    return _setitem(g, np.zeros((), g.dtype), index), np.asarray(g[index])


def _concatenate(*parts: Array, axis: int = 0) -> Array:
    return np.concatenate(parts, axis)


def _concatenate_vjp(g: Array, y: Array, *parts: Array, axis: int = 0) -> tuple[Array, ...]:
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return tuple(np.split(g, ends, axis))


ROWS: list[tuple[str, str, Callable[..., Any], Callable[..., Any]]] = [
    # ---- elementwise, two operands
    ("add", "x + other.", np.add, lambda g, y, a, b: (g, g)),
    ("sub", "x - other.", np.subtract, lambda g, y, a, b: (g, -g)),
    ("mul", "x * other.", np.multiply, lambda g, y, a, b: (g * b, g * a)),
    ("div", "x / other.", np.true_divide, lambda g, y, a, b: (g / b, -g * y / b)),
    ("remainder", "x - other * floor(x / other).", np.remainder, lambda g, y, a, b: (g, -g * np.floor(a / b))),
    ("power", "x to a power that is a tensor, or a number to the power x.", np.power, _power_vjp),
    ("maximum", "The greater of x and other; equal ones share the gradient.", np.maximum, _larger_vjp),
    ("minimum", "The smaller of x and other; equal ones share the gradient.", np.minimum, _larger_vjp),
    # ---- elementwise, one operand
    ("clone", "A copy that stays in the graph.", lambda x: x.copy(), lambda g, y, x: (g,)),
    ("cast", "", lambda x, dtype=None: x.astype(dtype), lambda g, y, x, dtype=None: (g,)),
    ("neg", "-x.", np.negative, lambda g, y, x: (-g,)),
    ("pow", "x to the power p.", lambda x, p=1: x**p, lambda g, y, x, p=1: (g * (p * x ** (p - 1) if p else 0),)),
    ("exp", "e^x.", np.exp, lambda g, y, x: (g * y,)),
    ("log", "Natural logarithm.", np.log, lambda g, y, x: (g / x,)),
    ("log1p", "log(1 + x), exact for small x.", np.log1p, lambda g, y, x: (g / (1 + x),)),
    ("sqrt", "Square root.", np.sqrt, lambda g, y, x: (g / (2 * y),)),
    ("rsqrt", "1 / sqrt(x).", lambda x: 1 / np.sqrt(x), lambda g, y, x: (g * y / (-2 * x),)),
    ("abs", "Absolute value; the gradient at 0 is 0.", np.abs, lambda g, y, x: (g * np.sign(x),)),
    ("sin", "Sine.", np.sin, lambda g, y, x: (g * np.cos(x),)),
    ("cos", "Cosine.", np.cos, lambda g, y, x: (-g * np.sin(x),)),
    ("erf", "2 / sqrt(pi) times the integral of e^-t^2 from 0 to x.", _erf,
     lambda g, y, x: (g * np.exp(-x * x) * (2 / math.sqrt(math.pi)),)),
    ("relu", "max(x, 0); the gradient at 0 is 0.", lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    ("tanh", "Hyperbolic tangent.", np.tanh, lambda g, y, x: (g * (1 - y * y),)),
    ("sigmoid", "1 / (1 + e^-x).", _sigmoid, lambda g, y, x: (g * y * (1 - y),)),
    ("clamp", "Limits to [min, max]; the gradient passes where nothing was changed.",
     lambda x, low=None, high=None: np.clip(x, low, high), lambda g, y, x, low=None, high=None: (g * (y == x),)),
    ("sign", "-1, 0 or 1; the gradient is 0.", np.sign, lambda g, y, x: (np.zeros_like(g),)),
    ("round", "The nearest integer, ties to even; the gradient is 0.", np.rint, lambda g, y, x: (np.zeros_like(g),)),
    ("floor", "The greatest integer that is not above x; the gradient is 0.", np.floor, lambda g, y, x: (np.zeros_like(g),)),
    ("ceil", "The smallest integer that is not below x; the gradient is 0.", np.ceil, lambda g, y, x: (np.zeros_like(g),)),
    ("where", "a where the condition holds, else b.", np.where,
     lambda g, y, c, a, b: (None, np.where(c, g, 0), np.where(c, 0, g))),
    # ---- reductions, over all axes or over `dim`
    ("sum", "Sum over all axes, or over `dim`.",
     lambda x, axis=None, keepdims=False: np.asarray(x.sum(axis, keepdims=keepdims)),
     lambda g, y, x, axis=None, keepdims=False: (_expand(g, x, axis, keepdims),)),
    ("mean", "Mean over all axes, or over `dim`.",
     lambda x, axis=None, keepdims=False: np.asarray(x.mean(axis, keepdims=keepdims)),
     lambda g, y, x, axis=None, keepdims=False: (_expand(g, x, axis, keepdims) / x.dtype.type(_count(x, axis)),)),
    ("max", "The greatest element; equal ones share the gradient.",
     lambda x, axis=None, keepdims=False: np.asarray(x.max(axis, keepdims=keepdims)), _extreme_vjp),
    ("min", "The smallest element; equal ones share the gradient.",
     lambda x, axis=None, keepdims=False: np.asarray(x.min(axis, keepdims=keepdims)), _extreme_vjp),
    ("cumsum", "Sums of the elements up to each, along an axis.", lambda x, axis=0: np.cumsum(x, axis),
     lambda g, y, x, axis=0: (np.flip(np.cumsum(np.flip(g, axis), axis), axis),)),
    ("log_softmax", "log(e^x_i / sum_j e^x_j) along an axis.", _log_softmax,
     lambda g, y, x, axis=-1: (g - np.exp(y) * g.sum(axis=axis, keepdims=True),)),
    # ---- shape
    ("reshape", "", lambda x, shape=(): x.reshape(shape), lambda g, y, x, shape=(): (g.reshape(x.shape),)),
    ("permute", "", lambda x, axes=(): x.transpose(axes), lambda g, y, x, axes=(): (g.transpose(np.argsort(axes)),)),
    ("expand", "", lambda x, shape=(): np.broadcast_to(x, shape), lambda g, y, x, shape=(): (g,)),
    ("getitem", "", lambda x, index=None: np.asarray(x[index]), _getitem_vjp),
    ("setitem", "", _setitem, _setitem_vjp),
    ("cat", "", _concatenate, _concatenate_vjp),
    ("pad", "", lambda x, width=(): np.pad(x, width),
     lambda g, y, x, width=(): (g[tuple(slice(a, n - b) for (a, b), n in zip(width, g.shape, strict=True))],)),
    # ---- products
    ("matmul", "Matrix product over the last two axes; the axes before them are broadcast.", np.matmul, _matmul_vjp),
]  # fmt: skip

OPS = {name: Op(name, forward, vjp, doc) for name, doc, forward, vjp in ROWS}


def constant(value: Any, like: np.dtype[Any] | None) -> Array:
    """The array for a value that meets a tensor of dtype `like`: Python numbers take on its dtype where it can hold them."""
    if isinstance(value, Number) and like is not None and (like.kind == "f" or not isinstance(value, float)):
        return np.asarray(value, dtype=like)
    return np.asarray(value, dtype=np.float32) if isinstance(value, float) else np.asarray(value)
