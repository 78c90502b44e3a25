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

import numpy as np
from numpy.typing import NDArray

from ..affine import fake_quantize as fake_quantize_array
from ..affine import inverse_scale
from ..scheme import channel_shape
from .ops import Array, Op


def _forward(
    x: Array, scale: NDArray[np.float32], zero_point: NDArray[np.int64], quant_min: int, quant_max: int, axis: int | None
) -> Array:
    if np.isnan(x).any():
        raise ValueError(f"cannot quantize NaN: the input of shape {x.shape} holds {np.isnan(x).sum()} of them")
    return fake_quantize_array(x, scale, zero_point, quant_min, quant_max, axis)


def _vjp(
    g: Array,
    y: Array,
    x: Array,
    scale: NDArray[np.float32],
    zero_point: NDArray[np.int64],
    quant_min: int,
    quant_max: int,
    axis: int | None,
) -> tuple[Array]:
    return (g * represented(x, scale, zero_point, quant_min, quant_max, axis),)


def represented(
    x: Array, scale: NDArray[np.float32], zero_point: NDArray[np.int64], quant_min: int, quant_max: int, axis: int | None
) -> NDArray[np.bool_]:
    """Where x is rounded to an integer of the range, not clamped to one of its ends."""
    if axis is not None:
        shape = channel_shape(x.ndim, axis)
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    with np.errstate(over="ignore"):
        steps = np.rint(np.multiply(x, inverse_scale(scale), dtype=np.float32))
    return np.asarray((steps >= quant_min - zero_point) & (steps <= quant_max - zero_point))


FAKE_QUANTIZE = Op("fake_quantize", _forward, _vjp)

