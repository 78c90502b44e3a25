"""The numerics profiles: what each engine's arithmetic does between an int32 accumulator and the layer's output.

A quantized layer has integers q_x, q_w with real meaning s_x (q_x - z_x) and s_w (q_w - z_w). Its exact output is

    y = a * acc + bias,     a = s_x * s_w,     acc = sum_k (q_x - z_x) (q_w - z_w)                  (an int32)

Engines agree on that, and differ in how they round it. With every operation rounded to float32 and never contracted:

    8-bit output     form A    q_y = clamp(rint(fma(badd, pre, f32(acc)) * mul) + z_y, quant_min, quant_max)
                     form B    q_y = clamp(rint(((f32(acc) * pre) * mul + badd) * post + z_y), quant_min, quant_max)
                     form C    q_y = clamp(round(acc * multiplier * 2^(shift - 31)) + z_y, quant_min, quant_max)
    float32 output   form D    y = fma(f32(acc), mul, badd)      or      y = (f32(acc) * pre) * mul + badd

              8-bit output: joins acc        badd                                     mul                      form D
    fbgemm    A   -                          bias / a (per tensor: bias, pre 1 / a)   a / s_y                  fused
    qnnpack   A   rint(bias * (1 / a))       0                                        a * (1 / s_y)            two-step
    ort       A   rint(f64(bias) / f64(a))   0                                        a / s_y                  two-step
    onednn    B   -                          bias                                     s_w; see below           two-step
    tflite    C   rint(f64(bias) / f64(a))   multiplier 2^(shift - 31) = f64(s_x) f64(s_w) / f64(s_y)          two-step

(1 / a means f32(1 / a); per channel, a and the rest have one entry per output channel. In form D badd is bias and mul
is a; pre is 1 unless said, and then form A adds badd and no more.) What sets them apart:

- FBGEMM and oneDNN keep the bias in floating point, the others round it to an accumulator unit. With one scale for all
  weights FBGEMM multiplies the bias by 1 / a; its compilers made that and the sum one fused multiply-add.
- oneDNN adds the zero point before rounding. It is handed reciprocals of scales and inverts them again: post = 1 / s_y,
  and in forms B and D pre = 1 / (1 / s_x), mul = s_w; but 1 / (1 / s_w) for linear layers (`twice_inverted`).
- Form C has integers only, and two ways to round: `tflite` twice, as TensorFlow Lite's reference convolution does,
  `tflite_single` once, as its build option TFLITE_SINGLE_ROUNDING does. Neither rounds half to even. TensorFlow Lite
  has no integer layer with float32 output; form D stands in for one. The rounding of its bias is its converter's
  affair; here it is that of ONNX Runtime's quantizer.

A profile is stored in a layer and in its file, so that the numbers a model gives never depend on a setting made later.

Before: `affine`. After: `kernels.reference`, which computes acc.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .qparams import is_scale

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

INT32_MAX = 2**31 - 1


class Profile(Enum):
    """A named arithmetic. The value is the number that csrc/nanoquant.h gives it."""

    fbgemm = 0
    qnnpack = 1
    onednn = 2
    ort = 3
    tflite = 4
    tflite_single = 5

    def __repr__(self) -> str:
        return f"nanoquant.numerics.{self}"


class Form(Enum):
    """What is computed from an accumulator, as drawn at the top of this module."""

    A = "A"
    B = "B"
    C_DOUBLE = "C, rounded twice"
    C_SINGLE = "C, rounded once"
    D_FUSED = "D, fused"
    D_TWO_STEP = "D, two-step"


FORMS_C = (Form.C_DOUBLE, Form.C_SINGLE)
_FORMS = {  # of 8-bit and of float32 outputs
    Profile.fbgemm: (Form.A, Form.D_FUSED),
    Profile.qnnpack: (Form.A, Form.D_TWO_STEP),
    Profile.onednn: (Form.B, Form.D_TWO_STEP),
    Profile.ort: (Form.A, Form.D_TWO_STEP),
    Profile.tflite: (Form.C_DOUBLE, Form.D_TWO_STEP),
    Profile.tflite_single: (Form.C_SINGLE, Form.D_TWO_STEP),
}

# The engines of torch, and the arithmetic each gets here. In torch, x86 mixes FBGEMM's with oneDNN's for most
# convolutions; here x86 computes as FBGEMM does throughout.
ENGINES = {"qnnpack": Profile.qnnpack, "fbgemm": Profile.fbgemm, "x86": Profile.fbgemm, "onednn": Profile.onednn}


@dataclass(frozen=True)
class Epilogue:
    """What happens to the accumulators of one layer; every table has one entry per output channel.

    `bias_q` joins the accumulator; the other tables, `pre` and `post` serve the forms above; `quant_min` and
    `quant_max` are the limits of an 8-bit output with zero point `zero_point`; `relu` is a lower limit at real zero.
    """

    form: Form
    bias_q: Ints
    badd: Floats
    mul: Floats
    multiplier: Ints
    shift: Ints
    pre: Floats
    post: Floats
    zero_point: int = 0
    quant_min: int = 0
    quant_max: int = 255
    relu: bool = False

    def __call__(self, acc: Ints) -> Ints | Floats:
        """Applies the epilogue to accumulators of shape (..., out_channels)."""
        total = (acc + self.bias_q).astype(np.float32)
        lowest = self.zero_point if self.relu else self.quant_min
        if self.form is Form.A:
            total = fma(self.badd, self.pre, total)
            return requantize(total, self.mul, self.zero_point, self.quant_min, self.quant_max, self.relu)
        if self.form in FORMS_C:
            once = self.form is Form.C_SINGLE
            steps = multiply_by_quantized_multiplier(acc + self.bias_q, self.multiplier, self.shift, once)
            return np.asarray(np.clip(steps + self.zero_point, lowest, self.quant_max))
        with np.errstate(over="ignore", under="ignore"):
            fused = self.form is Form.D_FUSED
            y = fma(total, self.mul, self.badd) if fused else (total * self.pre) * self.mul + self.badd
            if self.form is Form.B:
                y = y * self.post + np.float32(self.zero_point)
                return np.rint(np.clip(y, lowest, self.quant_max)).astype(np.int64)
        return np.where(y > 0, y, np.float32(0)) if self.relu else y


def requantize(acc: Floats, mul: Floats, zero_point: int, quant_min: int, quant_max: int, relu: bool = False) -> Ints:
    """Form A: accumulators, converted to float32 and with their bias, to integers of the output.

        q_y = clamp(rint(acc * mul) + zero_point, quant_min, quant_max)

    ReLU raises the lower limit to the zero point. The clamp is taken before rounding, at integers, which is the same
    and never converts a float that no integer can hold.

    >>> requantize(np.float32([5, 6, 1e9]), np.float32(0.5), 10, 0, 255)
    array([ 12,  13, 255])
    """
    lowest = zero_point if relu else quant_min
    with np.errstate(over="ignore"):
        scaled = np.multiply(acc, mul, dtype=np.float32)
    steps: Ints = np.rint(np.clip(scaled, lowest - zero_point, quant_max - zero_point)).astype(np.int64)
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


def twice_inverted(scale: Any) -> Floats:
    """f32(1 / f32(1 / scale)), which for one float32 in six is its neighbour: the scale that oneDNN computes with.

    To invert the result twice changes it no more.

    >>> float(twice_inverted(7.0)), float(twice_inverted(twice_inverted(7.0)))
    (6.999999523162842, 6.999999523162842)
    """
    return np.asarray(1 / np.float32(1 / np.asarray(scale, np.float64)), np.float32)


def quantize_multiplier(real: Any) -> tuple[Ints, Ints]:
    """(multiplier, shift) with real = multiplier * 2^(shift - 31), multiplier in [2^30, 2^31), rounded half up.

    real: positive float64 of any shape. A real of 1 or more has shift > 0.

    Source: TensorFlow Lite, `QuantizeMultiplier`; Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 2.2.

    >>> [int(v) for v in quantize_multiplier(0.75 / 4)], [int(v) for v in quantize_multiplier(6.0)]
    ([1610612736, -2], [1610612736, 3])
    """
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    carried = multiplier >> 31
    return multiplier >> carried, shift + carried


def multiply_by_quantized_multiplier(acc: Any, multiplier: Any, shift: Any, single_rounding: bool) -> Ints:
    """Form C: acc * multiplier * 2^(shift - 31) as an integer; acc any int32, shift in -31..30.

    Rounded once: half up. Rounded twice: acc * 2^shift, if shift > 0, saturates to int32; its product with the
    multiplier is rounded half up, then its shift to the right, if shift < 0, half away from zero. That product's
    rounding can make a half of less: the true value here is 11.4991.

    >>> [int(multiply_by_quantized_multiplier(7984, 1583594044, -9, once)) for once in (True, False)]
    [11, 12]

    Source: TensorFlow Lite, `MultiplyByQuantizedMultiplier`; gemmlowp, `SaturatingRoundingDoublingHighMul` and
    `RoundingDivideByPOT`; the example is TensorFlow's issue 25087.
    """
    acc, multiplier, shift = (np.asarray(v, np.int64) for v in (acc, multiplier, shift))
    if single_rounding:
        return np.asarray((acc * multiplier + (1 << (30 - shift))) >> (31 - shift))
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = (np.clip(acc << left, -INT32_MAX - 1, INT32_MAX) * multiplier + 2**30) >> 31
    return np.asarray(np.sign(high) * ((np.abs(high) + ((1 << right) >> 1)) >> right))


def bind(
    profile: Profile, x_scale: float, w_scale: Floats, bias: Floats | None, magnitude: Ints,
    y_scale: float | None = None, y_zero_point: int = 0, quant_min: int = 0, quant_max: int = 255, relu: bool = False,
) -> Epilogue:  # fmt: skip
    """The epilogue of a layer under a profile; the table at the top of this module, row by row.

    w_scale: shape () per tensor, (out_channels,) per channel. bias: (out_channels,) or None. magnitude[n] =
    sum_k |q_w - z_w| of output channel n. y_scale None asks for a float32 output (form D).

    Raises ValueError, naming the channel, when a scale or a product of scales is not positive, normal and finite,
    when the bias is not finite in accumulator units, when the shift of form C leaves -31..30, and when the accumulator
    could leave int32:

        255 * magnitude[n] + |bias_q[n]| <= 2^31 - 1
    """
    form, channels = _FORMS[profile][y_scale is None], magnitude.shape[0]
    given = np.zeros(channels, np.float32) if bias is None else np.asarray(bias, dtype=np.float32)
    x, y = np.float32(x_scale), np.float32(1 if y_scale is None else y_scale)
    pre = post = np.ones((), np.float32)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        a = np.multiply(x, w_scale, dtype=np.float32)
        units, badd, mul = _tables(profile, a, given, None if y_scale is None else y)
        multiplier, shift = quantize_multiplier(np.multiply(x, w_scale, dtype=np.float64) / np.float64(y))
        if profile is Profile.onednn:
            pre, post = twice_inverted(x), np.asarray(1 / y)
        if profile is Profile.fbgemm and form is Form.A and a.ndim == 0:
            pre = np.asarray(np.float32(1) / a)
        finite = np.isfinite(units) & np.isfinite(badd * pre if form is Form.A else badd)
    in_range = (form not in FORMS_C) | (shift >= -31) & (shift <= 30)
    bias_q = np.rint(units.astype(np.float64))
    worst = 255 * magnitude + np.abs(bias_q)
    _require(is_scale(a), "x_scale * w_scale is not a positive, normal and finite float32", a, channels)
    _require(finite, "the bias is not finite in units of x_scale * w_scale", given, channels)
    _require(is_scale(mul), "x_scale * w_scale / y_scale is not a positive, normal and finite float32", mul, channels)
    _require((form is Form.A) | is_scale(pre), "1 / (1 / x_scale) is not a positive, normal and finite float32", pre, channels)
    _require(is_scale(post), "1 / y_scale is not a positive, normal and finite float32", post, channels)
    _require(in_range, "x_scale * w_scale / y_scale is not in [2^-32, 2^30)", mul, channels)
    _require(worst <= INT32_MAX, ACCUMULATOR_MAY_OVERFLOW, worst, channels)
    factor, each = w_scale if profile is Profile.onednn else mul, (channels,)
    return Epilogue(
        form, bias_q.astype(np.int64), badd, np.broadcast_to(factor, each), np.broadcast_to(multiplier, each),
        np.broadcast_to(shift, each), pre, post, y_zero_point, quant_min, quant_max, relu,
    )  # fmt: skip


def _require(good: Any, problem: str, value: Any, channels: int) -> None:
    """ValueError, naming the first channel that is not good and its value."""
    everywhere = np.broadcast_to(good, (channels,))
    if not everywhere.all():
        first = int(np.argmin(everywhere))
        got = np.broadcast_to(value, (channels,))[first]
        raise ValueError(f"output channel {first}: {problem}; got {got:.10g}")


ACCUMULATOR_MAY_OVERFLOW = (
    "the accumulator may leave int32, since 255 * sum|w - zero_point| + |bias / (x_scale * w_scale)| exceeds 2^31 - 1"
)


def _tables(profile: Profile, a: Floats, bias: Floats, y_scale: np.float32 | None) -> tuple[Any, Floats, Floats]:
    """(bias in accumulator units that joins acc, badd, mul): a row of the table at the top; for oneDNN mul / s_w * a."""
    one, nothing = np.float32(1), np.zeros_like(bias)
    if y_scale is None:
        return nothing, bias, a
    if profile is Profile.fbgemm:
        return nothing, bias / a if a.ndim else bias, a / y_scale
    if profile is Profile.qnnpack:
        return bias * (one / a), nothing, a * (one / y_scale)
    if profile is Profile.onednn:
        return nothing, bias, a / y_scale
    return bias / a.astype(np.float64), nothing, a / y_scale
