"""Sums, products and concatenations of tensors on different grids.

>>> a = nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8)
>>> add(a, a, 0.25, 30).int_repr(), mul_relu(a, a, 0.25, 30).int_repr()
(tensor([38, 14], dtype=uint8), tensor([34, 46], dtype=uint8))

Before: `convolution`. After: `activation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels import elementwise
from ...per_tensor import grid, per_tensor
from ...qtensor import QTensor
from .arguments import check_input, in_memory, named, result


def requantize(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """The same reals on another grid: quantize(dequantize(x)). Not an operator of torch's.

    >>> requantize(nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8), 0.25, 30).int_repr()
    tensor([34, 22], dtype=uint8)
    """
    x = check_input("requantize", qx)
    qparams = per_tensor(output_scale, output_zero_point, x.dtype)
    values, order = in_memory(x)
    return result(elementwise.requantize(values, grid(x.qparams), grid(qparams)), order, qparams, x)


def _binary(name: str, run: Callable[..., Any], relu: bool) -> Callable[..., QTensor]:
    def binary(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
        a, b = check_input(name, qa), check_input(name, qb)
        if a.qparams.dtype is not b.qparams.dtype and a.dtype != b.dtype:
            raise TypeError(f"{name}: both inputs must have one dtype; got {a.dtype.name} and {b.dtype.name}")
        if a.values.shape != b.values.shape:
            try:
                arrays = np.broadcast_arrays(a.values, b.values)
            except ValueError:
                raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
            a, b = (q.with_values(values) for q, values in zip((a, b), arrays, strict=True))
        qparams = per_tensor(scale, zero_point, a.qparams.dtype)
        y_grid = grid(qparams)
        x, order = in_memory(a)
        other = np.asarray(b.values, order="C") if order is None else b.channels_last()
        y = run(x, grid(a.qparams), other, grid(b.qparams), y_grid, y_grid.relu if relu else None)
        return result(y, order, qparams, a)

    binary.__doc__ = (
        f"The {'sum' if run is elementwise.add else 'product'}{', at least zero,' * relu} of what two tensors mean; shapes "
        f"broadcast. Source: `kernels.pointwise.{name.removesuffix('_relu')}`."
    )
    return named(name, binary)


add, add_relu = _binary("add", elementwise.add, False), _binary("add_relu", elementwise.add, True)
mul, mul_relu = _binary("mul", elementwise.mul, False), _binary("mul_relu", elementwise.mul, True)


def cat(qx: Sequence[QTensor], dim: int = 0, scale: float | None = None, zero_point: int | None = None) -> QTensor:
    """Tensors one after the other along an axis, each requantized to one scale; the first one's, if None.

    >>> a, b = (nq.quantize_per_tensor([1.0], scale, 0, nq.quint8) for scale in (0.5, 0.25))
    >>> cat([a, b], 0, 0.125, 1).int_repr()
    tensor([9, 9], dtype=uint8)
    """
    return _cat("cat", qx, dim, scale, zero_point, False)


def cat_relu(qx: Sequence[QTensor], dim: int = 0, scale: float | None = None, zero_point: int | None = None) -> QTensor:
    """`cat`, and integers below the zero point raised to it."""
    return _cat("cat_relu", qx, dim, scale, zero_point, True)


def _cat(
    name: str, qx: Sequence[QTensor], dim: int, scale: float | None, zero_point: int | None, relu: bool
) -> QTensor:
    parts = [check_input(name, x) for x in qx]
    if not parts:
        raise ValueError(f"{name}: give at least one tensor")
    first, axis = parts[0], dim % max(parts[0].ndim, 1)
    for part in parts:
        fits = part.shape[:axis] == first.shape[:axis] and part.shape[axis + 1 :] == first.shape[axis + 1 :]
        if part.dtype != first.dtype or not fits:
            raise ValueError(
                f"{name}: all tensors must have one dtype and the same sizes but on axis {axis}; "
                f"got {', '.join(f'{p.dtype.name} {p.shape}' for p in parts)}"
            )
    qparams = per_tensor(
        first.qparams.scale if scale is None else scale,
        first.qparams.zero_point if zero_point is None else zero_point,
        first.dtype,
    )
    arrays, order = [part.values for part in parts], in_memory(first)[1]
    if order is not None:
        arrays, axis = [part.channels_last() for part in parts], order[axis]
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    y = np.empty(shape, first.values.dtype)
    rows, y_grid, start = y.reshape(math.prod(shape[:axis]), -1), grid(qparams), 0
    for part, array in zip(parts, arrays, strict=True):  # each part is a block of columns
        columns = array.size // max(len(rows), 1)
        elementwise.requantize(
            np.asarray(array, order="C").reshape(len(rows), columns), grid(part.qparams), y_grid,
            y_grid.relu if relu else None, rows[:, start : start + columns],
        )  # fmt: skip
        start += columns
    return result(y, order, qparams, first)
