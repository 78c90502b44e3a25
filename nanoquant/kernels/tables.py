"""Functions of one 8-bit integer as tables of 256 entries.

An entry is quantize(f(x)) of the real number x that the integer means, with f(x) rounded correctly to float32. It is
computed in decimal arithmetic of 100 digits, which is the same on every machine, where libm's exp and tanh are not.

Before: `grid`. After: `pointwise`.
"""

from __future__ import annotations

import decimal
import functools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import affine
from .grid import Grid

Function = Callable[..., Decimal]

_DIGITS = decimal.Context(prec=100, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])
_GREATEST = float(np.finfo(np.float32).max)


def sigmoid(x: Decimal) -> Decimal:
    """1 / (1 + e^-x)."""
    return 1 / (1 + (-x).exp())


def tanh(x: Decimal) -> Decimal:
    """(1 - e^-2x) / (1 + e^-2x)."""
    e = (-2 * abs(x)).exp()
    return ((1 - e) / (1 + e)).copy_sign(x)


def hardsigmoid(x: Decimal) -> Decimal:
    """min(max(x + 3, 0), 6) / 6."""
    return min(max(x + 3, Decimal(0)), Decimal(6)) / 6


def hardswish(x: Decimal) -> Decimal:
    """x min(max(x + 3, 0), 6) / 6."""
    return x * hardsigmoid(x)


def leaky_relu(x: Decimal, negative_slope: float = 0.01) -> Decimal:
    """x, below zero negative_slope * x."""
    return x if x > 0 else Decimal(negative_slope) * x


def elu(x: Decimal, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Decimal:
    """scale * x, below zero scale * alpha * (e^(input_scale x) - 1)."""
    below = Decimal(alpha) * ((Decimal(input_scale) * min(x, Decimal(0))).exp() - 1)
    return Decimal(scale) * (x if x > 0 else below)


def nearest_float(value: Decimal) -> float:
    """The float32 nearest to a real number, ties to even; beyond the greatest, the greatest."""
    near = np.float32(min(max(float(value), -_GREATEST), _GREATEST))
    candidates = [np.nextafter(near, np.float32(-_GREATEST)), near, np.nextafter(near, np.float32(_GREATEST))]
    even = [int(c.view(np.int32)) & 1 for c in candidates]
    distance = [abs(Decimal(float(c)) - value) for c in candidates]
    return float(candidates[min(range(3), key=lambda i: (distance[i], even[i]))])


@functools.lru_cache(maxsize=64)
def table(function: Function, x: Grid, y: Grid, *parameters: float) -> NDArray[Any]:
    """quantize(function(dequantize(q))) for every byte: entry i is that of the integer whose byte is i.

    function: one of this module, or any other of a Decimal.

    >>> table(sigmoid, Grid(0.1, 128), Grid(1 / 256, 0))[[0, 128, 255]]
    array([  0, 128, 255], dtype=uint8)
    """
    integers = np.arange(256, dtype=np.uint8).view(x.dtype)
    reals = np.clip(affine.dequantize(integers, x.scale, x.zero_point), -_GREATEST, _GREATEST)
    with decimal.localcontext(_DIGITS):
        results = [nearest_float(function(Decimal(float(real)), *parameters)) for real in reals]
    steps = affine.round_to_steps(
        np.array(results, np.float32), np.asarray(y.scale, np.float32), np.asarray(y.zero_point), *y.limits
    )
    entries = (steps + y.zero_point).astype(y.dtype)
    entries.flags.writeable = False
    return entries


@functools.lru_cache(maxsize=64)
def exponentials(scale: float) -> NDArray[np.int32]:
    """rint(2^24 * e^(-scale * d)) for d = 0 .. 255, with which `pointwise.softmax` counts.

    >>> exponentials(1.0)[[0, 1, 20]]
    array([16777216,  6171993,        0], dtype=int32)
    """
    with decimal.localcontext(_DIGITS):
        step = Decimal(float(np.float32(scale)))
        values = [int((2**24 * (-step * d).exp()).to_integral_value()) for d in range(256)]
    entries = np.array(values, np.int32)
    entries.flags.writeable = False
    return entries
