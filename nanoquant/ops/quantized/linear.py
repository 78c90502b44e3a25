"""Linear layers.

Before: `nanoquant.nn.quantized`. After: `convolution`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.tensor import Tensor
from ...kernels.engine import quantized as engine
from ...kernels.packed import PackedWeights
from ...nn.layer import as_tensor
from ...nn.quantized.arguments import check_input, check_weight, floats
from ...nn.quantized.dynamic import product
from ...nn.quantized.linear import pack_linear
from ...nn.quantized.weighted import run, run_again
from ...per_tensor import per_tensor
from ...qtensor import QTensor, without_gradient


def linear_prepack(W: QTensor, B: Any = None) -> PackedWeights:
    """Packs the weights of a linear layer.

    W: qint8 (out_features, in_features), per tensor or per channel on axis 0, any zero points. B: float
    (out_features,) or None.
    """
    w = check_weight("linear_prepack", W, 2)
    return pack_linear(w.values, w.qparams.scale, w.qparams.zero_point, floats(B), engine.profile)


def linear(X: QTensor, W_prepack: PackedWeights, scale: float, zero_point: int) -> QTensor:
    """y = x W^T + b, requantized to this scale and zero point; y has the dtype of x.

    X: (..., in_features). Source: `nanoquant.numerics` for the arithmetic.

    >>> x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)
    >>> packed = linear_prepack(nq.quantize_per_tensor([[1.0, -1.0]], 1.0, 0, nq.qint8), [10.0])
    >>> linear(x, packed, 0.25, 128)
    tensor([[9.]], size=(1, 1), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=128)
    """
    return _linear("linear", X, W_prepack, scale, zero_point, False)


def linear_relu(X: QTensor, W_prepack: PackedWeights, scale: float, zero_point: int) -> QTensor:
    """`linear`, and integers below the zero point raised to it."""
    return _linear("linear_relu", X, W_prepack, scale, zero_point, True)


def _linear(name: str, X: QTensor, packed: PackedWeights, scale: float, zero_point: int, relu: bool) -> QTensor:
    asked = (name, scale, zero_point) if type(scale) is float and type(zero_point) is int else None
    if type(X) is QTensor and asked is not None:
        y = run_again(packed, X, X.lying(None), asked)
        if y is not None:
            return y
    x = check_input(name, X)
    return run("linear", packed, x, per_tensor(scale, zero_point, x.qparams.dtype), relu, asked)


def linear_dynamic(X: Any, W_prepack: PackedWeights, reduce_range: bool = False) -> Tensor:
    """y = x W^T + b on floats: x is quantized by its own range, y is float32; see `nn.quantized.dynamic.Linear`.

    reduce_range: quantize x to 0..127. The qnnpack profile ignores it, as QNNPACK does.
    """
    return _dynamic("linear_dynamic", X, W_prepack, reduce_range, False)


def linear_relu_dynamic(X: Any, W_prepack: PackedWeights, reduce_range: bool = False) -> Tensor:
    """max(`linear_dynamic`, 0)."""
    return _dynamic("linear_relu_dynamic", X, W_prepack, reduce_range, True)


def _dynamic(name: str, X: Any, packed: PackedWeights, reduce_range: bool, relu: bool) -> Tensor:
    x = as_tensor(X)
    if isinstance(x, QTensor):
        raise TypeError(f"{name}: X must be float; got a quantized tensor: call linear, or dequantize() it first")
    if x.shape[-1] != packed.in_channels:
        raise ValueError(f"{name}: the layer has {packed.in_channels} input features; got an input of shape {x.shape}")
    rows = np.asarray(x.array, dtype=np.float32, order="C").reshape(-1, packed.in_channels)
    y = product("linear", rows, packed, reduce_range, relu)
    return without_gradient(y.reshape(*x.shape[:-1], packed.out_channels), x if x.requires_grad else None)
