"""Fused float modules: layers that will run as one when quantized.

Where batch normalization follows a convolution, the two are one linear map. With factor = gamma / sqrt(var + eps),

    weight' = weight * factor,    bias' = (bias - mean) * factor + beta

Before: `functional`. After: `nanoquant.nn.qat`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..module import Module
from .activation import ReLU
from .container import Sequential
from .conv import Conv2d
from .linear import Linear
from .norm import BatchNorm1d, BatchNorm2d


def fold_factor(bn: Any) -> Tensor:
    """gamma / sqrt(var + eps) of a batch normalization's running statistics: one number per channel."""
    factor: Tensor = bn.weight / Tensor(np.sqrt(bn.running_var + np.float32(bn.eps)))
    return factor


def fold_batch_norm(weight: Tensor, bias: Tensor | None, bn: Any) -> tuple[Tensor, Tensor]:
    """(weight', bias') of the formula above; differentiable in weight, bias, gamma and beta.

    QAT layers train on what this returns, and convert quantizes what it returns: the same bits.
    """
    factor, mean = fold_factor(bn), Tensor(bn.running_mean)
    shifted = -mean if bias is None else bias - mean
    return weight * factor.reshape(-1, *(1 for _ in weight.shape[1:])), shifted * factor + bn.bias


class Fused(Sequential):
    """A Sequential whose parts `fuse_modules` put together; the first has the weights."""

    parts: tuple[type[Module], ...]

    def __init__(self, *modules: Module) -> None:
        for module, kind in zip(modules, self.parts, strict=True):
            if not isinstance(module, kind):
                names = ", ".join(part.__name__ for part in self.parts)
                raise TypeError(f"{type(self).__name__} is made of {names}; got {type(module).__name__}")
        super().__init__(*modules)

    def forward(self, x: Any) -> Any:
        """The last part's output. An observer that prepare added is a child and no part: it has a hook, and runs once."""
        for part in self[: len(self.parts)]:
            x = part(x)
        return x


class LinearReLU(Fused):
    """Linear, then ReLU."""

    parts = (Linear, ReLU)


class LinearBn1d(Fused):
    """Linear, then BatchNorm1d: for quantization-aware training."""

    parts = (Linear, BatchNorm1d)


class ConvReLU2d(Fused):
    """Conv2d, then ReLU."""

    parts = (Conv2d, ReLU)


class ConvBn2d(Fused):
    """Conv2d, then BatchNorm2d: for quantization-aware training."""

    parts = (Conv2d, BatchNorm2d)


class ConvBnReLU2d(Fused):
    """Conv2d, BatchNorm2d, ReLU: for quantization-aware training."""

    parts = (Conv2d, BatchNorm2d, ReLU)
