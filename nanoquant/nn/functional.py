"""The functions that layers are made of.

Functions of one image or matrix take a Tensor or a QTensor: what leaves a scale alone works on integers as it stands,
so that these layers need no quantized twin.

Before: `normalization`. After: `linear`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..autograd.ops import OPS
from ..autograd.tensor import Tensor, apply
from ..creation import generator
from ..kernels.pooling import Adaptive, Sliding
from ..qtensor import QTensor
from . import normalization, spatial

AnyTensor = TypeVar("AnyTensor", Tensor, QTensor)
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pair(value: Any, name: str) -> Pair:
    """(value, value) for a number, a tuple of two for two.

    >>> pair(3, "stride"), pair([1, 2], "stride")
    ((3, 3), (1, 2))
    """
    if type(value) is int:
        return value, value
    values = (value, value) if isinstance(value, np.integer) else tuple(value)
    if len(values) != 2 or not all(isinstance(v, int | np.integer) for v in values):
        raise ValueError(f"{name} must be an integer or a pair of integers; got {value!r}")
    return int(values[0]), int(values[1])


# ---- linear and convolution ------------------------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b. x: (..., in_features). weight: (out_features, in_features). bias: (out_features,)."""
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(f"the layer has {weight.shape[1]} input features; got an input of shape {x.shape}")
    rows = x.reshape(-1, x.shape[-1])
    y = rows @ weight.t() if bias is None else rows @ weight.t() + bias
    return y.reshape(*x.shape[:-1], weight.shape[0])


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of images; `spatial.conv2d` has the formula.

    x: (batch, in_channels, height, width). weight: (out_channels, in_channels / groups, kh, kw). bias: (out_channels,).
    """
    check_image(x.shape, weight.shape[1] * groups)
    steps, border, gaps = pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation")
    for axis in (0, 1):
        if spatial.out_size(x.shape[2 + axis], weight.shape[2 + axis], steps[axis], border[axis], gaps[axis]) < 1:
            raise ValueError(
                f"an image of {x.shape[2]} x {x.shape[3]} with padding {border} holds no kernel of "
                f"{weight.shape[2]} x {weight.shape[3]} with dilation {gaps}"
            )
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return apply(spatial.CONV2D, *inputs, stride=steps, padding=border, dilation=gaps, groups=groups)


def check_image(shape: tuple[int, ...], channels: int) -> None:
    """Raises ValueError unless the shape is (batch, channels, height, width)."""
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(f"the layer takes images of shape (batch, {channels}, height, width); got {tuple(shape)}")


def pad(x: AnyTensor, padding: Padding, mode: str = "zeros") -> AnyTensor:
    """An image with a border: zeros, its edge mirrored ('reflect') or repeated ('replicate'), its other side ('circular')."""
    if mode not in PADDING_MODES:
        raise ValueError(f"padding_mode must be one of {', '.join(PADDING_MODES)}; got {mode!r}")
    if mode != "zeros":
        rows, columns = (
            np.pad(np.arange(size), width, mode=PADDING_MODES[mode])  # type: ignore[call-overload]
            for size, width in zip(x.shape[2:], padding, strict=True)
        )
        return x[:, :, rows[:, np.newaxis], columns]
    width = ((0, 0), (0, 0), *padding)
    if isinstance(x, QTensor):
        return x.with_values(np.pad(x.values, width, constant_values=x.q_zero_point()))
    return apply(OPS["pad"], x, width=width)


# ---- pooling ---------------------------------------------------------------------------------------------------------


def max_pool2d(
    x: AnyTensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> AnyTensor:
    """The greatest element of each window; stride defaults to kernel_size.

    ceil_mode (integers only): a last window may pass the end.
    """
    kernel, border, gaps = pair(kernel_size, "kernel_size"), pair(padding, "padding"), pair(dilation, "dilation")
    steps = kernel if stride is None else pair(stride, "stride")
    if isinstance(x, QTensor):
        return x.pool((Sliding, kernel, steps, border, gaps, ceil_mode), False)
    _only_of_integers("max_pool2d", ceil_mode=ceil_mode)
    return apply(spatial.MAX_POOL2D, x, kernel=kernel, stride=steps, padding=border, dilation=gaps)


def _only_of_integers(name: str, **given: Any) -> None:
    for option, value in given.items():
        if value:
            raise ValueError(f"{name}: {option} is supported for quantized tensors only; got a float tensor")


def avg_pool2d(
    x: AnyTensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> AnyTensor:
    """The mean of each window, padding counted as zeros; stride defaults to kernel_size.

    Integers are averaged exactly and rounded half to even, and keep their scale; for them alone, count_include_pad says
    whether padding counts among the divisor, and divisor_override is the divisor.
    """
    kernel, border = pair(kernel_size, "kernel_size"), pair(padding, "padding")
    steps = kernel if stride is None else pair(stride, "stride")
    if isinstance(x, QTensor):
        windows = (Sliding, kernel, steps, border, (1, 1), ceil_mode)
        return x.pool(windows, True, count_include_pad, divisor_override)
    _only_of_integers(
        "avg_pool2d", ceil_mode=ceil_mode, count_include_pad=not count_include_pad, divisor_override=divisor_override
    )
    return apply(spatial.AVG_POOL2D, x, kernel=kernel, stride=steps, padding=border)


def adaptive_avg_pool2d(x: AnyTensor, output_size: int | tuple[int | None, int | None]) -> AnyTensor:
    """The means of output_size windows that cover the image; None keeps a size. Integers as in `avg_pool2d`."""
    wanted = (output_size, output_size) if isinstance(output_size, int) else output_size
    out = (x.shape[2] if wanted[0] is None else wanted[0], x.shape[3] if wanted[1] is None else wanted[1])
    if isinstance(x, QTensor):
        return x.pool((Adaptive, out), True)
    return apply(spatial.ADAPTIVE_AVG_POOL2D, x, out=out)


# ---- the rest --------------------------------------------------------------------------------------------------------


def relu(x: AnyTensor) -> AnyTensor:
    """max(x, 0)."""
    return x.relu()


def flatten(x: AnyTensor, start_dim: int = 0, end_dim: int = -1) -> AnyTensor:
    """Axes start_dim..end_dim merged into one."""
    return x.flatten(start_dim, end_dim)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """In training, zeroes each element with probability p and scales the others by 1 / (1 - p)."""
    if not training or p == 0:
        return x
    keep = (generator().random(x.shape, dtype=np.float32) >= p).astype(np.float32)
    return x * Tensor(keep / np.float32(1 - p) if p < 1 else keep)


def batch_norm(
    x: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization; `normalization` has the formula.

    In training the batch's statistics are used, and the running ones pulled towards them in place:
    running = (1 - momentum) running + momentum batch, with the unbiased variance.
    """
    mean, var = np.asarray(running_mean), np.asarray(running_var)
    if training:
        axes = normalization.channel_axes(x.array)
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError(
                f"batch normalization in training needs more than one value per channel; got shape {x.shape}"
            )
        batch_mean, batch_var = x.array.mean(axis=axes), x.array.var(axis=axes)
        mean += np.float32(momentum) * (batch_mean - mean)
        var += np.float32(momentum) * (batch_var * np.float32(count / (count - 1)) - var)
        mean, var = batch_mean, batch_var
    return apply(normalization.BATCH_NORM, x, weight, bias, mean, var, eps=eps, training=training)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(e^x_i / sum_j e^x_j) along an axis."""
    return apply(OPS["log_softmax"], x, axis=dim)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """e^x_i / sum_j e^x_j along an axis."""
    return log_softmax(x, dim).exp()


def cross_entropy(x: Tensor, target: Any) -> Tensor:
    """Mean over the batch of -log softmax(x)[target]. x: (batch, classes). target: (batch,) integers."""
    classes = np.asarray(target)
    if x.ndim != 2 or classes.shape != (x.shape[0],) or classes.dtype.kind not in "iu":
        raise ValueError(
            f"cross_entropy takes logits (batch, classes) and integer classes (batch,); got {x.shape} and "
            f"{classes.dtype} of shape {classes.shape}"
        )
    return -log_softmax(x)[np.arange(len(classes)), classes].mean()


def mse_loss(x: Tensor, target: Any) -> Tensor:
    """Mean of (x - target)^2. Shapes must be equal."""
    wanted = target if isinstance(target, Tensor) else Tensor(np.asarray(target, dtype=x.dtype))
    if x.shape != wanted.shape:
        raise ValueError(f"mse_loss takes two tensors of one shape; got {x.shape} and {wanted.shape}")
    difference = x - wanted
    return (difference * difference).mean()
