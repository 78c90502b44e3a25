"""What happens between two products, in NumPy: slow, short, and normative. The C library equals it bit for bit.

Every function computes v, the result in steps of the output's scale, and ends in one way:

    y = clamp(rint(v) + zero_point, quant_min, quant_max)

Every operation is rounded to float32, `rint` rounds half to even, and a NaN (infinity minus infinity) becomes quant_max.
quantize and dequantize themselves are `affine`.

Where torch's answer is one definite thing, this is it, bit for bit: `add` and `mul` are what its vector code computes
(the last few elements of its arrays, fewer than a vector, take another road there, and may differ by a step).

Before: `tables`. After: `elementwise`, which runs the C code.
"""

from __future__ import annotations

import numpy as np

from ..numerics import fma
from .grid import Floats, Grid, Integers, Limits, write
from .tables import exponentials


def requantize(q: Integers, x: Grid, y: Grid, limits: Limits | None = None) -> Integers:
    """quantize(dequantize(q)): the same reals on another grid.

        v = (s_x * (q - z_x)) * (1 / s_y)

    >>> requantize(np.array([0, 10, 13], np.uint8), Grid(0.5, 10), Grid(0.25, 30))
    array([10, 30, 36], dtype=uint8)
    """
    with np.errstate(over="ignore", under="ignore"):
        return write(np.float32(x.scale) * x.steps(q) * y.inverse(), y, limits)


def real(q: Integers, x: Grid) -> Floats:
    """s * q - s * z with the product s * z rounded and the rest not: `dequantize` but for the last bit."""
    scale = np.asarray(x.scale, np.float32)
    return fma(scale, q.astype(np.float32), np.asarray(-scale * np.float32(x.zero_point)))


def add(a: Integers, a_grid: Grid, b: Integers, b_grid: Grid, y: Grid, limits: Limits | None = None) -> Integers:
    """The sum of what two arrays mean.

        v = (fma(s_a, a, -(s_a * z_a)) + fma(s_b, b, -(s_b * z_b))) * (1 / s_y)

    `limits=y.relu` makes it add_relu.

    >>> grid = Grid(0.5, 10)
    >>> add(np.array([12], np.uint8), grid, np.array([13], np.uint8), grid, Grid(1.0, 0))
    array([2], dtype=uint8)
    """
    with np.errstate(over="ignore", under="ignore"):
        return write((real(a, a_grid) + real(b, b_grid)) * y.inverse(), y, limits)


def mul(a: Integers, a_grid: Grid, b: Integers, b_grid: Grid, y: Grid, limits: Limits | None = None) -> Integers:
    """The product of what two arrays mean.

    v = ((a - z_a) * (b - z_b)) * ((s_a * s_b) * (1 / s_y))
    """
    multiplier = np.float32(a_grid.scale) * np.float32(b_grid.scale) * y.inverse()
    with np.errstate(over="ignore", under="ignore"):
        return write(a_grid.steps(a) * b_grid.steps(b) * multiplier, y, limits)


def batch_norm(
    q: Integers, x: Grid, mean: Floats, variance: Floats, weight: Floats, bias: Floats, eps: float, y: Grid,
    limits: Limits | None = None,
) -> Integers:  # fmt: skip
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel, which is the last axis, in one step.

    v = fma(q - z_x, factor, shift)
    factor = (1 / sqrt(variance + eps) * weight) * (s_x / s_y)
    shift = (bias - mean * (1 / sqrt(variance + eps)) * weight) / s_y
    """
    inverse = np.float32(1) / np.sqrt(variance + np.float32(eps))
    factor = inverse * weight * (np.float32(x.scale) / np.float32(y.scale))
    shift = (bias - mean * inverse * weight) / np.float32(y.scale)
    return write(fma(x.steps(q), factor, shift), y, limits)


# ---- rows ------------------------------------------------------------------------------------------------------------


def softmax(q: Integers, x: Grid, y: Grid) -> Integers:
    """e^x_i / sum_j e^x_j over the last axis, with a table for e^x and an exact sum.

        t_i = exponentials[max(q) - q_i]                        `tables.exponentials`: rint(2^24 e^(-s_x d))
        v_i = t_i * ((1 / s_y) / f32(sum_j t_j))

    >>> softmax(np.array([[0, 0, 100, 100]], np.uint8), Grid(0.1, 0), Grid(1 / 256, 0))
    array([[  0,   0, 128, 128]], dtype=uint8)
    """
    if q.size == 0:
        return np.zeros(q.shape, y.dtype)
    wide = q.astype(np.int64)
    terms = exponentials(x.scale)[wide.max(axis=-1, keepdims=True) - wide]
    total = terms.sum(axis=-1, keepdims=True, dtype=np.int64).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return write(terms.astype(np.float32) * (y.inverse() / total), y)


def layer_norm(q: Integers, x: Grid, weight: Floats, bias: Floats, eps: float, y: Grid) -> Integers:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis of n elements.

    s = sum (q - z_x), ss = sum (q - z_x)^2                  exact
    mean = f32(s / n), factor = f32(s_x / sqrt((n ss - s^2) / n^2 * s_x^2 + eps))       in float64
    v = ((q - z_x - mean) * factor * weight + bias) * (1 / s_y)                         in float32
    """
    steps = q.astype(np.int64) - x.zero_point
    n, scale = q.shape[-1], np.float64(np.float32(x.scale))
    total, squares = steps.sum(axis=-1, keepdims=True), np.square(steps).sum(axis=-1, keepdims=True)
    variance = (n * squares - total * total) / np.float64(n * n) * (scale * scale) + eps
    mean, factor = (total / np.float64(n)).astype(np.float32), (scale / np.sqrt(variance)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return write(((steps.astype(np.float32) - mean) * factor * weight + bias) * y.inverse(), y)
