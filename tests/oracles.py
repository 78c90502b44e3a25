"""Independent answers: exact arithmetic in Python integers and fractions. Shares no code with nanoquant."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

LARGEST = float(2**128 - 2**104)


def float32(value: Fraction) -> np.float32:
    """The float32 nearest to an exact value, ties to the even mantissa.

    A detour over float64 can round twice, so the two neighbours of its result are compared exactly.
    """
    if abs(value) >= 2**128 - 2**103:  # from halfway to 2^128 on
        return np.float32(np.inf if value > 0 else -np.inf)
    guess = np.float32(min(max(float(value), -LARGEST), LARGEST))
    with np.errstate(over="ignore"):
        candidates = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    finite = [c for c in candidates if np.isfinite(c)]
    best = min(abs(Fraction(float(c)) - value) for c in finite)
    nearest = [c for c in finite if abs(Fraction(float(c)) - value) == best]
    return next((c for c in nearest if int(c.view(np.uint32)) % 2 == 0), nearest[0])


def exact(value: Any) -> Fraction:
    """A float as a fraction."""
    return Fraction(float(value))


def product(a: Any, b: Any) -> np.float32:
    """float32(a * b), rounded once."""
    return float32(exact(a) * exact(b))


def quotient(a: Any, b: Any) -> np.float32:
    """float32(a / b), rounded once."""
    return float32(exact(a) / exact(b))


def total(a: Any, b: Any) -> np.float32:
    """float32(a + b), rounded once."""
    return float32(exact(a) + exact(b))


def rint(value: Any) -> int:
    """Round half to even."""
    return round(exact(value))


def clamp(value: int, low: int, high: int) -> int:
    """`value` limited to [low, high]."""
    return max(low, min(high, value))


def quantize(x: float, scale: float, zero_point: int, low: int, high: int) -> int:
    """q = clamp(rint(x * f32(1 / scale)) + zero_point, low, high); infinities saturate."""
    if np.isinf(x):
        return high if x > 0 else low
    steps = product(x, quotient(1, np.float32(scale)))
    if np.isinf(steps):
        return high if steps > 0 else low
    return clamp(rint(steps) + zero_point, low, high)


def quantize_adding_first(x: float, scale: float, zero_point: int, low: int, high: int) -> int:
    """What torch 2.13's quantize_per_tensor does on x86: the zero point is added before rounding, by a fused multiply-add."""
    return clamp(rint(float32(exact(x) * exact(quotient(1, np.float32(scale))) + zero_point)), low, high)


def convolve(
    x: np.ndarray, x_zero: int, w: np.ndarray, w_zero: np.ndarray, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    """Accumulators by the definition, in Python integers. x: (batch, height, width, channels)."""
    batch, height, width, _ = x.shape
    outputs, inputs, kernel_height, kernel_width = w.shape
    rows = (height + 2 * padding[0] - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    columns = (width + 2 * padding[1] - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    acc = np.zeros((batch, rows, columns, outputs), dtype=object)
    for n, y, z, o in np.ndindex(acc.shape):
        first = o // (outputs // groups) * inputs
        for c, i, j in np.ndindex(inputs, kernel_height, kernel_width):
            row, column = y * stride[0] + i * dilation[0] - padding[0], z * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < height and 0 <= column < width:
                acc[n, y, z, o] += (int(x[n, row, column, first + c]) - x_zero) * (int(w[o, c, i, j]) - int(w_zero[o]))
    return acc


def fbgemm(acc: int, x_scale: Any, w_scale: Any, bias: Any, y_scale: Any, per_channel: bool) -> np.float32:
    """The real number that FBGEMM rounds: (f32(acc) + bias term) * multiplier, each step in float32."""
    a = product(x_scale, w_scale)
    badd = quotient(bias, a) if per_channel else product(bias, quotient(1, a))
    return product(total(float32(Fraction(acc)), badd), quotient(a, y_scale))


def qnnpack(acc: int, x_scale: Any, w_scale: Any, bias: Any, y_scale: Any) -> np.float32:
    """The real number that QNNPACK rounds."""
    a = product(x_scale, w_scale)
    bias_q = rint(product(bias, quotient(1, a)))
    return product(float32(Fraction(acc + bias_q)), product(a, quotient(1, y_scale)))


def twice_inverted(scale: Any) -> np.float32:
    """1 / (1 / scale), each division rounded."""
    return quotient(1, quotient(1, scale))


def onednn(acc: int, x_scale: Any, w_scale: Any, bias: Any, y_scale: Any, zero_point: int) -> np.float32:
    """The real number that oneDNN rounds; the zero point is in it."""
    scaled = product(product(float32(Fraction(acc)), twice_inverted(x_scale)), w_scale)
    return total(product(total(scaled, bias), quotient(1, y_scale)), zero_point)


def ort(acc: int, x_scale: Any, w_scale: Any, bias: Any, y_scale: Any) -> np.float32:
    """The real number that ONNX Runtime rounds. The bias is divided in float64, which Python's floats are."""
    a = product(x_scale, w_scale)
    return product(float32(Fraction(acc + round(float(bias) / float(a)))), quotient(a, y_scale))


def fixed_point(acc: int, real: float, once: bool) -> int:
    """acc * real by Jacob et al. 2018 and the gemmlowp library's documentation, in exact fractions.

    real = m * 2^e with m in [1/2, 1) held to 31 bits. Rounded once: the nearest integer, halves upwards. Rounded twice:
    a left shift first, which saturates; a doubling high product, halves upwards; a right shift, halves away from zero.
    """
    mantissa, exponent = math.frexp(real)
    held = Fraction(math.floor(Fraction(mantissa) * 2**31 + Fraction(1, 2)), 2**31)
    if once:
        return math.floor(acc * held * Fraction(2) ** exponent + Fraction(1, 2))
    shifted = clamp(acc * 2 ** max(exponent, 0), -(2**31), 2**31 - 1)
    high = math.floor(shifted * held + Fraction(1, 2))
    magnitude = math.floor(abs(high) * Fraction(2) ** min(exponent, 0) + Fraction(1, 2))
    return magnitude if high > 0 else -magnitude


def output(profile: str, acc: int, x: Any, w: Any, bias: Any, y: Any, zero_point: int, per_channel: bool) -> int:
    """The uint8 output of a layer with one accumulator, by the profile's name."""
    if profile.startswith("tflite"):
        bias_q = round(float(bias) / float(product(x, w)))
        real = float(x) * float(w) / float(y)
        return clamp(fixed_point(acc + bias_q, real, profile == "tflite_single") + zero_point, 0, 255)
    if profile == "onednn":
        value, offset = onednn(acc, x, w, bias, y, zero_point), 0
    elif profile == "fbgemm":
        value, offset = fbgemm(acc, x, w, bias, y, per_channel), zero_point
    else:
        value, offset = {"qnnpack": qnnpack, "ort": ort}[profile](acc, x, w, bias, y), zero_point
    if not np.isfinite(value):
        return 255 if value > 0 else 0
    return clamp(rint(value) + offset, 0, 255)
