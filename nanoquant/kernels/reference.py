"""What an integer layer computes, in NumPy: slow, short, and normative. The C library equals it bit for bit.

    acc[n, y, x, o] = sum over taps (i, j) and channels c of
                      (q_x[n, y * stride + i * dilation, x * stride + j * dilation, c] - z_x) * (q_w[o, c, i, j] -
                      z_w[o])

followed by the layer's epilogue (`numerics`). Sums are exact: products are below 2^17, and float64, in which BLAS
adds them in an order of its own, holds every integer up to 2^53.

Before: `numerics`. After: csrc/README.md, where the same sums are cut into tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics import Epilogue

Integers = NDArray[Any]
Pair = tuple[int, int]


def accumulate(
    x: Integers,
    x_zero_point: int,
    w: Integers,
    w_zero_point: Integers | int,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> NDArray[np.int64]:
    """The accumulators of a convolution.

    x: (batch, height, width, in_channels), 8-bit integers, channels last as in memory. w: (out_channels, in_channels
    / groups, kernel_height, kernel_width). w_zero_point: a scalar or (out_channels,). Result: (batch, out_height,
    out_width, out_channels). Padding contributes nothing: it stands for real zero, which is the integer z_x.

    >>> x = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    >>> w = np.ones((1, 1, 2, 2), np.int8)
    >>> accumulate(x, 0, w, 0)[0, :, :, 0]
    array([[ 8, 12],
           [20, 24]])
    """
    out_channels, group_inputs, kernel_height, kernel_width = w.shape
    real_x = x.astype(np.float64) - x_zero_point
    real_w = w.astype(np.float64) - np.broadcast_to(np.asarray(w_zero_point), (out_channels,)).reshape(-1, 1, 1, 1)
    real_x = np.pad(real_x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    batch, height, width, _ = real_x.shape
    out_height = (height - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    out_width = (width - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    acc = np.zeros((batch, out_height, out_width, groups, out_channels // groups))
    for i in range(kernel_height):
        for j in range(kernel_width):
            top, left = i * dilation[0], j * dilation[1]
            tap = real_x[:, top:, left:][:, : out_height * stride[0] : stride[0], : out_width * stride[1] : stride[1]]
            tap = tap.reshape(batch, out_height, out_width, groups, group_inputs)
            weights = real_w[:, :, i, j].reshape(groups, out_channels // groups, group_inputs)
            acc += np.einsum("nyxgc,goc->nyxgo", tap, weights, optimize=True)
    return acc.reshape(batch, out_height, out_width, out_channels).astype(np.int64)


def conv2d(
    x: Integers,
    x_zero_point: int,
    w: Integers,
    w_zero_point: Integers | int,
    epilogue: Epilogue,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> NDArray[Any]:
    """A quantized convolution: `accumulate`, then the epilogue. Shapes as in `accumulate`."""
    return epilogue(accumulate(x, x_zero_point, w, w_zero_point, stride, padding, dilation, groups))


def linear(
    x: Integers, x_zero_point: int, w: Integers, w_zero_point: Integers | int, epilogue: Epilogue
) -> NDArray[Any]:
    """A quantized linear layer: x (rows, in_features), w (out_features, in_features), result (rows, out_features).

    It is the 1x1 convolution of an image one pixel high and `rows` wide.
    """
    y = conv2d(x[np.newaxis, np.newaxis], x_zero_point, w[:, :, np.newaxis, np.newaxis], w_zero_point, epilogue)
    return np.asarray(y[0, 0])
