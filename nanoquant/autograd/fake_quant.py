"""Fake quantization: the rounding of a quantized network, inside a float network that can be trained.

    forward    y = scale * (clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max) - zero_point)

As a function of x this is a staircase: its derivative is 0 almost everywhere, and training would stand still. The
*straight-through estimator* takes the derivative of the line that the staircase follows instead: 1 where x is
represented, 0 where it is clamped and moving x changes nothing.

    backward   dx = g   where   quant_min <= rint(x * (1 / scale)) + zero_point <= quant_max,   else 0

      y |           ____       Source: Bengio, Leonard and Courville, "Estimating or Propagating Gradients Through
        |        __|           Stochastic Neurons", 2013; the mask is that of torch.fake_quantize_per_tensor_affine.
        |     __|
        |____|                 Before: `ops`. After: `tape`.
        +------------- x
    dx:  0   1  1  1  0
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..affine import fake_quantize_as, inverse_scale, refuse_nan
from ..qparams import QParams
from .ops import Array, Op


def _forward(x: Array, qparams: QParams) -> Array:
    refuse_nan(x)
    return fake_quantize_as(x, qparams)


def _vjp(g: Array, y: Array, x: Array, qparams: QParams) -> tuple[Array]:
    return (g * represented(x, qparams),)


def represented(x: Array, qparams: QParams) -> NDArray[np.bool_]:
    """Where x is rounded to an integer of the range, not clamped to one of its ends."""
    scale, zero_point = qparams.over(x.shape)
    ends: list[Any] = list(qparams.limits)
    with np.errstate(over="ignore"):
        steps = np.asarray(np.multiply(x, inverse_scale(scale), dtype=np.float32))
    if qparams.float_qparams:
        steps += zero_point
    else:
        ends = [end - zero_point for end in ends]
    np.rint(steps, out=steps)
    low, high = ends
    inside = np.asarray(steps >= low)
    return np.asarray(np.logical_and(inside, steps <= high, out=inside))


FAKE_QUANTIZE = Op("fake_quantize", _forward, _vjp)

# Operations on a fake-quantized tensor whose results lie on its grid as they are, or after rounding: what a QTensor
# does.
ON_GRID = {"reshape", "permute", "getitem", "clone", "relu", "max", "min", "max_pool", "adaptive_max_pool"}
ROUNDED_TO_GRID = {"mean", "avg_pool", "adaptive_avg_pool"}


def round_to_grid(op: Op, grid: QParams) -> Op:
    """An average of values on a grid, rounded to it as integers are: in exact steps, half to even. Its gradient is unchanged."""
    scale = grid.scale

    def forward(x: Array, **options: Any) -> Array:
        steps = np.rint(op.forward(np.rint(x.astype(np.float64) / scale), **options))
        return np.asarray(scale * steps.astype(np.float32))

    return Op(op.name, forward, op.vjp)
