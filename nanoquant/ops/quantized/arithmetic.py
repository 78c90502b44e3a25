"""Sums, products and concatenations of tensors on different grids.

>>> a = nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8)
>>> add(a, a, 0.25, 30).int_repr(), mul_relu(a, a, 0.25, 30).int_repr()
(tensor([38, 14], dtype=uint8), tensor([34, 46], dtype=uint8))

Before: `convolution`. After: `activation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...kernels import elementwise
from ...per_tensor import operation, per_tensor
from ...qtensor import QTensor
from .arguments import check_input, named


def requantize(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """The same reals on another grid: quantize(dequantize(x)). Not an operator of torch's.

    >>> requantize(nq.quantize_per_tensor([1.0, -2.0], 0.5, 10, nq.quint8), 0.25, 30).int_repr()
    tensor([34, 22], dtype=uint8)
    """
    x = check_input("requantize", qx)
    qparams = per_tensor(output_scale, output_zero_point, x.dtype)
    return x.pointwise(operation("requantize", x.qparams, qparams), qparams)


def _binary(name: str, relu: bool = False) -> Callable[..., QTensor]:
    what = name.removesuffix("_relu")

    def binary(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
        a, b = check_input(name, qa), check_input(name, qb)
        if a.values.dtype != b.values.dtype:
            raise TypeError(f"{name}: both inputs must have one dtype; got {a.dtype.name} and {b.dtype.name}")
        if a.values.shape != b.values.shape:
            try:
                arrays = np.broadcast_arrays(a.values, b.values)
            except ValueError:
                raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
            a, b = (q.with_values(values) for q, values in zip((a, b), arrays, strict=True))
        qparams = per_tensor(scale, zero_point, a.qparams.dtype)
        return a.pointwise(operation(what, a.qparams, qparams, relu, b.qparams), qparams, b)

    binary.__doc__ = (
        f"The {'sum' if what == 'add' else 'product'}{', at least zero,' * relu} of what two tensors mean; shapes "
        f"broadcast. Source: `kernels.pointwise.{what}`."
    )
    return named(name, binary)


add, add_relu = _binary("add"), _binary("add_relu", relu=True)
mul, mul_relu = _binary("mul"), _binary("mul_relu", relu=True)


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
    first = parts[0]
    axis = dim % max(first.values.ndim, 1)
    for part in parts:
        if part.values.dtype != first.values.dtype or not _alike(part.values.shape, first.values.shape, axis):
            raise ValueError(
                f"{name}: all tensors must have one dtype and the same sizes but on axis {axis}; "
                f"got {', '.join(f'{p.dtype.name} {p.shape}' for p in parts)}"
            )
    qparams = per_tensor(
        first.q_scale() if scale is None else scale,
        first.q_zero_point() if zero_point is None else zero_point,
        first.qparams.dtype,
    )
    order = first.in_memory()[1]
    if order is None:
        arrays = [np.asarray(part.values, order="C") for part in parts]
    else:
        arrays, axis = [part.channels_last() for part in parts], order[axis]
    shape = list(arrays[0].shape)
    shape[axis] = sum([array.shape[axis] for array in arrays])
    operations = [operation("requantize", part.qparams, qparams, relu) for part in parts]
    y = elementwise.concatenate(operations, arrays, math.prod(shape[:axis])).reshape(shape)
    return QTensor(y if order is None else y.transpose(order), qparams, first.origin)


def _alike(a: tuple[int, ...], b: tuple[int, ...], axis: int) -> bool:
    """Whether two shapes are equal but on an axis."""
    return a == b or (a[:axis] == b[:axis] and a[axis + 1 :] == b[axis + 1 :])
