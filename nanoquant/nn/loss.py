"""What training makes small. Each loss is a function, and a layer of two inputs: loss(input, target).

reduction: 'mean' over all elements, 'sum', or 'none'. Everything behind the weights is given by name.

Before: `init`. After: `embedding`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.ops import Array, Op
from ..autograd.tensor import Tensor, apply
from .activation import log_softmax, softplus
from .layer import Layer, as_tensor, layer


def _reduce(loss: Tensor, reduction: str, total: Any = None) -> Tensor:
    """The losses, their sum, or their sum / total; total: their number, unless given."""
    if reduction not in ("mean", "sum", "none", "batchmean"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}")
    if reduction == "none":
        return loss
    total = len(loss) if reduction == "batchmean" else loss.numel() if total is None else total
    return loss.sum() if reduction == "sum" else loss.sum() / total


# ---- one class of many -----------------------------------------------------------------------------------------------


def _pick_vjp(g: Array, y: Array, x: Array, index: Array) -> tuple[Array]:
    dx = np.zeros_like(x)
    np.put_along_axis(dx, index, g, axis=1)
    return (dx,)


PICK = Op("pick", lambda x, index: np.take_along_axis(x, index, axis=1), _pick_vjp)


def _of_classes(log_p: Tensor, target: Array, weight: Any, ignore_index: int, reduction: str, smoothing: float) -> Tensor:
    """-w[t] log p[t], smoothed by epsilon = smoothing: (1 - epsilon) of that, and epsilon times the mean of all classes'."""
    classes, ignored = log_p.shape[1], target == ignore_index
    if target.shape != log_p.shape[:1] + log_p.shape[2:] or target.dtype.kind not in "iu":
        raise ValueError(
            f"the loss takes logits (batch, classes, ...) and integer classes (batch, ...); got {log_p.shape} and "
            f"{target.dtype} of shape {target.shape}"
        )
    known = np.where(ignored, 0, target)
    if known.size and not 0 <= known.min() <= known.max() < classes:
        raise ValueError(f"classes are integers in [0, {classes}); got {known.min()} to {known.max()}")
    w = np.ones(classes, log_p.dtype) if weight is None else np.asarray(weight, log_p.dtype)
    each = np.where(ignored, 0, w[known])
    loss = -apply(PICK, log_p, index=known[:, np.newaxis]).reshape(target.shape) * each
    if smoothing:
        share = -(log_p * w.reshape(-1, *(1 for _ in target.shape[1:]))).sum(1) * (~ignored).astype(w.dtype)
        loss = loss * (1 - smoothing) + share * (smoothing / classes)
    return _reduce(loss, reduction, float(each.sum()))


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-w[t] input[t], input being log-probabilities (batch, classes, ...), t = target (batch, ...); mean: over sum w[t]."""
    return _of_classes(as_tensor(input), np.asarray(target), weight, ignore_index, reduction, 0.0)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """-w[t] log softmax(input)[t], or -sum_c w[c] t[c] log softmax(input)[c] where target has a probability per class.

    input: (batch, classes, ...). target: (batch, ...) integers, or of input's shape. Mean: over the sum of w[t], or of rows.
    label_smoothing: that share of each target goes to all classes evenly.
    """
    log_p, t = log_softmax(input, 1), np.asarray(target)
    if t.shape != log_p.shape or t.dtype.kind in "iu":
        return _of_classes(log_p, t, weight, ignore_index, reduction, label_smoothing)
    smooth = t * (1 - label_smoothing) + label_smoothing / t.shape[1]
    w = 1 if weight is None else np.asarray(weight).reshape(-1, *(1 for _ in t.shape[2:]))
    return _reduce(-(log_p * (smooth * w).astype(log_p.dtype)).sum(1), reduction)


# ---- element by element ----------------------------------------------------------------------------------------------


def _elementwise(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss for each element, made a function (input, target, ..., reduction)."""
    name = f.__name__

    @functools.wraps(f)
    def loss(input: Any, target: Any, *args: Any, reduction: str = "mean", **options: Any) -> Tensor:
        x = as_tensor(input)
        t = target if isinstance(target, Tensor) else Tensor(np.asarray(target, dtype=x.dtype))
        if x.shape != t.shape:
            raise ValueError(f"{name} takes two tensors of one shape; got {x.shape} and {t.shape}")
        return _reduce(f(x, t, *args, **options), reduction)

    signature = inspect.signature(f)
    last = inspect.Parameter("reduction", inspect.Parameter.KEYWORD_ONLY, default="mean")
    vars(loss).update(__signature__=signature.replace(parameters=[*signature.parameters.values(), last]))
    return loss


