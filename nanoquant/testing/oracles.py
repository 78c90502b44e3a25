"""Independent answers: exact arithmetic in Python integers and fractions, slow, sharing no code with the library.

Compare with these what you have computed in another way: the library's tests do.

    quantize     q = clamp(rint(f32(x * f32(1 / scale))) + zero_point)      rounded to float32 where the definition is
    dequantize   x = f32(scale * (q - zero_point))
    requantize   q = clamp(rint(acc * multiplier) + zero_point)             exact: rounded once

Before: `strategies`. After: `closeness`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def dequantize(q: int, scale: float, zero_point: int) -> np.float32:
    """x = f32(scale * (q - zero_point)), rounded once."""
    return float32(exact(np.float32(scale)) * (int(q) - int(zero_point)))


def requantize(acc: int, multiplier: Fraction, zero_point: int, low: int, high: int) -> int:
    """q = clamp(rint(acc * multiplier) + zero_point, low, high), multiplier = s_x s_w / s_y: exact up to the rounding.

    >>> requantize(-2048, Fraction(1, 64), 128, 0, 255)
    96
    """
    return clamp(round(acc * multiplier) + zero_point, low, high)


def matmul(x: NDArray[Any], x_zero: int, w: NDArray[Any], w_zero: NDArray[Any]) -> NDArray[Any]:
    """sum_k (x[m, k] - x_zero) (w[n, k] - w_zero[n]), in Python integers."""
    rows = [[int(v) - x_zero for v in row] for row in x]
    columns = [[int(v) - int(zero) for v in row] for row, zero in zip(w, w_zero, strict=True)]
    dots = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in rows]
    return np.array(dots, dtype=object).reshape(len(rows), len(columns))


def convolve(
    x: NDArray[Any], x_zero: int, w: NDArray[Any], w_zero: NDArray[Any], stride: Any, padding: Any, dilation: Any,
    groups: int, transposed: bool = False, output_padding: Any = 0,
) -> NDArray[Any]:  # fmt: skip
    """Accumulators by the definition, in Python integers. x: (batch, *size, channels); w: (outputs, inputs, *kernel).

    Input i meets output o at tap k where i = o * stride + k * dilation - padding; transposed, where
    o = i * stride + k * dilation - padding.
    """
    size, kernel, (outputs, inputs) = x.shape[1:-1], w.shape[2:], w.shape[:2]
    stride, padding, dilation, output_padding = (
        (v,) * len(kernel) if isinstance(v, int) else v for v in (stride, padding, dilation, output_padding)
    )
    out_size = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e if transposed else (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d, e in zip(size, kernel, stride, padding, dilation, output_padding, strict=True)
    ]
    acc = np.zeros((len(x), *out_size, outputs), dtype=object)
    for n, *pixel, o in np.ndindex(acc.shape):
        first = o // (outputs // groups) * inputs
        for tap in np.ndindex(*kernel):
            met = []
            for at, k, s, p, d, limit in zip(pixel, tap, stride, padding, dilation, size, strict=True):
                i, rest = divmod(at + p - k * d, s) if transposed else (at * s + k * d - p, 0)
                if rest == 0 and 0 <= i < limit:
                    met.append(i)
            if len(met) == len(tap):
                for c in range(inputs):
                    acc[(n, *pixel, o)] += (int(x[(n, *met, first + c)]) - x_zero) * (int(w[(o, c, *tap)]) - int(w_zero[o]))
    return acc
