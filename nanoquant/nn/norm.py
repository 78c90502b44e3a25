"""Layers that differ in training: normalization, y = weight (x - mean) / sqrt(var + eps) + bias, and dropout.

    mean and var of                 over batch   channels       size
    BatchNorm                            X                       X       and remembered for evaluation
    LayerNorm (channels last)                       X
    GroupNorm                                  of a group        X
    InstanceNorm                                                 X

Before: `conv`. After: `pool`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor, apply
from ..creation import generator
from ..functions import cat
from ..module import Module
from . import normalization
from .conv import AXES
from .layer import Layer, as_tensor, take_float

Vector = Tensor | None


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Vector = None, bias: Vector = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Batch normalization; `normalization` has the formula.

    In training the batch's statistics are used, and the running ones, unless None, pulled towards them in place:
    running = (1 - momentum) running + momentum batch, with the unbiased variance.
    """
    x = as_tensor(input)
    if not training:
        mean, var = np.asarray(running_mean), np.asarray(running_var)
    else:
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError(f"statistics of the input need more than one value per channel; got shape {x.shape}")
        mean, var = normalization.moments(x.array)
        unbiased = var * np.float32(count / (count - 1))
        for running, batch in ((running_mean, mean), (running_var, unbiased)):
            if running is not None:
                array = np.asarray(running)
                array += np.float32(momentum) * (batch - array)
    return _normalized(x, mean, var, weight, bias, training, eps)


def _normalized(x: Tensor, mean: Any, var: Any, weight: Vector, bias: Vector, training: bool, eps: float) -> Tensor:
    gamma = np.ones(x.shape[1], x.dtype) if weight is None else weight
    beta = np.zeros(x.shape[1], x.dtype) if bias is None else bias
    return apply(normalization.BATCH_NORM, x, gamma, beta, mean, var, eps=eps, training=training)


