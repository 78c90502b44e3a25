"""What was chosen: the scale and zero point of a range.

Two rules exist, and torch uses both: the *observer rule* (observers, fake-quantizers, convert) and the *dynamic rule*
(activations of dynamically quantized layers, whose range is known at run time only). One function each, and nothing
else in nanoquant computes a scale, so that training uses the very scales that convert emits.

What the observer rule makes of special data (quint8 affine, unless said):

    all zeros                    scale 2^-23 (eps), zero point 0      no division by zero, and zero is exact
    constant 2, constant -3      2 / 255 with 0,  3 / 255 with 255    the range reaches to zero; the constant is exact
    qint8 affine on [0, 1]       zero point -128
    qint8 symmetric on [-1, 1]   1 / 127.5: integers -127 .. 127      f32(1 / scale) lies below 127.5, which would be a tie
    quint8 symmetric             zero point 128, integers 1 .. 255; 63 when the range is 0 .. 127
    NaN, infinity                ValueError from the observer; torch takes them in silence
    no data                      NotCalibratedError; torch warns and takes scale 1

Before: `scheme`. After: `affine`, which applies the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .scheme import QDType, QScheme, channel_shape, check_dtype, check_qscheme, check_quant_range, per_tensor_affine, quint8

EPS = float(np.finfo(np.float32).eps)  # 2^-23: torch's smallest observer scale
SMALL_SCALE = np.float32(6.1e-5)  # the dynamic rule's smallest scale
TINY, HUGE = np.finfo(np.float32).tiny, np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class QParams:
    """Scales and zero points, with the integer range they serve.

        real = scale * (q - zero_point),    quant_min <= q <= quant_max

    `scale` (float32) and `zero_point` (int64; float32 with `float_qparams`) have one shape:

        axis    group_size    shape
        None    None          ()                                          one for all
        axis    None          (channels,)                                 one for each index along `axis`
        axis    n             that of x, with x.shape[axis] // n at axis   one for each run of n along `axis`

    Raises ValueError unless every scale is positive, normal and finite and every zero point is an integer of the range
    (any finite float with `float_qparams`).

    >>> QParams(0.5, 128)
    QParams(real = scale * (q - zero_point), scale=0.5, zero_point=128, q in [0, 255], real in [-64, 63.5])
    >>> QParams(1e-39, 0)
    Traceback (most recent call last):
    ValueError: scale must be a positive, normal and finite float32; got 1e-39
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    dtype: QDType = quint8
    axis: int | None = None
    quant_min: int | None = None
    quant_max: int | None = None
    group_size: int | None = None
    float_qparams: bool = False

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        scale = check_scale(self.scale)
        zero_point = check_zero_point(self.zero_point, *self.limits, self.float_qparams)
        if self.axis is None and scale.size == zero_point.size == 1:  # as observers' calculate_qparams gives them
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        if self.group_size is not None and (self.axis is None or self.group_size < 1):
            raise ValueError(f"group_size counts elements along an axis; got group_size={self.group_size}, {self.axis=}")
        fits = scale.ndim > 0 if self.group_size is not None else scale.ndim == (self.axis is not None)
        if not fits or scale.shape != zero_point.shape:
            kind = "scalars per tensor (vectors need an axis)" if self.axis is None else "vectors of one length per channel"
            kind = kind if self.group_size is None else "arrays of one shape per group"
            raise ValueError(
                f"scale and zero_point must be {kind}; got shapes {scale.shape} and {zero_point.shape} with axis={self.axis}"
            )
        for name, value in (("scale", scale), ("zero_point", zero_point)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def limits(self) -> tuple[int, int]:
        """(quant_min, quant_max): as given, or the dtype's."""
        return check_quant_range(self.dtype, self.quant_min, self.quant_max)

    def over(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """(scale, zero_point) in shapes that broadcast against an array of `shape`.

        Raises ValueError when the array has no such axis, or other sizes than the scales.
        """
        if self.axis is None:
            return self.scale, self.zero_point
        ndim = len(shape)
        if self.group_size is None:
            view = channel_shape(ndim, self.axis)
            fits = shape[self.axis] == self.scale.size
            scale, zero_point = self.scale.reshape(view), self.zero_point.reshape(view)
        else:
            fits = self.scale.ndim == ndim and -ndim <= self.axis < ndim
            if fits:
                scale, zero_point = (np.repeat(v, self.group_size, self.axis) for v in (self.scale, self.zero_point))
                fits = scale.shape == shape
        if not fits:
            groups = "" if self.group_size is None else f" for groups of {self.group_size}"
            raise ValueError(
                f"scales of shape {self.scale.shape} on axis {self.axis}{groups} do not fit an array of shape {shape}"
            )
        return scale, zero_point

    def __repr__(self) -> str:
        low, high = self.limits
        if self.axis is None:
            ends = [float(self.scale * np.float32(q - self.zero_point)) for q in (low, high)]
            numbers = f"scale={float(self.scale):.6g}, zero_point={self.zero_point}"
            real = f", real in [{ends[0]:.6g}, {ends[1]:.6g}]"
        else:
            kind = "channels" if self.group_size is None else f"groups of {self.group_size}"
            numbers = f"{self.scale.size} {kind} on axis {self.axis}, scale={self.scale}, zero_point={self.zero_point}"
            real = ""
        return f"QParams(real = scale * (q - zero_point), {numbers}, q in [{low}, {high}]{real})"


def is_scale(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a float32 may be a scale: positive, normal and finite."""
    return np.asarray((values >= TINY) & (values <= HUGE))


def check_scale(scale: ArrayLike) -> NDArray[np.float32]:
    """A float32 copy of `scale`; ValueError names the first entry that is not positive, normal and finite.

    >>> check_scale([0.5, 0.0])
    Traceback (most recent call last):
    ValueError: scale must be a positive, normal and finite float32; got 0.0 for channel 1
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = np.array(scale, dtype=np.float32)
    bad = ~is_scale(values)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        where = f" for channel {first}" if values.ndim else ""
        raise ValueError(
            "scale must be a positive, normal and finite float32; "
            f"got {float(np.asarray(scale, dtype=np.float64).flat[first])}{where}"
        )
    return values


def check_zero_point(zero_point: ArrayLike, quant_min: int, quant_max: int, float_qparams: bool = False) -> NDArray[Any]:
    """An int64 copy of `zero_point`; ValueError names the first entry that is no integer of the range.

    With `float_qparams`: a float32 copy, of finite numbers.

    >>> check_zero_point(256, 0, 255)
    Traceback (most recent call last):
    ValueError: zero_point must be an integer in [0, 255]; got 256
    """
    given = np.asarray(zero_point)
    if float_qparams:
        bad, wanted = ~np.isfinite(given), "finite"
    else:
        bad = ~((given >= quant_min) & (given <= quant_max) & (given.dtype.kind in "iu" or given == np.rint(given)))
        wanted = f"an integer in [{quant_min}, {quant_max}]"
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        where = f" for channel {first}" if given.ndim else ""
        raise ValueError(f"zero_point must be {wanted}; got {given.flat[first]}{where}")
    return np.array(given, dtype=np.float32 if float_qparams else np.int64)


class AbsMaxRule(Enum):
    """What a symmetric scheme divides max|x| by; for qint8:

    half_range      127.5   (quant_max - quant_min) / 2: torch. The ends share the error of the range's odd middle.
    quant_max       127     quant_max - zero_point: TensorRT, TFLite, ONNX. +max|x| is an integer; -128 is left over.
    half_levels     128     (quant_max - quant_min + 1) / 2: -max|x| is an integer; +max|x| saturates.
    """

    half_range = "half_range"
    quant_max = "quant_max"
    half_levels = "half_levels"

    def divisor(self, low: int, high: int, middle: int) -> float:
        """The number, for the integers low..high around the zero point `middle`."""
        return {"half_range": (high - low) / 2, "quant_max": high - middle, "half_levels": (high - low + 1) / 2}[self.name]


def choose_qparams(
    min_val: ArrayLike, max_val: ArrayLike, dtype: QDType = quint8, qscheme: QScheme = per_tensor_affine,
    quant_min: int | None = None, quant_max: int | None = None, eps: float = EPS,
    rule: AbsMaxRule = AbsMaxRule.half_range, power_of_two: bool = False,
) -> tuple[NDArray[np.float32], NDArray[Any]]:  # fmt: skip
    """The observer rule: scale and zero point for the range [min_val, max_val], elementwise.

        lo = min(min_val, 0), hi = max(max_val, 0)                      zero is always representable
        affine:     scale = max((hi - lo) / (quant_max - quant_min), eps)
                    zero_point = min(quant_min - rint(lo / scale), quant_max)      min: for 2^32 steps, which round
        symmetric:  scale = max(max(-lo, hi) / ((quant_max - quant_min) / 2), eps)        divisor: see AbsMaxRule
                    zero_point = 0, or the middle of the range if unsigned (128 for the full quint8)
        float:      scale = (max_val - min_val) / (quant_max - quant_min), 1 where that is at most eps
                    zero_point = -min_val / scale, a float; quant_min = 0   zero need not be representable

    Every operation is rounded to float32; `rint` rounds half to even. So int8 weights use max|w| / 127.5, as in torch.
    `power_of_two` raises a scale to the next power of two, so that rescaling is a shift and nothing is clipped that was
    not clipped before. `min_val` and `max_val` have any one shape; so have the two results (float32; int64 or float32).

    Raises ValueError when a bound is NaN or infinite, or min_val > max_val, and for float zero points of signed integers.

    Source: torch.ao.quantization, `UniformQuantizationObserverBase._calculate_qparams`.

    >>> scale, zero_point = choose_qparams(-1.0, 3.0)
    >>> print(scale, zero_point, choose_qparams(-1.0, 3.0, power_of_two=True)[0])
    0.015686275 64 0.03125
    """
    check_dtype(dtype)
    low, high = _checked_range(min_val, max_val)
    q_low, q_high = check_quant_range(dtype, quant_min, quant_max)
    middle = 0 if dtype.signed else (q_low + q_high) // 2 if quant_min is not None else 1 << (dtype.bits - 1)
    if check_qscheme(qscheme).float_qparams and q_low != 0:
        raise ValueError(f"{qscheme.name} counts from 0: use an unsigned dtype; got {dtype.name} from {q_low}")
    if not qscheme.float_qparams:
        low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    with np.errstate(over="ignore"):
        ratio: NDArray[Any]
        if qscheme.symmetric:
            ratio = np.maximum(-low, high) / np.float32(rule.divisor(q_low, q_high, middle))
        else:
            ratio = (high - low) / np.float32(q_high - q_low)
        least = np.float32(1 if qscheme.float_qparams else eps)  # of a scale that is at most eps
        scale = np.asarray(np.maximum(ratio, least) if least != 1 else np.where(ratio > np.float32(eps), ratio, least))
        scale = next_power_of_two(scale) if power_of_two else scale
    if scale.max(initial=0) > HUGE:
        raise ValueError(f"the range is wider than float32 can hold; got min_val={low}, max_val={high}")
    if qscheme.float_qparams:
        return scale, -low / scale
    if qscheme.symmetric:
        return scale, np.full(scale.shape, middle)
    return scale, np.asarray(np.minimum(q_low - np.rint(low / scale).astype(np.int64), q_high))


def _checked_range(min_val: ArrayLike, max_val: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both as float32, finite and in order."""
    low, high = np.asarray(min_val, dtype=np.float32), np.asarray(max_val, dtype=np.float32)
    if low.ndim == 0 and -HUGE <= low <= high <= HUGE:  # nearly always
        return low, high
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"the range must be finite; got min_val={low}, max_val={high}")
    if (low > high).any():
        raise ValueError(f"min_val must not exceed max_val; got min_val={low}, max_val={high}")
    return low, high


def next_power_of_two(scale: NDArray[Any]) -> NDArray[np.float32]:
    """The smallest power of two that is at least `scale`: 2^ceil(log2(scale)), exactly."""
    mantissa, exponent = np.frexp(scale)  # scale = mantissa * 2^exponent, 1/2 <= mantissa < 1
    return np.asarray(np.ldexp(np.float32(1), exponent - (mantissa == 0.5)))


def choose_dynamic_qparams(min_val: float, max_val: float, quant_min: int, quant_max: int) -> tuple[float, int]:
    """The dynamic rule: scale and zero point for activations whose range is known at run time only.

        lo = min(min_val, 0), hi = max(max_val, 0)
        scale = (hi - lo) / (quant_max - quant_min)              0.1 for an empty range; at least f32(6.1e-5)
        zero_point = the exact quant_min - lo/scale or quant_max - hi/scale, whichever has the smaller rounding error

    computed in double from float32 bounds (a range stretched to the smallest scale is float32 again), `rint` at the
    end. It differs from the observer rule in its floors and in the choice of the end that the zero point is counted
    from.

    Raises ValueError when a bound is NaN or infinite.

    Source: PyTorch, `quant_utils::ChooseQuantizationParams` (aten/src/ATen/native/quantized/cpu/QuantUtils.h).

    >>> choose_dynamic_qparams(-1.0, 3.0, 0, 255)
    (0.01568627450980392, 64)
    """
    low, high = float(np.float32(min_val)), float(np.float32(max_val))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"the range must be finite; got min_val={min_val}, max_val={max_val}")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (quant_max - quant_min)
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        unusable = np.float32(scale) == 0 or np.isinf(np.float32(1) / np.float32(scale))
    if unusable:
        scale = 0.1
    if scale < float(SMALL_SCALE):
        widest, stretch = float(SMALL_SCALE * np.float32(quant_max - quant_min)), SMALL_SCALE / np.float32(scale)
        if low == 0.0:
            high = widest
        elif high == 0.0:
            low = -widest
        else:
            low, high = float(np.float32(low) * stretch), float(np.float32(high) * stretch)
        scale = float(SMALL_SCALE)
    from_min, from_max = quant_min - low / scale, quant_max - high / scale
    error_min = abs(quant_min) - abs(low / scale)
    error_max = abs(quant_max) - abs(high / scale)
    zero_point = from_min if error_min < error_max else from_max
    return scale, int(np.clip(np.rint(zero_point), quant_min, quant_max))