@_elementwise
def l1_loss(x: Tensor, t: Tensor) -> Tensor:
    """|x - t|."""
    return (x - t).abs()


@_elementwise
def mse_loss(x: Tensor, t: Tensor) -> Tensor:
    """(x - t)^2."""
    return (x - t) * (x - t)


@_elementwise
def smooth_l1_loss(x: Tensor, t: Tensor, *, beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2."""
    d = (x - t).abs()
    near = d.clamp(max=beta)
    return near * (d - near * 0.5) / beta if beta else d


def _bce(x: Array, t: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(-t * np.maximum(np.log(x), -100) - (1 - t) * np.maximum(np.log1p(-x), -100))


BCE = Op("bce", _bce, lambda g, y, x, t: (g * (x - t) / np.maximum(x * (1 - x), 1e-12), None))


@_elementwise
def binary_cross_entropy(x: Tensor, t: Tensor, weight: Any = None) -> Tensor:
    """-w (t log x + (1 - t) log(1 - x)), x being probabilities; logarithms are at least -100."""
    return apply(BCE, x, t) if weight is None else apply(BCE, x, t) * weight


@_elementwise
def binary_cross_entropy_with_logits(x: Tensor, t: Tensor, weight: Any = None, *, pos_weight: Any = None) -> Any:
    """-w (p t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid and p = pos_weight: (1 - t) x + (1 + (p - 1) t) log(1 + e^-x)."""
    positive = 1 if pos_weight is None else 1 + (as_tensor(pos_weight) - 1) * t
    y = (1 - t) * x + positive * softplus(-x, threshold=math.inf)
    return y if weight is None else y * weight


@_elementwise
def kl_div(x: Tensor, t: Tensor, *, log_target: bool = False) -> Any:
    """t (log t - x), x being log-probabilities; with log_target, t is log t. reduction 'batchmean': sum / batch."""
    return t.exp() * (t - x) if log_target else t * ((t + (t.array == 0).astype(t.dtype)).log() - x)


class _Loss(Layer):
    inputs = 2

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("weight", "pos_weight"):
            if name in vars(self):
                value = vars(self).pop(name)
                self.register_buffer(name, None if value is None else as_tensor(value))


class CrossEntropyLoss(_Loss):
    """Mean over the batch of -log softmax(logits)[target]. logits: (batch, classes, ...); target: (batch, ...) integers.

    weight: one for each class. Also ignore_index, reduction and label_smoothing, as in `cross_entropy`.

    >>> round(CrossEntropyLoss()(nq.zeros(1, 4), nq.tensor([2])).item(), 4)
    1.3863
    """

    function = staticmethod(cross_entropy)


def _layer(name: str, function: Callable[..., Tensor]) -> type[Any]:
    return layer(name, function, f"Mean of {function.__doc__} A layer of `{function.__name__}`.", _Loss)


NLLLoss, L1Loss, MSELoss = _layer("NLLLoss", nll_loss), _layer("L1Loss", l1_loss), _layer("MSELoss", mse_loss)
SmoothL1Loss, KLDivLoss = _layer("SmoothL1Loss", smooth_l1_loss), _layer("KLDivLoss", kl_div)
BCELoss = _layer("BCELoss", binary_cross_entropy)
BCEWithLogitsLoss = _layer("BCEWithLogitsLoss", binary_cross_entropy_with_logits)
