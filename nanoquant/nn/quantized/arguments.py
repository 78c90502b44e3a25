"""What operators take: checks of their arguments.

Before: `conv`. After: `arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...qtensor import QTensor
from ...scheme import qint8


def check_input(name: str, x: Any) -> QTensor:
    """x, if it is an 8-bit QTensor with one scale."""
    if not isinstance(x, QTensor) or x.qparams.dtype.bits != 8 or x.qparams.axis is not None:
        got = f"{x.dtype.name}, {x.qscheme().name}" if isinstance(x, QTensor) else type(x).__name__
        raise TypeError(f"{name}: the input must be an 8-bit tensor with one scale; got {got}: make one with quantize_per_tensor")
    return x


def check_weight(name: str, weight: Any, ndim: int, axis: int = 0) -> QTensor:
    """weight, if it is a qint8 QTensor with `ndim` axes, per tensor or per channel on `axis`."""
    if not isinstance(weight, QTensor) or weight.dtype != qint8 or weight.ndim != ndim or weight.qparams.axis not in (None, axis):
        got = type(weight).__name__
        if isinstance(weight, QTensor):
            got = f"{weight.dtype.name} of shape {weight.shape}, per {weight.qparams.axis=}"
        raise TypeError(
            f"{name}: weight must be a qint8 tensor with {ndim} axes, per tensor or per channel on axis {axis}; got {got}: "
            "make one with quantize_per_tensor or quantize_per_channel"
        )
    return weight


def check_axes(name: str, x: QTensor, what: str, *ndims: int) -> None:
    """Raises ValueError unless x has one of these numbers of axes. what: how its shape is written."""
    if x.values.ndim not in ndims:
        raise ValueError(f"{name}: the input must have shape {what}; got {x.shape}")


def floats(values: Any) -> NDArray[np.float32] | None:
    """A float32 array; None stays None."""
    return None if values is None else np.asarray(values, dtype=np.float32, order="C")


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under its public name, for tracebacks and help()."""
    function.__name__ = function.__qualname__ = name
    return function
