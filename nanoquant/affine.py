"""The definition: how a float becomes an integer and what the integer means.

    quantize     q = clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max)
    dequantize   x = scale * (q - zero_point)

Every operation is rounded to float32 and `rint` rounds half to even. Two choices are part of the definition: x is
multiplied by the reciprocal of the scale, not divided by it, and the zero point is added *after* rounding (so that a
shift of the integers shifts the result: ties do not care where zero sits).

These are NumPy functions over arrays; `csrc/` computes the same bits faster.

Before: `qparams`. After: `numerics`, where accumulators become integers again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .qparams import check_scale, check_zero_point
from .scheme import QDType, channel_shape, check_dtype, check_quant_range, quint8


def inverse_scale(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32(1 / scale). It is finite for every normal scale."""
    return np.float32(1) / scale


def round_to_integers(
    x: NDArray[np.float32],
    scale: NDArray[np.float32],
    zero_point: NDArray[np.int64],
    quant_min: int,
    quant_max: int,
) -> NDArray[np.float64]:
    """The integers of `quantize`, as float64: `scale` and `zero_point` must broadcast against x.

    The clamp comes before the addition of the zero point and rounding before both, at integer bounds, so that their
    order does not matter; float64 holds every int32 exactly, and carries infinities to the bounds.
    """
    steps = np.rint(np.multiply(x, inverse_scale(scale), dtype=np.float32)).astype(np.float64)
    shifted: NDArray[np.float64] = np.clip(steps, quant_min - zero_point, quant_max - zero_point) + zero_point
    return shifted


def refuse_nan(x: NDArray[Any]) -> None:
    """Raises ValueError if x holds NaN: no integer stands for it."""
    if np.isnan(x).any():
        raise ValueError(f"cannot quantize NaN: the input of shape {x.shape} holds {np.isnan(x).sum()} of them")


def quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    dtype: QDType = quint8,
    axis: int | None = None,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> NDArray[Any]:
    """Floats to integers.

        q = clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max)

    x: any shape. scale, zero_point: scalars, or vectors along `axis`. Result: dtype.storage, the shape of x.
    Infinities saturate. Raises ValueError on NaN, on a scale that is not positive, normal and finite, and on a zero
    point outside the integer range.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018, equation 1.

    >>> quantize([-1.0, 0.0, 0.3, 9.0], scale=0.1, zero_point=10)
    array([  0,  10,  13, 100], dtype=uint8)
    """
    check_dtype(dtype)
    low, high = check_quant_range(dtype, quant_min, quant_max)
    values = np.asarray(x, dtype=np.float32)
    refuse_nan(values)
    factor, offset = _broadcastable(check_scale(scale), check_zero_point(zero_point, low, high), values.ndim, axis)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(round_to_integers(values, factor, offset, low, high).astype(dtype.storage))


def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, axis: int | None = None) -> NDArray[np.float32]:
    """Integers to the floats they mean.

        x = scale * (q - zero_point)

    q: integers of any shape. scale, zero_point: scalars, or vectors along `axis`. Result: float32. The difference is
    exact; converting it to float32 rounds beyond 2^24 only (qint32).

    >>> dequantize([0, 10, 13], scale=0.5, zero_point=10)
    array([-5. ,  0. ,  1.5], dtype=float32)
    """
    integers = np.asarray(q, dtype=np.int64)
    offset = np.asarray(zero_point)
    factor, shift = _broadcastable(check_scale(scale), offset.astype(np.int64), integers.ndim, axis)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(factor * (integers - shift).astype(np.float32))


def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    quant_min: int,
    quant_max: int,
    axis: int | None = None,
) -> NDArray[np.float32]:
    """The float that quantization would make of x: dequantize(quantize(x)), without storing the integer.

        y = scale * (clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max) - zero_point)

    >>> fake_quantize([0.26, -7.0], scale=0.5, zero_point=0, quant_min=-8, quant_max=7)
    array([ 0.5, -4. ], dtype=float32)
    """
    values = np.asarray(x, dtype=np.float32)
    factor, offset = _broadcastable(
        check_scale(scale), check_zero_point(zero_point, quant_min, quant_max), values.ndim, axis
    )
    with np.errstate(over="ignore", under="ignore"):
        integers = round_to_integers(values, factor, offset, quant_min, quant_max)
        return np.asarray(factor * (integers - offset).astype(np.float32))


def _broadcastable(
    scale: NDArray[np.float32], zero_point: NDArray[np.int64], ndim: int, axis: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Shapes per-channel vectors along `axis`; scalars stay as they are."""
    if axis is None:
        if scale.ndim or zero_point.ndim:
            raise ValueError(f"scale of shape {scale.shape} needs an axis: which one do its entries belong to?")
        return scale, zero_point
    shape = channel_shape(ndim, axis)
    return scale.reshape(shape), zero_point.reshape(shape)
