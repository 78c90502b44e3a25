"""Batch normalization.

Before: `conv`. After: `activation`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor
from ..module import Module
from . import functional as F
from .linear import take_float


class _BatchNorm(Module):
    """y = weight (x - mean) / sqrt(var + eps) + bias, per channel (axis 1)."""

    dims: tuple[int, ...]
    weight: Parameter
    bias: Parameter

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x: Any) -> Tensor:
        """In training, normalizes by the batch's statistics and updates the running ones; else uses the running ones."""
        value = take_float(self, x)
        if value.ndim not in self.dims or value.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}) takes {' or '.join(map(str, self.dims))} axes with "
                f"{self.num_features} channels on axis 1; got shape {value.shape}"
            )
        if self.training:
            self.num_batches_tracked += 1
        return F.batch_norm(
            value, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (batch, features) or (batch, channels, length).

        y = weight (x - mean) / sqrt(var + eps) + bias,    running = (1 - momentum) running + momentum batch

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
