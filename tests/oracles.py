"""Independent answers: those of `nanoquant.testing.oracles`, and what engines do that are compared with."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from nanoquant.kernels.native import available_isas
from nanoquant.testing.oracles import clamp as clamp
from nanoquant.testing.oracles import convolve as convolve
from nanoquant.testing.oracles import exact as exact
from nanoquant.testing.oracles import float32 as float32
from nanoquant.testing.oracles import product as product
from nanoquant.testing.oracles import quantize as quantize
from nanoquant.testing.oracles import quotient as quotient
from nanoquant.testing.oracles import rint as rint
from nanoquant.testing.oracles import total as total

# FBGEMM and oneDNN add products in 16 bits, which saturate, where the CPU has no instruction for sums of four.
TORCH_SATURATES = not {"avx512vnni", "avxvnni"} & set(available_isas())
SATURATES = "torch saturates on a CPU without VNNI"


def quantize_adding_first(x: float, scale: float, zero_point: int, low: int, high: int) -> int:
    """What torch 2.13's quantize_per_tensor does on x86: the zero point is added before rounding, by a fused multiply-add."""
    return clamp(rint(float32(exact(x) * exact(quotient(1, np.float32(scale))) + zero_point)), low, high)


def fbgemm(acc: int, x_scale: Any, w_scale: Any, bias: Any, y_scale: Any, per_channel: bool) -> np.float32:
    """The real number that FBGEMM rounds: (f32(acc) + bias term) * multiplier, each step in float32."""
    a = product(x_scale, w_scale)
    added = exact(quotient(bias, a)) if per_channel else exact(bias) * exact(quotient(1, a))  # fused: rounded with the sum
    return product(float32(exact(float32(Fraction(acc))) + added), quotient(a, y_scale))


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
