"""Linear layers.

Before: `layer`. After: `activation`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.ops import Array, Op
from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor, apply
from ..creation import generator
from ..module import Module
from .layer import Layer, as_tensor


def uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """A parameter drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's initial weights and biases."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return Parameter(generator().uniform(-bound, bound, shape).astype(np.float32))


def _linear(x: Array, w: Array, b: Array | None = None) -> Array:
    y = x.reshape(-1, w.shape[1]) @ w.T
    return (y if b is None else np.add(y, b, out=y)).reshape(*x.shape[:-1], len(w))


def _linear_vjp(g: Array, y: Array, x: Array, w: Array, b: Array | None = None) -> tuple[Array, ...]:
    """dx = g W, dW = g^T x, db = sum g, over all rows."""
    rows = g.reshape(-1, len(w))
    gradients = ((rows @ w).reshape(x.shape), rows.T @ x.reshape(-1, w.shape[1]))
    return gradients if b is None else (*gradients, rows.sum(axis=0))


LINEAR = Op("linear", _linear, _linear_vjp)


def linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b. input: (..., in_features). weight: (out_features, in_features). bias: (out_features,)."""
    x = as_tensor(input)
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(f"the layer has {weight.shape[1]} input features; got an input of shape {x.shape}")
    return apply(LINEAR, x, weight) if bias is None else apply(LINEAR, x, weight, bias)


class Identity(Module):
    """Returns its input; whatever arguments it is made with say nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        del args, options
        super().__init__()

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class Linear(Layer):
    """y = x W^T + b.

    x: (..., in_features); y: (..., out_features). weight: (out_features, in_features); bias: (out_features,) or None.
    Both start uniform in +-1/sqrt(in_features).

    >>> Linear(3, 2)
    Linear(in_features=3, out_features=2, bias=True)
    """

    function = staticmethod(linear)
    shown = "in_features out_features bias"
    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        Module.__init__(self)
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform((out_features, in_features), in_features)
        self.register_parameter("bias", uniform((out_features,), in_features) if bias else None)
