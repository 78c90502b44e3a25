"""QParams of one scale: checked and told to the kernels once, since that takes longer than a small layer.

Before: `kernels`. After: `qtensor`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .kernels import elementwise
from .kernels.elementwise import Call, Pooling
from .kernels.grid import Grid
from .kernels.packed import Output
from .kernels.pooling import Windows
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
    return _per_tensor(scale, zero_point, dtype.name if type(dtype) is QDType else check_dtype(dtype).name)


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
def operation(shape: tuple[int, ...], isa: Any, x: QParams, y: QParams, constants: tuple[str, bool, QParams | None]) -> Call:
    """What turns x's integers, and those of another input, into y's, for arrays of this shape.

    isa: `requested_isa()`, part of the key, since a call is for one instruction set. constants: an operation's name,
    whether its result shall be at least zero, and the other input's qparams.
    """
    del isa
    what, relu, other = constants
    b, y_grid = None if other is None else grid(other), grid(y)
    return elementwise.operation(what, shape, grid(x), b, y_grid, y_grid.relu if relu else None)


@lru_cache(maxsize=1024)
def pooling(
    q: QParams, shape: tuple[int, ...], isa: Any, windows: tuple[Any, ...], average: bool,
    include_padding: bool = True, divisor: int | None = None,
) -> Pooling:  # fmt: skip
    """A pool over integers of these qparams, shape (batch, height, width, channels).

    isa: as for `operation`. windows: the class and its arguments, (Adaptive, (1, 1)) say, since making one takes longer
    than finding the call.
    """
    del isa
    made: Windows = windows[0](*windows[1:])
    return elementwise.pooling(grid(q), shape, made, average, include_padding, divisor)


@lru_cache(maxsize=256)
def columns(shape: tuple[int, ...], axes: tuple[Any, ...], keepdim: bool) -> tuple[tuple[int, ...], ...]:
    """A mean over `axes`, (None,) for all, as one of images: how to order the axes, the images' shape, the mean's.

    What is averaged are the rows of a column of pixels; an image's own pixels, if that is what lies in memory.
    """
    ndim = len(shape)
    over = sorted(set(range(ndim) if axes == (None,) else (axis % ndim for axis in axes)))
    kept = [axis for axis in range(ndim) if axis not in over]
    batch = kept[:1] if (ndim, over) == (4, [2, 3]) else []
    rest = kept[len(batch) :]
    images, rows, channels = (math.prod(shape[axis] for axis in group) for group in (batch, over, rest))
    mean = tuple(1 if axis in over else size for axis, size in enumerate(shape) if keepdim or axis not in over)
    return (*batch, *over, *rest), (images, rows, 1, channels), mean
