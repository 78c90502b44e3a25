"""Normalizations: batch, layer, softmax.

>>> x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)
>>> batch_norm(x, None, None, [0.0, 1.0], [1.0, 4.0], 0.0, 0.25, 0)
tensor([[1. , 0.5]], size=(1, 2), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=0)

Before: `pooling`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import elementwise
from ...per_tensor import grid, per_tensor
from ...qtensor import CHANNELS_FIRST, QTensor
from .arguments import check_axes, check_input, floats, named


def _batch_norm(name: str, ndims: tuple[int, ...], relu: bool = False) -> Callable[..., QTensor]:
    shape = f"(batch, channels, ...) with {' or '.join(map(str, ndims))} axes"

    def batch_norm(
        qx: QTensor, weight: Any, bias: Any, mean: Any, var: Any, eps: float, output_scale: float,
        output_zero_point: int,
    ) -> QTensor:  # fmt: skip
        """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel, in one step:

            factor = weight / sqrt(var + eps) * (s_x / s_y),    shift = (bias - mean * weight / sqrt(var + eps)) / s_y
            q_y = clamp(rint(fma(q_x - z_x, factor, shift)) + z_y)

        qx: (batch, channels, ...). weight, bias: (channels,), or None for ones and zeros.
        """
        x = check_input(name, qx)
        check_axes(name, x, shape, *ndims)
        one, zero = (value(x.shape[1], np.float32) for value in (np.ones, np.zeros))
        given = {
            "mean": mean,
            "var": var,
            "weight": one if weight is None else weight,
            "bias": zero if bias is None else bias,
        }
        center, variance, gamma, beta = (_per_channel(name, what, values, x.shape[1]) for what, values in given.items())
        qparams = per_tensor(output_scale, output_zero_point, x.dtype)
        inverse = (1 / np.sqrt(variance + np.float32(eps)).astype(np.float64)).astype(np.float32)
        s_x, s_y = float(x.qparams.scale), float(qparams.scale)
        factor = (inverse * gamma * (s_x / s_y)).astype(np.float32)
        shift = ((beta - center * inverse * gamma) / s_y).astype(np.float32)
        y_grid = grid(qparams)
        y = elementwise.scale_shift(
            x.channels_last(), grid(x.qparams), factor, shift, y_grid, y_grid.relu if relu else None
        )
        return QTensor(y.transpose(CHANNELS_FIRST[y.ndim]), qparams, x.origin)

    return named(name, batch_norm)


def _per_channel(name: str, what: str, values: Any, channels: int) -> NDArray[np.float32]:
    array = np.asarray(floats(values))
    if array.shape != (channels,):
        raise ValueError(f"{name}: {what} must have shape ({channels},), one for each channel; got {array.shape}")
    return array


batch_norm, batch_norm_relu = (_batch_norm(f"batch_norm{end}", (2, 3, 4, 5), bool(end)) for end in ("", "_relu"))
batch_norm1d, batch_norm1d_relu = (_batch_norm(f"batch_norm1d{end}", (2, 3), bool(end)) for end in ("", "_relu"))
batch_norm2d, batch_norm2d_relu = (_batch_norm(f"batch_norm2d{end}", (4,), bool(end)) for end in ("", "_relu"))
batch_norm3d, batch_norm3d_relu = (_batch_norm(f"batch_norm3d{end}", (5,), bool(end)) for end in ("", "_relu"))


def layer_norm(
    input: QTensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Any,
    bias: Any,
    eps: float,
    output_scale: float,
    output_zero_point: int,
) -> QTensor:
    """y = (x - mean) / sqrt(variance + eps) * weight + bias over the last axes, whose sizes are normalized_shape.

    weight, bias: of normalized_shape, or None for ones and zeros. Source: `kernels.pointwise.layer_norm`.

    >>> x = nq.quantize_per_tensor([[1.0, 3.0]], 0.5, 0, nq.quint8)
    >>> layer_norm(x, [2], None, None, 1e-5, 0.25, 128)
    tensor([[-1.,  1.]], size=(1, 2), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=128)
    """
    x, shape = check_input("layer_norm", input), tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: the last axes must have the sizes normalized_shape={shape}; got {x.shape}")
    if not eps > 0:
        raise ValueError(f"layer_norm: eps must be positive, so that equal elements can be divided; got {eps}")
    columns = math.prod(shape)
    gamma, beta = (
        default(columns, np.float32) if values is None else np.asarray(floats(values)).reshape(-1)
        for values, default in ((weight, np.ones), (bias, np.zeros))
    )
    qparams = per_tensor(output_scale, output_zero_point, x.dtype)
    rows = np.asarray(x.values, order="C").reshape(-1, columns)
    y = elementwise.layer_norm(rows, grid(x.qparams), gamma, beta, eps, grid(qparams))
    return QTensor(y.reshape(x.shape), qparams, x.origin)


def softmax(qx: QTensor, dim: int, output_scale: float, output_zero_point: int) -> QTensor:
    """y_i = e^x_i / sum_j e^x_j along an axis. Source: `kernels.pointwise.softmax`.

    >>> softmax(nq.quantize_per_tensor([0.0, 0.0], 0.1, 0, nq.quint8), 0, 1 / 256, 0).int_repr()
    tensor([128, 128], dtype=uint8)
    """
    x = check_input("softmax", qx)
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"softmax: dim {dim} is out of range for an input of shape {x.shape}")
    qparams = per_tensor(output_scale, output_zero_point, x.dtype)
    last = np.asarray(x.values.swapaxes(dim, -1), order="C")
    y = elementwise.softmax(last, grid(x.qparams), grid(qparams))
    return QTensor(y.swapaxes(dim, -1), qparams, x.origin)
