"""QParams of one scale: checked and told to the kernels once, since that takes longer than a small layer.

Before: `kernels`. After: `qtensor`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .kernels import elementwise
from .kernels.elementwise import Operation
from .kernels.grid import Grid
from .kernels.packed import Output
from .qparams import QParams
from .scheme import QDTYPES, QDType, check_dtype


def per_tensor(scale: Any, zero_point: Any, dtype: QDType) -> QParams:
    """QParams of one scale. Those of equal numbers are one object.

    scale, zero_point: numbers, or arrays of one element.

    >>> per_tensor(0.5, 3, nq.quint8) is per_tensor(np.float64([0.5]), 3, nq.quint8)
    True
    """
    if type(scale) is not float or type(zero_point) is not int:
        if np.size(scale) != 1 or np.size(zero_point) != 1:
            raise ValueError(
                f"quantization per tensor takes one scale and one zero_point; got shapes {np.shape(scale)} and "
                f"{np.shape(zero_point)}: use quantize_per_channel with an axis"
            )
        scale, zero_point = np.asarray(scale).item(), np.asarray(zero_point).item()
    return _per_tensor(scale, zero_point, check_dtype(dtype).name)


@lru_cache(maxsize=1024)
def _per_tensor(scale: float, zero_point: int, dtype: str) -> QParams:
    return QParams(np.asarray(scale), np.asarray(zero_point), QDTYPES[dtype])


@lru_cache(maxsize=1024)
def grid(qparams: QParams) -> Grid:
    """What an input's integers mean, in the kernels' words."""
    return Grid(float(qparams.scale), int(qparams.zero_point), qparams.dtype.storage)


@lru_cache(maxsize=1024)
def wanted(qparams: QParams, relu: bool = False) -> Output:
    """What a layer's output shall be, in the kernels' words."""
    return Output(*grid(qparams), relu, *qparams.limits)


@lru_cache(maxsize=1024)
def operation(what: str, x: QParams, y: QParams, relu: bool = False, other: QParams | None = None) -> Operation:
    """What turns x's integers, and those of `other`, into y's."""
    b, y_grid = None if other is None else grid(other), grid(y)
    return elementwise.operation(what, grid(x), b, y_grid, y_grid.relu if relu else None)
