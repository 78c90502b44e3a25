"""What an integer layer computes, in NumPy: slow, short, and normative. The C library equals it bit for bit.

    acc[n, y, o] = sum over taps i and channels c of (q_x[n, y * stride + i * dilation, c] - z_x) * (q_w[o, c, i] - z_w[o])

where y and i count along one, two or three axes, followed by the layer's epilogue (`numerics`). A transposed convolution
is the adjoint: where the one gathers, the other scatters,

    acc[n, y * stride + i * dilation, o] += (q_x[n, y, c] - z_x) * (q_w[o, c, i] - z_w[o])

Sums are exact: products are below 2^17, and float64, in which BLAS adds them in an order of its own, holds every integer
up to 2^53.

Before: `numerics`. After: csrc/README.md, where the same sums are cut into tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics import Epilogue

Integers = NDArray[Any]
Sizes = tuple[int, ...]


def accumulate(
    x: Integers, x_zero_point: int, w: Integers, w_zero_point: Integers | int, stride: Sizes | int = 1,
    padding: Sizes | int = 0, dilation: Sizes | int = 1, groups: int = 1, transposed: bool = False,
    output_padding: Sizes | int = 0,
) -> NDArray[np.int64]:  # fmt: skip
    """The accumulators of a convolution.

    x: (batch, *size, in_channels), 8-bit integers, channels last as in memory. w: (out_channels, in_channels / groups,
    *kernel), transposed or not; size and kernel have one to three axes. w_zero_point: a scalar or (out_channels,).
    Result: (batch, *out_size, out_channels). Padding contributes nothing: it stands for real zero, the integer z_x.

    >>> x = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    >>> accumulate(x, 0, np.ones((1, 1, 2, 2), np.int8), 0)[0, :, :, 0]
    array([[ 8, 12],
           [20, 24]])
    """
    kernel, size, outputs = np.array(w.shape[2:]), np.array(x.shape[1:-1]), (groups, len(w) // groups)
    step, pad, spread = (np.broadcast_to(v, kernel.shape) for v in (stride, padding, dilation))
    span = spread * (kernel - 1) + 1
    real_x = (x.astype(np.float64) - x_zero_point).reshape(*x.shape[:-1], groups, w.shape[1])
    real_w = (w.T - np.asarray(w_zero_point, np.float64)).T.reshape(*outputs, *w.shape[1:])
    if transposed:
        steps, out_size = size, (size - 1) * step + span + output_padding
    else:
        real_x = np.pad(real_x, [(0, 0), *((p, p) for p in pad), (0, 0), (0, 0)])
        steps = out_size = (size + 2 * pad - span) // step + 1
    acc, everything = np.zeros((len(x), *out_size, *outputs)), slice(None)
    for tap in np.ndindex(*kernel):
        start = np.array(tap) * spread
        window: Any = (everything, *map(slice, start, start + steps * step, step))
        source, target = (everything, window) if transposed else (window, everything)
        acc[target] += np.einsum("...gc,goc->...go", real_x[source], real_w[(..., *tap)], optimize=True)
    if transposed:
        inner: Any = (everything, *map(slice, pad, np.maximum(out_size - pad, 0)))
        acc = acc[inner]
    return acc.reshape(*acc.shape[:-2], len(w)).astype(np.int64)


def conv(
    x: Integers, x_zero_point: int, w: Integers, w_zero_point: Integers | int, epilogue: Epilogue, **geometry: Any
) -> NDArray[Any]:
    """A quantized convolution: `accumulate`, whose arguments these are, then the epilogue."""
    return epilogue(accumulate(x, x_zero_point, w, w_zero_point, **geometry))


def linear(x: Integers, x_zero_point: int, w: Integers, w_zero_point: Integers | int, epilogue: Epilogue) -> NDArray[Any]:
    """A quantized linear layer: x (rows, in_features), w (out_features, in_features), result (rows, out_features).

    It is the convolution of a line of `rows` pixels with a kernel of one.
    """
    y = conv(x[np.newaxis], x_zero_point, w[:, :, np.newaxis], w_zero_point, epilogue)
    return np.asarray(y[0])
