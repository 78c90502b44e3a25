"""Sums and lines over rows of channels: what batch normalization takes; float32 in C (csrc/channels.c), float64 in NumPy.

Before: `native`. After: `nanoquant.nn.normalization`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import check, ffi, lib, pointer

Array = NDArray[Any]


def _float(x: Array) -> Any:
    return pointer("float[]", np.ascontiguousarray(x, np.float32))


def channel_sums(p: Array, p_shift: Array, q: Array, q_shift: Array) -> tuple[Array, Array]:
    """(sum p - p_shift, sum (p - p_shift) (q - q_shift)) over the rows; p, q: (rows, channels). Results: float64."""
    if p.dtype != np.float32:
        return (p - p_shift).sum(axis=0), ((p - p_shift) * (q - q_shift)).sum(axis=0)
    rows, channels = p.shape
    sums = np.empty((-(-rows // lib.NQ_SUM_ROWS), 2, channels), np.float32)
    arrays = [_float(x) for x in (p, p_shift, q, q_shift, sums)]
    check(lib.nq_channel_sums(rows, channels, *arrays), "channel_sums")
    total = sums.sum(axis=0, dtype=np.float64)
    return total[0], total[1]


def channel_line(a: Array | None, p: Array | None, b: Array, q: Array, q_shift: Array, c: Array) -> Array:
    """a p + b (q - q_shift) + c, or without its first term; p, q: (rows, channels), the others (channels,)."""
    if q.dtype != np.float32:
        y = b * (q - q_shift) + c
        return np.asarray(y if p is None else a * p + y)
    y = np.empty_like(q)
    arrays = [ffi.NULL if x is None else _float(x) for x in (a, p, b, q, q_shift, c, y)]
    check(lib.nq_channel_line(*q.shape, *arrays), "channel_line")
    return y
