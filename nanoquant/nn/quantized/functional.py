"""What quantized layers do, as functions of quantized tensors: torch's `nn.quantized.functional`.

Weights are packed at every call; a layer, or an operator with `prepack`, packs them once. What does not change a scale keeps
it.

    >>> x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)
    >>> w = nq.quantize_per_tensor([[1.0, -1.0]], 1.0, 0, nq.qint8)
    >>> linear(x, w, [10.0], 0.25, 128)
    tensor([[9.]], size=(1, 1), dtype=quint8, per_tensor_affine, scale=0.25, zero_point=128)
    >>> clamp(x, 0.0, 1.5).dequantize()
    tensor([[1. , 1.5]])

Source: torch.ao.nn.quantized.functional. Before: `norm`. After: `nanoquant.nn.quantized.dynamic`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.engine import quantized as engine
from ...kernels.memory import CHANNELS_FIRST
from ...kernels.native import requested_isa
from ...kernels.packed import PackedWeights
from ...kernels.pooling import Sliding
from ...per_tensor import per_tensor, pooling
from ...qtensor import QTensor, computed
from ...scheme import QDType, quint8
from .. import pool, shape
from ..conv import PADDING_MODES, split_padding
from ..layer import sizes
from . import activation
from .activation import clamp as clamp
from .activation import hardswish as hardswish
from .arguments import check_axes, check_input, check_weight, floats, named
from .linear import pack_linear
from .weighted import run


def linear(
    input: QTensor, weight: QTensor, bias: Any = None, scale: float | None = None, zero_point: int | None = None
) -> QTensor:
    """y = x W^T + b, requantized; to the grid of x, if scale and zero_point are None. weight: qint8."""
    x, w = check_input("linear", input), check_weight("linear", weight, 2)
    packed = pack_linear(w.values, w.qparams.scale, w.qparams.zero_point, floats(bias), engine.profile)
    return run("linear", packed, x, _grid(x, scale, zero_point))


def _grid(x: QTensor, scale: float | None, zero_point: int | None) -> Any:
    chosen = x.q_scale() if scale is None else scale, x.q_zero_point() if zero_point is None else zero_point
    return per_tensor(*chosen, x.qparams.dtype)


def _conv(
    axes: int, input: QTensor, weight: QTensor, bias: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, padding_mode: str = "zeros", scale: float = 1.0, zero_point: int = 0, dtype: QDType = quint8,
) -> QTensor:  # fmt: skip
    """A convolution, requantized. input: (batch, channels, *size). weight: qint8 (out_channels, channels / groups, *kernel).

    dtype: of the result, and so of the input.
    """
    name = f"conv{axes}d"
    x, w = check_input(name, input), check_weight(name, weight, 2 + axes)
    if x.dtype != dtype or padding_mode not in PADDING_MODES:
        raise ValueError(
            f"{name}: the input must be {dtype.name} as the output, and padding_mode one of {', '.join(PADDING_MODES)}; got "
            f"{x.dtype.name}, {padding_mode!r}"
        )
    borders = tuple((n, n) for n in sizes(padding, "padding", axes))
    x, own = split_padding(x, borders, padding_mode)
    packed = PackedWeights(
        w.values, w.qparams.scale, w.qparams.zero_point, floats(bias), stride, own, dilation, groups, engine.profile
    )
    return run("conv", packed, x, per_tensor(scale, zero_point, dtype))


def _over(axes: int) -> Callable[..., QTensor]:
    def conv(*arguments: Any, **options: Any) -> QTensor:
        return _conv(axes, *arguments, **options)

    conv.__doc__ = _conv.__doc__
    return named(f"conv{axes}d", conv)


conv1d, conv2d, conv3d = map(_over, (1, 2, 3))


def _of_integers(function: Callable[..., Any]) -> Callable[..., QTensor]:
    """A function of nn.functional, for quantized tensors alone."""
    name = function.__name__

    def of_integers(input: QTensor, *args: Any, **options: Any) -> QTensor:
        y: QTensor = function(check_input(name, input), *args, **options)
        return y

    of_integers.__doc__ = f"`nn.functional.{name}` of integers; the scale stays."
    return named(name, of_integers)


max_pool2d, avg_pool2d, adaptive_avg_pool2d, interpolate = map(
    _of_integers, (pool.max_pool2d, pool.avg_pool2d, pool.adaptive_avg_pool2d, shape.interpolate)
)
upsample = interpolate


def max_pool1d(
    input: QTensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> QTensor:  # fmt: skip
    """The maximum of windows over signals (batch, channels, length); the scale stays."""
    x = check_input("max_pool1d", input)
    check_axes("max_pool1d", x, "(batch, channels, length)", 3)
    sizes = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    kernel, steps, border, gaps = (v if type(v) is int else v[0] if isinstance(v, list | tuple) else v for v in sizes)
    memory, (batch, *line), _ = x.lying(CHANNELS_FIRST[3])
    windows = (Sliding, (1, kernel), (1, steps), (0, border), (1, gaps), ceil_mode)
    call = pooling(x.qparams, (batch, 1, *line), requested_isa(), windows, False)
    y = computed(call, memory, CHANNELS_FIRST[4], x.qparams, x.origin)
    return y.with_values(y.values[:, :, 0])


def upsample_nearest(input: QTensor, size: Any = None, scale_factor: Any = None) -> QTensor:
    """`interpolate` by the nearest pixel."""
    return interpolate(input, size, scale_factor, mode="nearest")


def hardtanh(input: QTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> QTensor:
    """min(max(x, min_val), max_val), on the integers. inplace is accepted and changes nothing."""
    del inplace
    return clamp(input, min_val, max_val)


def threshold(input: QTensor, threshold: float, value: float) -> QTensor:
    """x where x > threshold, else value, on the grid of x."""
    x = check_input("threshold", input)
    low, high = x.qparams.limits
    codes = np.arange(low, high + 1)
    reals = (codes - x.q_zero_point()) * np.float32(x.q_scale())
    other = int(np.clip(np.rint(np.float32(value) / np.float32(x.q_scale())) + x.q_zero_point(), low, high))
    kept = np.where(reals > threshold, codes, other).astype(x.values.dtype)
    return x.with_values(kept[x.values.astype(np.int16) - low])


def elu(input: QTensor, scale: float, zero_point: int, alpha: float = 1.0) -> QTensor:
    """x where x > 0, else alpha (e^x - 1)."""
    return activation.elu(input, scale, zero_point, alpha)


def celu(input: QTensor, scale: float, zero_point: int, alpha: float = 1.0) -> QTensor:
    """x where x > 0, else alpha (e^(x / alpha) - 1)."""
    return activation.elu(input, scale, zero_point, alpha, 1.0, 1.0 / alpha)


def leaky_relu(
    input: QTensor, negative_slope: float = 0.01, inplace: bool = False, scale: float | None = None, zero_point: int | None = None
) -> QTensor:
    """x where x > 0, else negative_slope x; on the grid of x, if scale and zero_point are None."""
    y = _grid(check_input("leaky_relu", input), scale, zero_point)
    return activation.leaky_relu(input, negative_slope, inplace, float(y.scale), int(y.zero_point))


def hardsigmoid(input: QTensor, inplace: bool = False) -> QTensor:
    """min(max(x + 3, 0), 6) / 6, in steps of 1/256. inplace is accepted and changes nothing."""
    del inplace
    return activation.hardsigmoid(input)
