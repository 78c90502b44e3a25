"""What the QAT twins of all layers share.

Before: `nanoquant.nn.intrinsic`. After: `linear`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ...autograd.parameter import Parameter
from ...autograd.tensor import Tensor
from ...module import Module
from ..activation import ReLU
from ..intrinsic import Fused, fold_batch_norm, fold_factor
from ..layer import take_float

Self = TypeVar("Self", bound="Twin")


class Twin(Module):
    """A layer whose weights are fake-quantized, perhaps with a batch normalization folded in.

        plain          y = layer(x, fq(weight)) + bias
        frozen BN      y = layer(x, fq(weight * factor)) + bias',        factor and bias' from running statistics
        live BN        y = BN(layer(x, fq(weight * factor)) / factor + bias)

    where factor = gamma / sqrt(running var + eps).

    The frozen form, also that of evaluation, is what convert makes an integer layer of. The live form quantizes the
    same folded weights, and divides by the factor again so that the batch's own statistics can be taken; it needs no
    second convolution.

    The parameters are those of the float layer, shared, not copied. Subclasses have `copy_geometry`, which takes over a
    layer's sizes, and define `apply_layer`.

    Source: Jacob et al. 2018, section 3.2 (folding); Krishnamoorthi 2018, section 3.2.2 (its correction).
    """

    relu = False
    weight: Parameter
    bias: Parameter | None
    weight_fake_quant: Module
    qconfig: Any

    def __init__(self, layer: Any, qconfig: Any, bn: Module | None = None) -> None:
        Module.__init__(self)
        self.copy_geometry(layer)
        self.weight = layer.weight
        self.register_parameter("bias", getattr(layer, "bias", None))
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()
        self.add_module("bn", bn)
        self.bn_frozen = False

    @classmethod
    def from_float(cls: type[Self], module: Any) -> Self:
        """The twin of a float layer, or of a fused module, that has a qconfig."""
        if not isinstance(module, Fused):
            return cls(module, module.qconfig)
        layer, second = module[0], module[1]
        return cls(layer, module.qconfig, None if isinstance(second, ReLU) else second)

    def apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with other weights."""
        raise NotImplementedError

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """The weights and bias that an integer layer will have, before quantization."""
        return (self.weight, self.bias) if self.bn is None else fold_batch_norm(self.weight, self.bias, self.bn)

    def forward(self, x: Any) -> Tensor:
        x = take_float(self, x)
        weight, bias = self.folded()
        quantized = self.weight_fake_quant(weight)
        if self.bn is None or self.bn_frozen or not self.training:
            y = self.apply_layer(x, quantized, bias)
        else:
            factor = fold_factor(self.bn)
            divisor = factor + Tensor((factor.array == 0).astype(np.float32))  # a dead channel's output is 0 either way
            y = self.apply_layer(x, quantized, None)
            y = y / divisor.reshape(1, -1, *(1 for _ in y.shape[2:]))
            y = self.bn(y if self.bias is None else y + self.bias.reshape(1, -1, *(1 for _ in y.shape[2:])))
        return y.relu() if self.relu else y
