"""Sums, products and concatenations of tensors on different grids.

>>> a = nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8)
>>> add(a, a, 0.25, 30).int_repr(), mul_relu(a, a, 0.25, 30).int_repr()
(tensor([38, 14], dtype=uint8), tensor([34, 46], dtype=uint8))

Before: `arguments`. After: `activation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...kernels import elementwise
from ...kernels.elementwise import Concatenation, Shape
from ...kernels.memory import CHANNELS_LAST
from ...kernels.native import requested_isa
from ...per_tensor import grid, operation, per_tensor
from ...qparams import QParams
from ...qtensor import QTensor, computed
from .arguments import check_input, named


def requantize(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """The same reals on another grid: quantize(dequantize(x)). Not an operator of torch's.

    >>> requantize(nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8), 0.25, 30).int_repr()
    tensor([34, 22], dtype=uint8)
    """
    x = check_input("requantize", qx)
    qparams = per_tensor(output_scale, output_zero_point, x.dtype)
    return x.pointwise(operation, qparams, ("requantize", False, None))


def combine(name: str, qa: QTensor, qb: QTensor, qparams: QParams | None, scale: float = 1, zero_point: int = 0) -> QTensor:
    """What `name` ("add", "mul", perhaps with "_relu") makes of two tensors, on the grid of qparams; if None, of the scale."""
    a, b = check_input(name, qa), check_input(name, qb)
    if a.values.dtype != b.values.dtype:
        raise TypeError(f"{name}: both inputs must have one dtype; got {a.dtype.name} and {b.dtype.name}")
    if a.values.shape != b.values.shape:
        try:
            arrays = np.broadcast_arrays(a.values, b.values)
        except ValueError:
            raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
        a, b = (q.with_values(values) for q, values in zip((a, b), arrays, strict=True))
    y = per_tensor(scale, zero_point, a.qparams.dtype) if qparams is None else qparams
    return a.pointwise(operation, y, (name[:3], name.endswith("_relu"), b.qparams), b)


def _binary(name: str) -> Callable[..., QTensor]:
    def binary(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
        return combine(name, qa, qb, None, scale, zero_point)

    what, relu = name[:3], name.endswith("_relu")
    binary.__doc__ = (
        f"The {'sum' if what == 'add' else 'product'}{', at least zero,' * relu} of what two tensors mean; shapes "
        f"broadcast. Source: `kernels.pointwise.{what}`."
    )
    return named(name, binary)


add, add_relu, mul, mul_relu = map(_binary, ("add", "add_relu", "mul", "mul_relu"))


def cat(qx: Sequence[QTensor], dim: int = 0, scale: float | None = None, zero_point: int | None = None) -> QTensor:
    """Tensors one after the other along an axis, each requantized to one scale; the first one's, if None.

    >>> a, b = (nq.quantize_per_tensor([1.0], scale, 0, nq.quint8) for scale in (0.5, 0.25))
    >>> cat([a, b], 0, 0.125, 1).int_repr()
    tensor([9, 9], dtype=uint8)
    """
    return join("cat", qx, dim, scale, zero_point)


def cat_relu(qx: Sequence[QTensor], dim: int = 0, scale: float | None = None, zero_point: int | None = None) -> QTensor:
    """`cat`, and integers below the zero point raised to it."""
    return join("cat_relu", qx, dim, scale, zero_point)


def join(
    name: str, qx: Sequence[QTensor], dim: int, scale: float | None, zero_point: int | None, qparams: QParams | None = None
) -> QTensor:
    """`cat` or `cat_relu`, whose name says which, on the grid of qparams; if None, of scale and zero point."""
    parts = [check_input(name, x) for x in qx]
    if not parts:
        raise ValueError(f"{name}: give at least one tensor")
    first = parts[0]
    if qparams is None:
        qparams = per_tensor(
            first.q_scale() if scale is None else scale,
            first.q_zero_point() if zero_point is None else zero_point,
            first.qparams.dtype,
        )
    order = (first.memory or first.find_memory())[2]
    shapes, given = tuple([part.values.shape for part in parts]), tuple([part.qparams for part in parts])
    call = _concatenation(name, shapes, requested_isa(), given, qparams, dim, order, name == "cat_relu")
    return computed(call, [part.lying(order)[0] for part in parts], order, qparams, first.origin)


@lru_cache(maxsize=256)
def _concatenation(
    name: str, shapes: tuple[Shape, ...], isa: Any, given: tuple[QParams, ...], y: QParams, dim: int,
    order: tuple[int, ...] | None, relu: bool,
) -> Concatenation:  # fmt: skip
    """How to concatenate arrays of these shapes. order: the permutation that leads back to them from memory."""
    del isa  # part of the key
    axis = dim % max(len(shapes[0]), 1)
    for shape, qparams in zip(shapes, given, strict=True):
        if qparams.dtype != given[0].dtype or not _alike(shape, shapes[0], axis):
            raise ValueError(
                f"{name}: all tensors must have one dtype and the same sizes but on axis {axis}; "
                f"got {', '.join(f'{q.dtype.name} {shape}' for shape, q in zip(shapes, given, strict=True))}"
            )
    if order is not None:
        shapes = tuple(tuple(shape[i] for i in CHANNELS_LAST[len(order)]) for shape in shapes)
        axis = order[axis]
    rows, widths = math.prod(shapes[0][:axis]), [math.prod(shape[axis:]) for shape in shapes]
    y_grid = grid(y)
    limits = y_grid.relu if relu else None
    calls = [
        elementwise.operation("requantize", (rows, n), grid(q), None, y_grid, limits) for n, q in zip(widths, given, strict=True)
    ]
    whole = *shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]
    return elementwise.concatenation(calls, whole)


def _alike(a: Shape, b: Shape, axis: int) -> bool:
    """Whether two shapes are equal but on an axis."""
    return a == b or (len(a) == len(b) and a[:axis] == b[:axis] and a[axis + 1 :] == b[axis + 1 :])
