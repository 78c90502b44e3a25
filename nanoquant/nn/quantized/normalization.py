"""Normalizations: batch, layer, softmax.

>>> x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)
>>> batch_norm(x, None, None, [0.0, 1.0], [1.0, 4.0], 0.0, 0.25, 0)
tensor([[1. , 0.5]], size=(1, 2), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=0)

Before: `activation`. After: `functional`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import elementwise
from ...kernels.memory import CHANNELS_FIRST
from ...kernels.native import FLOAT, requested_isa
from ...per_tensor import grid, operation, per_tensor
from ...qtensor import QTensor
from .arguments import check_axes, check_input, named


def _batch_norm(name: str, ndims: tuple[int, ...], relu: bool = False) -> Callable[..., QTensor]:
    shape = f"(batch, channels, ...) with {' or '.join(map(str, ndims))} axes"

    def batch_norm(
        qx: QTensor, weight: Any, bias: Any, mean: Any, var: Any, eps: float, output_scale: float, output_zero_point: int
    ) -> QTensor:
        """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel, in one step.

        qx: (batch, channels, ...). weight, bias: (channels,), or None for ones and zeros. Source:
        `kernels.pointwise.batch_norm`.
        """
        x = check_input(name, qx)
        check_axes(name, x, shape, *ndims)
        channels = x.values.shape[1]
        center, variance = _per_channel(name, "mean", mean, channels), _per_channel(name, "var", var, channels)
        gamma = _per_channel(name, "weight", np.ones(channels) if weight is None else weight, channels)
        beta = _per_channel(name, "bias", np.zeros(channels) if bias is None else bias, channels)
        qparams, array = per_tensor(output_scale, output_zero_point, x.qparams.dtype), x.channels_last()
        call = operation(array.shape, requested_isa(), x.qparams, qparams, ("scale_shift", relu, None))
        y = elementwise.batch_norm(call, array, center, variance, gamma, beta, eps)
        return QTensor(y.transpose(CHANNELS_FIRST[y.ndim]), qparams, x.origin)

    return named(name, batch_norm)


def _per_channel(name: str, what: str, values: Any, channels: int) -> NDArray[np.float32]:
    array = np.asarray(values, FLOAT, "C")
    if array.shape != (channels,):
        raise ValueError(f"{name}: {what} must have shape ({channels},), one for each channel; got {array.shape}")
    return array


batch_norm, batch_norm_relu = (_batch_norm(f"batch_norm{end}", (2, 3, 4, 5), bool(end)) for end in ("", "_relu"))
batch_norm1d, batch_norm1d_relu = (_batch_norm(f"batch_norm1d{end}", (2, 3), bool(end)) for end in ("", "_relu"))
batch_norm2d, batch_norm2d_relu = (_batch_norm(f"batch_norm2d{end}", (4,), bool(end)) for end in ("", "_relu"))
batch_norm3d, batch_norm3d_relu = (_batch_norm(f"batch_norm3d{end}", (5,), bool(end)) for end in ("", "_relu"))


def layer_norm(
    input: QTensor, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float, output_scale: float,
    output_zero_point: int,
) -> QTensor:  # fmt: skip
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
    gamma = np.ones(columns, np.float32) if weight is None else np.asarray(weight, np.float32, order="C")
    beta = np.zeros(columns, np.float32) if bias is None else np.asarray(bias, np.float32, order="C")
    qparams = per_tensor(output_scale, output_zero_point, x.qparams.dtype)
    rows = np.asarray(x.values, order="C").reshape(-1, columns)
    y = elementwise.layer_norm(rows, grid(x.qparams), gamma, beta, eps, grid(qparams))
    return QTensor(y.reshape(x.values.shape), qparams, x.origin)


def softmax(qx: QTensor, dim: int, output_scale: float, output_zero_point: int) -> QTensor:
    """y_i = e^x_i / sum_j e^x_j along an axis. Source: `kernels.pointwise.softmax`.

    >>> softmax(nq.quantize_per_tensor([0.0, 0.0], 0.1, 0, nq.quint8), 0, 1 / 256, 0).int_repr()
    tensor([128, 128], dtype=uint8)
    """
    x = check_input("softmax", qx)
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"softmax: dim {dim} is out of range for an input of shape {x.shape}")
    qparams = per_tensor(output_scale, output_zero_point, x.qparams.dtype)
    last = np.asarray(x.values.swapaxes(dim, -1), order="C")
    y = elementwise.softmax(last, grid(x.qparams), grid(qparams))
    return QTensor(y.swapaxes(dim, -1), qparams, x.origin)
