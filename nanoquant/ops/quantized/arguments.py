"""What operators take: checks of their arguments, and arrays in the order in which they lie in memory.

Before: `nanoquant.nn`. After: `linear`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...qparams import QParams
from ...qtensor import CHANNELS_FIRST, QTensor
from ...scheme import qint8


def check_input(name: str, x: Any) -> QTensor:
    """x, if it is an 8-bit QTensor with one scale."""
    if not isinstance(x, QTensor) or x.qparams.dtype.bits != 8 or x.qparams.axis is not None:
        got = f"{x.dtype.name}, {x.qscheme().name}" if isinstance(x, QTensor) else type(x).__name__
        raise TypeError(
            f"{name}: the input must be an 8-bit tensor with one scale; got {got}: make one with quantize_per_tensor"
        )
    return x


def check_weight(name: str, weight: Any, ndim: int, axis: int = 0) -> QTensor:
    """weight, if it is a qint8 QTensor with `ndim` axes, per tensor or per channel on `axis`."""
    if (
        not isinstance(weight, QTensor)
        or weight.dtype != qint8
        or weight.ndim != ndim
        or weight.qparams.axis not in (None, axis)
    ):
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


def in_memory(x: QTensor) -> tuple[NDArray[Any], tuple[int, ...] | None]:
    """x's integers as they lie in memory, C-contiguous, and the permutation that leads back to x; None for none.

    A copy is made only where neither channels first nor channels last is how they lie.
    """
    values = x.values
    if values.flags.c_contiguous or values.ndim not in CHANNELS_FIRST:
        return np.asarray(values, order="C"), None
    return x.channels_last(), CHANNELS_FIRST[values.ndim]


def result(y: NDArray[Any], order: tuple[int, ...] | None, qparams: QParams, x: QTensor) -> QTensor:
    """y, axes back in logical order, as a QTensor that came from x."""
    return QTensor(y if order is None else y.transpose(order), qparams, x.origin)


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under its public name, for tracebacks and help()."""
    function.__name__ = function.__qualname__ = name
    return function
