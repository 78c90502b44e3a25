"""The numerics profiles: what each engine's arithmetic does between an int32 accumulator and the layer's output.

A quantized layer has integers q_x, q_w with real meaning s_x (q_x - z_x) and s_w (q_w - z_w). Its exact output is

    y = a * acc + bias,     a = s_x * s_w,     acc = sum_k (q_x - z_x) (q_w - z_w)                  (an int32)

Engines agree on that, and differ in how they round it. With every operation rounded to float32 and never contracted:

    form A (8-bit output)    q_y = clamp(rint((f32(acc) + badd) * mul) + z_y, quant_min, quant_max)
    form D (float32 output)  y = fma(f32(acc), mul, badd)      or      y = f32(acc) * mul + badd

              form A: joins acc            badd                                     mul             form D
    fbgemm    -                            bias / a (per tensor: bias * (1 / a))    a / s_y         fused
    qnnpack   rint(bias * (1 / a)) int32   0                                        a * (1 / s_y)   two roundings

(1 / a means f32(1 / a); per channel, a and the rest have one entry per output channel.) FBGEMM keeps the bias in
floating point, QNNPACK rounds it to an accumulator unit. A profile is stored in a layer and in its file, so that the
numbers a model gives never depend on a setting made later.

Before: `affine`. After: `kernels.reference`, which computes acc.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .qparams import is_scale

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

INT32_MAX = 2**31 - 1


class Profile(Enum):
    """A named arithmetic. The value is the number that csrc/nanoquant.h gives it."""

    fbgemm = 0
    qnnpack = 1

    def __repr__(self) -> str:
        return f"nanoquant.numerics.{self}"


# The engines of torch, and the arithmetic each gets here. In torch, x86 mixes FBGEMM's with oneDNN's for most
# convolutions; here x86 and onednn compute as FBGEMM does throughout.
ENGINES = {
    "qnnpack": Profile.qnnpack,
    "fbgemm": Profile.fbgemm,
    "x86": Profile.fbgemm,
    "onednn": Profile.fbgemm,
}


@dataclass(frozen=True)
class Epilogue:
    """What happens to the accumulators of one layer; every table has one entry per output channel.

    `bias_q` joins the accumulator; `badd` and `mul` serve the forms above; `quant_min` and `quant_max` are the limits
    of an 8-bit output with zero point `zero_point`. `float_output` selects form D, `fused` its first kind, `relu` a
    lower limit at real zero.
    """

    bias_q: NDArray[np.int64]
    badd: Floats
    mul: Floats
    zero_point: int = 0
    quant_min: int = 0
    quant_max: int = 255
    relu: bool = False
    float_output: bool = False
    fused: bool = False

    def __call__(self, acc: NDArray[np.int64]) -> NDArray[np.int64] | Floats:
        """Applies the epilogue to accumulators of shape (..., out_channels)."""
        total = (acc + self.bias_q).astype(np.float32)
        if self.float_output:
            y = fma(total, self.mul, self.badd) if self.fused else total * self.mul + self.badd
            return np.where(y > 0, y, np.float32(0)) if self.relu else y
        return requantize(total, self.badd, self.mul, self.zero_point, self.quant_min, self.quant_max, self.relu)


def requantize(
    acc: Floats, badd: Floats, mul: Floats, zero_point: int, quant_min: int, quant_max: int, relu: bool = False
) -> NDArray[np.int64]:
    """Form A: accumulators, converted to float32, to integers of the output.

        q_y = clamp(rint((acc + badd) * mul) + zero_point, quant_min, quant_max)

    ReLU raises the lower limit to the zero point. The clamp is taken before rounding, at integers, which is the same
    and never converts a float that no integer can hold.

    >>> requantize(np.float32([5, 6, 1e9]), np.float32(0), np.float32(0.5), 10, 0, 255)
    array([ 12,  13, 255])
    """
    lowest = zero_point if relu else quant_min
    with np.errstate(over="ignore"):
        scaled = np.multiply(np.add(acc, badd, dtype=np.float32), mul, dtype=np.float32)
    steps: NDArray[np.int64] = np.rint(np.clip(scaled, lowest - zero_point, quant_max - zero_point)).astype(np.int64)
    return steps + zero_point


def fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """a * b + c rounded once to float32, elementwise.

    In float64 the product of two float32 numbers is exact (24 + 24 <= 53 bits). Their sum with c is not; its error,
    which Knuth's two-sum recovers exactly, tells on which side of the rounded sum the true value lies. Rounding to
    float32 now would round twice, so an inexact sum is first moved to its neighbour whose last bit is 1 ("rounding to
    odd"): an odd float64 is never a tie of float32, and lies on the true value's side of every tie.

    Source: Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE Transactions on Computers, 2008.

    >>> a, c = np.float32(1 + 2**-12), np.float32(-1)
    >>> float(fma(a, a, c)) == (1 + 2**-12) ** 2 - 1, float(a * a + c) == (1 + 2**-12) ** 2 - 1
    (True, False)
    """
    product = np.multiply(a, b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    total = np.asarray(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    to_odd = (error != 0) & (bits & 1 == 0)
    towards = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where(to_odd, bits + towards, bits).view(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return odd.astype(np.float32)


def bind(
    profile: Profile,
    x_scale: float,
    w_scale: Floats,
    bias: Floats | None,
    magnitude: NDArray[np.int64],
    y_scale: float | None = None,
    y_zero_point: int = 0,
    quant_min: int = 0,
    quant_max: int = 255,
    relu: bool = False,
) -> Epilogue:
    """The epilogue of a layer under a profile; the table at the top of this module, row by row.

    w_scale: shape () per tensor, (out_channels,) per channel. bias: (out_channels,) or None. magnitude[n] =
    sum_k |q_w - z_w| of output channel n. y_scale None asks for a float32 output (form D).

    Raises ValueError, naming the channel, when a scale or a product of scales is not positive, normal and finite,
    when the bias is not finite in accumulator units, and when the accumulator could leave int32:

        255 * magnitude[n] + |bias_q[n]| <= 2^31 - 1
    """
    channels = magnitude.shape[0]
    given = np.zeros(channels, np.float32) if bias is None else np.asarray(bias, dtype=np.float32)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        a = np.multiply(np.float32(x_scale), w_scale, dtype=np.float32)
        units, badd, mul = _tables(profile, a, given, None if y_scale is None else np.float32(y_scale))
    bias_q = np.rint(units.astype(np.float64))
    worst = 255 * magnitude + np.abs(bias_q)
    for good, problem, value in (
        (is_scale(a), "x_scale * w_scale is not a positive, normal and finite float32", a),
        (np.isfinite(units) & np.isfinite(badd), "the bias is not finite in units of x_scale * w_scale", given),
        (is_scale(mul), "x_scale * w_scale / y_scale is not a positive, normal and finite float32", mul),
        (worst <= INT32_MAX, ACCUMULATOR_MAY_OVERFLOW, worst),
    ):
        everywhere = np.broadcast_to(good, (channels,))
        if not everywhere.all():
            first = int(np.argmin(everywhere))
            got = np.broadcast_to(value, (channels,))[first]
            raise ValueError(f"output channel {first}: {problem}; got {got:.10g}")
    return Epilogue(
        bias_q=bias_q.astype(np.int64),
        badd=badd,
        mul=np.broadcast_to(mul, (channels,)),
        zero_point=y_zero_point,
        quant_min=quant_min,
        quant_max=quant_max,
        relu=relu,
        float_output=y_scale is None,
        fused=profile is Profile.fbgemm,
    )


ACCUMULATOR_MAY_OVERFLOW = (
    "the accumulator may leave int32, since 255 * sum|w - zero_point| + |bias / (x_scale * w_scale)| exceeds 2^31 - 1"
)


def _tables(profile: Profile, a: Floats, bias: Floats, y_scale: np.float32 | None) -> tuple[Floats, Floats, Floats]:
    """(bias in accumulator units that joins acc, badd, mul): a row of the table at the top."""
    one, nothing = np.float32(1), np.zeros_like(bias)
    if y_scale is None:
        return nothing, bias, a
    if profile is Profile.fbgemm:
        return nothing, bias / a if a.ndim else bias * (one / a), a / y_scale
    return bias * (one / a), nothing, a * (one / y_scale)