def _standardized(x: Tensor, parts: int, eps: float, weight: Vector, bias: Vector, shape: tuple[int, ...]) -> Tensor:
    """`parts` equal parts of x, in reading order, as the channels of a batch of 1; weight and bias then have `shape`."""
    rows = x.reshape(1, parts, x.numel() // max(parts, 1))
    y = _normalized(rows, rows.array.mean((0, 2)), rows.array.var((0, 2)), None, None, True, eps).reshape(x.shape)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def layer_norm(
    input: Any, normalized_shape: tuple[int, ...], weight: Vector = None, bias: Vector = None, eps: float = 1e-5
) -> Tensor:  # fmt: skip
    """Normalization over the last axes, whose sizes are normalized_shape, that of weight and bias too."""
    x, shape = as_tensor(input), tuple(normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"layer_norm over {shape} takes tensors whose last axes are that; got shape {x.shape}")
    return _standardized(x, math.prod(x.shape[: x.ndim - len(shape)]), eps, weight, bias, shape)


def group_norm(input: Any, num_groups: int, weight: Vector = None, bias: Vector = None, eps: float = 1e-5) -> Tensor:
    """Normalization of each image (batch, channels, ...) over groups of its channels."""
    x = as_tensor(input)
    if x.ndim < 2 or x.shape[1] % num_groups:
        raise ValueError(f"{num_groups} groups must divide the channels (axis 1); got shape {x.shape}")
    return _standardized(x, x.shape[0] * num_groups, eps, weight, bias, (-1, *(1 for _ in x.shape[2:])))


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Vector = None, bias: Vector = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalization of each channel of each image; the running statistics, if any, follow the means over the batch."""
    x = as_tensor(input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    batch, channels = x.shape[:2]
    mean, var = (None if r is None else np.tile(r, batch) for r in (running_mean, running_var))
    gamma, beta = (None if p is None else cat([p] * batch) for p in (weight, bias))
    y = batch_norm(x.reshape(1, batch * channels, *x.shape[2:]), mean, var, gamma, beta, True, momentum, eps)
    for kept, new in ((running_mean, mean), (running_var, var)):
        if new is not None:
            np.asarray(kept)[...] = new.reshape(batch, channels).mean(axis=0)
    return y.reshape(x.shape)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps) along an axis."""
    x = as_tensor(input)
    y: Tensor = x / x.norm(p, dim, True).clamp(min=eps)
    return y


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, together: int = 0) -> Any:
    """In training, zeroes each element with probability p and scales the others by 1 / (1 - p). Integers pass unchanged.

    together: how many of the last axes are kept or dropped as a whole. inplace changes nothing.
    """
    x = as_tensor(input)
    if not training or p == 0 or not isinstance(x, Tensor):
        return x
    shape = x.shape[: x.ndim - together] + (1,) * together
    keep = (generator().random(shape, dtype=np.float32) >= p).astype(np.float32)
    return x * Tensor(keep / np.float32(1 - p) if p < 1 else keep)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels (axis 1)."""
    return dropout(input, p, training, inplace, max(as_tensor(input).ndim - 2, 0))


class _Norm(Layer):
    weight: Parameter | None
    bias: Parameter | None

    def set_affine(self, shape: tuple[int, ...], affine: bool, bias: bool) -> None:
        """weight and bias of a shape, if wanted."""
        self.register_parameter("weight", Parameter(np.ones(shape, np.float32)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, np.float32)) if affine and bias else None)


class _BatchNorm(_Norm):
    dims: tuple[int, ...]
    counts = True  # the batches, for momentum=None
    function: Callable[..., Any] = staticmethod(batch_norm)
    shown = "*num_features eps momentum affine bias track_running_stats"

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, *, bias: bool = True,
    ) -> None:  # fmt: skip
        Module.__init__(self)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.set_affine((num_features,), affine, bias)
        start = {"running_mean": np.zeros(num_features, np.float32), "running_var": np.ones(num_features, np.float32),
                 "num_batches_tracked": np.zeros((), np.int64)}  # fmt: skip
        for name, value in start.items():
            self.register_buffer(name, value if track_running_stats else None)

    def forward(self, *inputs: Any) -> Tensor:
        """Takes the input's statistics, and updates the running ones, in training; else takes the running ones."""
        x: Tensor = take_float(self, inputs[0])
        if x.ndim not in self.dims or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}) takes {' or '.join(map(str, self.dims))} axes with "
                f"{self.num_features} channels on axis 1; got shape {x.shape}"
            )
        momentum = self.momentum or 0.0
        if self.counts and self.training and self.track_running_stats:
            self.num_batches_tracked += 1
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else momentum
        own = self.training or not self.track_running_stats
        y: Tensor = type(self).function(x, self.running_mean, self.running_var, self.weight, self.bias, own, momentum, self.eps)
        return y


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (batch, features) or (batch, channels, length).

        y = weight (x - mean) / sqrt(var + eps) + bias,    running = (1 - momentum) running + momentum batch

    momentum=None: running is the average of all batches so far. Without track_running_stats, evaluation takes the batch's
    statistics too; without affine, there are no weight and bias.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015.

    >>> y = BatchNorm1d(2)([[1.0, 10.0], [3.0, 30.0]])
    >>> y.detach().numpy().round(3)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images (batch, channels, height, width); see `BatchNorm1d`."""

    dims = (4,)


class InstanceNorm1d(_BatchNorm):
    """Normalization of each channel of each sequence (batch, channels, length), by its own mean and variance.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.
    """

    dims: tuple[int, ...] = (3,)
    counts = False
    function = staticmethod(instance_norm)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
        track_running_stats: bool = False, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias=bias)


def _over(name: str, base: type[_BatchNorm], size: str, dims: int) -> type[Any]:
    doc = f"`{base.__name__}` of (batch, channels, {size})."
    return type(name, (base,), {"__doc__": doc, "__module__": __name__, "dims": (dims,)})


BatchNorm3d = _over("BatchNorm3d", BatchNorm1d, AXES[3], 5)
InstanceNorm2d, InstanceNorm3d = (_over(f"InstanceNorm{n}d", InstanceNorm1d, AXES[n], n + 2) for n in (2, 3))


class LayerNorm(_Norm):
    """Normalization over the last axes, whose sizes are normalized_shape (an integer: one axis).

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.

    >>> LayerNorm(2)([[1.0, 3.0], [0.0, 8.0]]).detach().numpy().round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    function, shown = staticmethod(layer_norm), "*normalized_shape eps elementwise_affine bias"

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True) -> None:
        Module.__init__(self)
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.set_affine(shape, elementwise_affine, bias)


class GroupNorm(_Norm):
    """Normalization of each image (batch, num_channels, ...) over num_groups groups of its channels.

    Source: Wu and He, "Group Normalization", 2018.
    """

    function, shown = staticmethod(group_norm), "*num_groups *num_channels eps affine bias"

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True) -> None:
        Module.__init__(self)
        if num_channels % num_groups:
            raise ValueError(f"num_channels={num_channels} must be divisible by num_groups={num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.set_affine((num_channels,), affine, bias)


class Dropout(Layer):
    """In training, zeroes each element with probability p and scales the others by 1 / (1 - p); else returns its input.

    >>> Dropout(0.2).eval()([1.0, 2.0])
    tensor([1., 2.])
    """

    function: Callable[..., Any] = staticmethod(dropout)
    shown, integers, together = "p inplace", True, 0

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        Module.__init__(self)
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability; got {p}")
        self.p, self.inplace = p, inplace


class Dropout2d(Dropout):
    """`Dropout` of whole channels (axis 1)."""

    function = staticmethod(dropout2d)
