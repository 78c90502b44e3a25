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

from .qparams import QParams
from .scheme import QDType, check_dtype, qint32, quint8


def inverse_scale(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32(1 / scale). It is finite for every normal scale."""
    return np.float32(1) / scale


def round_to_steps(
    x: NDArray[np.float32], scale: NDArray[np.float32], zero_point: NDArray[Any], quant_min: int, quant_max: int
) -> NDArray[Any]:
    """q - zero_point for the q of `quantize`: how many scales each element is worth.

    The clamp comes before the addition of an integer zero point and rounding before both, at integer bounds, so that
    their order does not matter. The steps are float32 where that holds every one of them, else float64; both carry
    infinities to the bounds. A float zero point (`float_qparams`) is added before rounding.
    """
    steps = np.asarray(np.multiply(x, inverse_scale(scale), dtype=np.float32))
    if zero_point.dtype.kind == "f":
        q = np.clip(np.rint(steps + zero_point).astype(np.float64), quant_min, quant_max)
        return np.asarray(q - zero_point)
    np.rint(steps, out=steps)
    if quant_max - quant_min > 1 << 24:
        steps = steps.astype(np.float64)
    low, high = ((end - zero_point).astype(steps.dtype) for end in (quant_min, quant_max))
    return np.asarray(np.clip(steps, low, high, out=steps))


def refuse_nan(x: NDArray[Any]) -> None:
    """Raises ValueError if x holds NaN: no integer stands for it."""
    with np.errstate(invalid="ignore"):
        if x.size and np.isnan(x.min()):
            raise ValueError(f"cannot quantize NaN: the input of shape {x.shape} holds {np.isnan(x).sum()} of them")


def quantize(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: QDType = quint8, axis: int | None = None,
    quant_min: int | None = None, quant_max: int | None = None, group_size: int | None = None,
    float_qparams: bool = False,
) -> NDArray[Any]:  # fmt: skip
    """Floats to integers.

        q = clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max)
        q = clamp(rint(x * (1 / scale) + zero_point), quant_min, quant_max)        with float_qparams

    x: any shape. scale, zero_point: see `QParams`. Result: dtype.storage, the shape of x. Infinities saturate. Raises
    ValueError on NaN, on a scale that is not positive, normal and finite, and on a zero point outside the integer range.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018, equation 1.

    >>> quantize([-1.0, 0.0, 0.3, 9.0], scale=0.1, zero_point=10)
    array([  0,  10,  13, 100], dtype=uint8)
    """
    q = QParams(np.asarray(scale), np.asarray(zero_point), dtype, axis, quant_min, quant_max, group_size, float_qparams)
    return quantize_as(x, q)


def quantize_as(x: ArrayLike, qparams: QParams) -> NDArray[Any]:
    """`quantize`, with the numbers in one value."""
    values = np.asarray(x, dtype=np.float32)
    refuse_nan(values)
    scale, zero_point = qparams.over(values.shape)
    with np.errstate(over="ignore", under="ignore"):
        steps = round_to_steps(values, scale, zero_point, *qparams.limits)
    q = np.rint(steps + zero_point) if qparams.float_qparams else steps.astype(np.int64) + zero_point
    return np.asarray(q).astype(qparams.dtype.storage)


def dequantize(
    q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, axis: int | None = None, group_size: int | None = None,
    float_qparams: bool = False,
) -> NDArray[np.float32]:  # fmt: skip
    """Integers to the floats they mean.

        x = scale * (q - zero_point)

    q: integers of any shape. scale, zero_point: as for `quantize`. Result: float32. The difference is exact; converting
    it to float32 rounds beyond 2^24 only (qint32). With `float_qparams` it is a float32 subtraction.

    >>> dequantize([0, 10, 13], scale=0.5, zero_point=10)
    array([-5. ,  0. ,  1.5], dtype=float32)
    """
    limits = None, None
    return dequantize_as(q, QParams(np.asarray(scale), np.asarray(zero_point), qint32, axis, *limits, group_size, float_qparams))


def dequantize_as(q: ArrayLike, qparams: QParams) -> NDArray[np.float32]:
    """`dequantize`, with the numbers in one value."""
    integers = np.asarray(q, dtype=np.int64)
    scale, zero_point = qparams.over(integers.shape)
    with np.errstate(over="ignore", under="ignore"):
        if qparams.float_qparams:
            return np.asarray(scale * (integers.astype(np.float32) - zero_point))
        return np.asarray(scale * (integers - zero_point).astype(np.float32))


def fake_quantize(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, quant_min: int, quant_max: int, axis: int | None = None
) -> NDArray[np.float32]:  # fmt: skip
    """The float that quantization would make of x: dequantize(quantize(x)), without storing the integer.

        y = scale * (clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max) - zero_point)

    >>> fake_quantize([0.26, -7.0], scale=0.5, zero_point=0, quant_min=-8, quant_max=7)
    array([ 0.5, -4. ], dtype=float32)
    """
    return fake_quantize_as(x, QParams(np.asarray(scale), np.asarray(zero_point), qint32, axis, quant_min, quant_max))


def fake_quantize_as(x: ArrayLike, qparams: QParams) -> NDArray[np.float32]:
    """`fake_quantize`, with the numbers in one value."""
    values = np.asarray(x, dtype=np.float32)
    scale, zero_point = qparams.over(values.shape)
    with np.errstate(over="ignore", under="ignore"):
        steps = round_to_steps(values, scale, zero_point, *qparams.limits).astype(np.float32, copy=False)
        return np.asarray(np.multiply(scale, steps, out=steps))


def pack(q: ArrayLike, dtype: QDType) -> NDArray[np.uint8]:
    """Integers of 2 or 4 bits, several to a byte: the first in the lowest bits, rows of the last axis padded with 0.

    q: (..., n) integers of `dtype`. Result: uint8 (..., ceil(n * bits / 8)).

    >>> pack([1, 2, 15], nq.quint4)
    array([33, 15], dtype=uint8)
    """
    per_byte = _per_byte(dtype)
    values = np.asarray(q).astype(np.int64)
    if values.size and not (dtype.quant_min <= values.min() and values.max() <= dtype.quant_max):
        raise ValueError(f"{dtype.name} holds {dtype.quant_min}..{dtype.quant_max}; got {values.min()}..{values.max()}")
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % per_byte)]
    fields = np.pad(values & ((1 << dtype.bits) - 1), padding)
    fields = fields.reshape(*fields.shape[:-1], -1, per_byte) << (dtype.bits * np.arange(per_byte))
    return np.asarray(fields.sum(axis=-1)).astype(np.uint8)


def unpack(packed: ArrayLike, count: int, dtype: QDType) -> NDArray[Any]:
    """The `count` integers in each row that `pack` packed.

    >>> unpack([33, 15], 3, nq.quint4)
    array([ 1,  2, 15], dtype=uint8)
    """
    per_byte = _per_byte(dtype)
    data = np.asarray(packed, dtype=np.uint8).astype(np.int64)
    if data.shape[-1] != -(-count // per_byte):
        raise ValueError(f"{count} integers of {dtype.name} take {-(-count // per_byte)} bytes; got {data.shape[-1]}")
    fields = (data[..., None] >> (dtype.bits * np.arange(per_byte))) & ((1 << dtype.bits) - 1)
    fields = np.where(fields > dtype.quant_max, fields - (1 << dtype.bits), fields)
    return fields.reshape(*data.shape[:-1], -1)[..., :count].astype(dtype.storage)


def _per_byte(dtype: QDType) -> int:
    if check_dtype(dtype).bits not in (2, 4):
        raise ValueError(f"integers of 2 or 4 bits share a byte; {dtype.name} has {dtype.bits}")
    return 8 // dtype.bits
