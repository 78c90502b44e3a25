"""The quantized operators, with torch's names and argument order: what layers do, without a layer.

    packed = linear_prepack(weight, bias)              weight: a qint8 QTensor; read here: backends.quantized.engine
    y = linear(x, packed, scale, zero_point)           x: a quint8 or qint8 QTensor; y: like x, with this scale

Before: `nanoquant.nn`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..kernels.engine import quantized as engine
from ..kernels.packed import PackedWeights
from ..nn.functional import check_image, pair
from ..nn.linear import as_tensor
from ..nn.quantized.dynamic import linear_dynamic as _linear_dynamic
from ..nn.quantized.linear import pack_linear
from ..nn.quantized.weighted import given, wanted
from ..qtensor import QTensor, per_tensor, without_gradient
from ..scheme import qint8

Pair = int | tuple[int, int]


def _check_weight(name: str, weight: Any, ndim: int) -> QTensor:
    if (
        not isinstance(weight, QTensor)
        or weight.dtype != qint8
        or weight.ndim != ndim
        or weight.qparams.axis not in (None, 0)
    ):
        got = f"{weight.dtype.name} of shape {weight.shape}" if isinstance(weight, QTensor) else type(weight).__name__
        raise TypeError(
            f"{name}: weight must be a qint8 tensor with {ndim} axes, per tensor or per channel on axis 0; got {got}: "
            "make one with quantize_per_tensor or quantize_per_channel"
        )
    return weight


def _check_input(name: str, x: Any) -> QTensor:
    if not isinstance(x, QTensor) or x.dtype.bits != 8 or x.qparams.axis is not None:
        got = f"{x.dtype.name}, {x.qscheme().name}" if isinstance(x, QTensor) else type(x).__name__
        raise TypeError(
            f"{name}: x must be an 8-bit tensor with one scale; got {got}: make one with quantize_per_tensor"
        )
    return x


def _bias(bias: Any) -> Any:
    return None if bias is None else np.asarray(bias, dtype=np.float32)


def linear_prepack(weight: QTensor, bias: Any = None) -> PackedWeights:
    """Packs the weights of a linear layer.

    weight: qint8 (out_features, in_features), per tensor or per channel on axis 0, any zero points. bias: float
    (out_features,) or None.
    """
    w = _check_weight("linear_prepack", weight, 2)
    return pack_linear(w.values, w.qparams.scale, w.qparams.zero_point, _bias(bias), engine.profile)


def linear(x: QTensor, packed: PackedWeights, scale: float, zero_point: int, relu: bool = False) -> QTensor:
    """y = x W^T + b, requantized to this scale and zero point; y has the dtype of x.

    x: (..., in_features). Source: `nanoquant.numerics` for the arithmetic.

    >>> x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)
    >>> packed = linear_prepack(nq.quantize_per_tensor([[1.0, -1.0]], 1.0, 0, nq.qint8), [10.0])
    >>> linear(x, packed, 0.25, 128)
    tensor([[9.]], size=(1, 1), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=128)
    """
    q = _check_input("linear", x)
    if q.shape[-1] != packed.in_channels:
        raise ValueError(
            f"linear: the weights have {packed.in_channels} input features; got an input of shape {q.shape}"
        )
    qparams = per_tensor(scale, zero_point, q.dtype)
    y = packed.linear(np.asarray(q.values, order="C"), given(q.qparams), wanted(qparams, relu))
    return QTensor(y, qparams, q.origin)


def linear_relu(x: QTensor, packed: PackedWeights, scale: float, zero_point: int) -> QTensor:
    """`linear`, and integers below the zero point raised to it."""
    return linear(x, packed, scale, zero_point, relu=True)


def linear_dynamic(x: Any, packed: PackedWeights, reduce_range: bool = False) -> Tensor:
    """y = x W^T + b on floats: x is quantized by its own range, y is float32; see `nn.quantized.dynamic.Linear`.

    reduce_range: quantize x to 0..127. The qnnpack profile ignores it, as QNNPACK does.
    """
    value = as_tensor(x)
    if isinstance(value, QTensor):
        raise TypeError(
            "linear_dynamic: x must be float; got a quantized tensor: call linear, or dequantize() it first"
        )
    if value.shape[-1] != packed.in_channels:
        raise ValueError(
            f"linear_dynamic: the weights have {packed.in_channels} input features; got shape {value.shape}"
        )
    rows = np.asarray(value.array, dtype=np.float32, order="C").reshape(-1, packed.in_channels)
    y = _linear_dynamic(rows, packed, reduce_range)
    return without_gradient(y.reshape(*value.shape[:-1], packed.out_channels), value if value.requires_grad else None)


def conv2d_prepack(
    weight: QTensor, bias: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> PackedWeights:
    """Packs the weights of a convolution.

    weight: qint8 (out_channels, in_channels / groups, kernel_height, kernel_width), per tensor or per channel on axis
    0, any zero points. bias: float (out_channels,) or None.
    """
    w = _check_weight("conv2d_prepack", weight, 4)
    return PackedWeights(
        w.values, w.qparams.scale, w.qparams.zero_point, _bias(bias),
        pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation"), groups, engine.profile,
    )  # fmt: skip


def conv2d(x: QTensor, packed: PackedWeights, scale: float, zero_point: int, relu: bool = False) -> QTensor:
    """A convolution over images, requantized to this scale and zero point; y has the dtype of x.

    x: (batch, in_channels, height, width). The sum: `kernels.reference.accumulate`.
    """
    q = _check_input("conv2d", x)
    check_image(q.shape, packed.in_channels)
    qparams = per_tensor(scale, zero_point, q.dtype)
    y = packed.conv(q.channels_last(), given(q.qparams), wanted(qparams, relu))
    return QTensor(y.transpose(0, 3, 1, 2), qparams, q.origin)


def conv2d_relu(x: QTensor, packed: PackedWeights, scale: float, zero_point: int) -> QTensor:
    """`conv2d`, and integers below the zero point raised to it."""
    return conv2d(x, packed, scale, zero_point, relu=True)
