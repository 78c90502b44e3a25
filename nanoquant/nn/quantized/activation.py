"""Functions of one element: tables of 256 entries, and clamps.

A table's entries are correctly rounded (`kernels.tables`), so that every machine gives the same integers.

Before: `arithmetic`. After: `normalization`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...kernels import elementwise, tables
from ...kernels.elementwise import Call
from ...kernels.tables import Function
from ...per_tensor import grid, per_tensor
from ...qparams import QParams
from ...qtensor import QTensor
from .arguments import check_input


def sigmoid(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """y = 1 / (1 + e^-x).

    >>> sigmoid(nq.quantize_per_tensor([-1.0, 0.0, 1.0], 0.1, 100, nq.quint8), 1 / 256, 0).int_repr()
    tensor([ 69, 128, 187], dtype=uint8)
    """
    return _table("sigmoid", qx, tables.sigmoid, output_scale, output_zero_point)


def tanh(qx: QTensor, output_scale: float = 2 / 256, output_zero_point: int | None = None) -> QTensor:
    """y = tanh x. The output's grid is torch.tanh's by default: [-1, 1) in steps of 1/128."""
    middle = 0 if check_input("tanh", qx).dtype.signed else 128
    return _table("tanh", qx, tables.tanh, output_scale, middle if output_zero_point is None else output_zero_point)


def hardsigmoid(qx: QTensor, output_scale: float = 1 / 256, output_zero_point: int | None = None) -> QTensor:
    """y = min(max(x + 3, 0), 6) / 6. The output's grid is torch's by default: [0, 1) in steps of 1/256."""
    least = check_input("hardsigmoid", qx).dtype.quant_min
    zero_point = least if output_zero_point is None else output_zero_point
    return _table("hardsigmoid", qx, tables.hardsigmoid, output_scale, zero_point)


def hardswish(input: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """y = x min(max(x + 3, 0), 6) / 6."""
    return _table("hardswish", input, tables.hardswish, output_scale, output_zero_point)


def leaky_relu(qx: QTensor, negative_slope: float, inplace: bool, output_scale: float, output_zero_point: int) -> QTensor:
    """y = x, below zero negative_slope * x. inplace is accepted and changes nothing."""
    del inplace
    return _table("leaky_relu", qx, tables.leaky_relu, output_scale, output_zero_point, float(negative_slope))


def elu(
    self: QTensor, output_scale: float, output_zero_point: int, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> QTensor:
    """y = scale * x, below zero scale * alpha * (e^(input_scale * x) - 1)."""
    numbers = float(alpha), float(scale), float(input_scale)
    return _table("elu", self, tables.elu, output_scale, output_zero_point, *numbers)


def _table(name: str, qx: QTensor, function: Function, scale: float, zero_point: int, *parameters: float) -> QTensor:
    x = check_input(name, qx)
    return by_table(x, function, per_tensor(scale, zero_point, x.qparams.dtype), *parameters)


def by_table(x: QTensor, function: Function, qparams: QParams, *parameters: float) -> QTensor:
    """A function of `kernels.tables` of each element, on the grid of qparams."""
    return x.pointwise(_lookup, qparams, (function, *parameters))


@lru_cache(maxsize=64)
def _lookup(shape: tuple[int, ...], isa: Any, x: QParams, y: QParams, constants: tuple[Any, ...]) -> Call:
    del isa  # part of the key
    function, *parameters = constants
    return elementwise.looking_up(shape, x.dtype.storage, tables.table(function, grid(x), grid(y), *parameters))


def clamp(qx: QTensor, min: float | None = None, max: float | None = None) -> QTensor:
    """Integers limited to those that `min` and `max` quantize to; the scale stays.

    >>> clamp(nq.quantize_per_tensor([-1.0, 0.3, 9.0], 0.5, 10, nq.quint8), 0.0, 2.0)
    tensor([0. , 0.5, 2. ], size=(3,), dtype=quint8, per_tensor_affine, scale=0.5, zero_point=10)
    """
    return check_input("clamp", qx).clamp(min, max)


def relu6(qx: QTensor, inplace: bool = False) -> QTensor:
    """min(max(x, 0), 6), on the integers; the scale stays. inplace is accepted and changes nothing."""
    del inplace
    return check_input("relu6", qx).clamp(0.0, 6.0)
