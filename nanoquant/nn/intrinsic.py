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
from .activation import Hardswish, LeakyReLU, ReLU, ReLU6, Tanh
from .container import Sequential
from .conv import Conv1d, Conv2d, Conv3d
from .linear import Linear
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d


def fold_factor(bn: Any) -> Tensor:
    """gamma / sqrt(var + eps) of a batch normalization's running statistics: one number per channel."""
    factor: Tensor = bn.weight / Tensor(np.sqrt(bn.running_var + np.float32(bn.eps)))
    return factor


def fold_batch_norm(weight: Tensor, bias: Tensor | None, bn: Any, axis: int = 0) -> tuple[Tensor, Tensor]:
    """(weight', bias') of the formula above; differentiable in weight, bias, gamma and beta.

    axis: of the output channels: 1 for a transposed convolution. QAT layers train on what this returns, and convert
    quantizes what it returns: the same bits.
    """
    factor, mean = fold_factor(bn), Tensor(bn.running_mean)
    shifted = -mean if bias is None else bias - mean
    shape = [1] * weight.ndim
    shape[axis] = -1
    return weight * factor.reshape(*shape), shifted * factor + bn.bias


class Fused(Sequential):
    """A Sequential whose parts `fuse_modules` put together; the first has the weights."""

    parts: tuple[type[Module], ...]

    def __init__(self, *modules: Module) -> None:
        for module, kind in zip(modules, self.parts, strict=True):
            if not isinstance(module, kind) and kind not in getattr(module, "parts", ()):
                names = ", ".join(part.__name__ for part in self.parts)
                raise TypeError(f"{type(self).__name__} is made of {names}; got {type(module).__name__}")
        super().__init__(*modules)

    def forward(self, x: Any) -> Any:
        """The last part's output. An observer that prepare added is a child and no part: it has a hook, and runs once."""
        for part in self[: len(self.parts)]:
            x = part(x)
        return x


def _fused(name: str, doc: str, *parts: type[Any]) -> type[Any]:
    return type(name, (Fused,), {"parts": parts, "__doc__": doc, "__module__": __name__})


LinearReLU = _fused("LinearReLU", "Linear, then ReLU.", Linear, ReLU)
LinearBn1d = _fused("LinearBn1d", "Linear, then BatchNorm1d: for quantization-aware training.", Linear, BatchNorm1d)
LinearBnReLU1d = _fused(
    "LinearBnReLU1d", "Linear, BatchNorm1d, ReLU: for quantization-aware training.", Linear, BatchNorm1d, ReLU
)
LinearLeakyReLU = _fused("LinearLeakyReLU", "Linear, then LeakyReLU.", Linear, LeakyReLU)
LinearTanh = _fused("LinearTanh", "Linear, then Tanh.", Linear, Tanh)
BNReLU2d, BNReLU3d = (
    _fused(f"BNReLU{n}d", f"BatchNorm{n}d, then ReLU.", norm, ReLU) for n, norm in ((2, BatchNorm2d), (3, BatchNorm3d))
)
CONVOLUTIONS: tuple[tuple[type[Any], type[Any]], ...] = ((Conv1d, BatchNorm1d), (Conv2d, BatchNorm2d), (Conv3d, BatchNorm3d))
ConvReLU1d, ConvReLU2d, ConvReLU3d = (
    _fused(f"ConvReLU{n}d", f"Conv{n}d, then ReLU.", conv, ReLU) for n, (conv, _) in enumerate(CONVOLUTIONS, 1)
)
ConvBn1d, ConvBn2d, ConvBn3d = (
    _fused(f"ConvBn{n}d", f"Conv{n}d, then BatchNorm{n}d: for quantization-aware training.", *parts)
    for n, parts in enumerate(CONVOLUTIONS, 1)
)
ConvBnReLU1d, ConvBnReLU2d, ConvBnReLU3d = (
    _fused(f"ConvBnReLU{n}d", f"Conv{n}d, BatchNorm{n}d, ReLU: for quantization-aware training.", *parts, ReLU)
    for n, parts in enumerate(CONVOLUTIONS, 1)
)
# in training, the first part may be a ConvBn2d
Conv2dReLU6, Conv2dHardswish = (
    _fused(f"Conv2d{act.__name__}", f"Conv2d, then {act.__name__}.", Conv2d, act) for act in (ReLU6, Hardswish)
)


class ConvAdd2d(Fused):
    """Conv2d of x, then the function `add` of that and z: `torch.add` in scripts, `nq.add` here."""

    parts = (Conv2d,)
    relu = False

    def __init__(self, conv: Module, add: Any, *rest: Module) -> None:
        super().__init__(conv)
        self.add = add
        for number, module in enumerate(rest, 1):
            self.add_module(str(number), module)

    def forward(self, x: Any, z: Any = None) -> Any:
        """add(conv(x), z), and what follows."""
        y = self.add(self[0](x), z)
        return y.relu() if self.relu else y


class ConvAddReLU2d(ConvAdd2d):
    """`ConvAdd2d`, then ReLU."""

    relu = True
