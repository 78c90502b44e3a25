"""Linear layers with fake-quantized weights.

Before: `twin`. After: `conv`.
"""

from __future__ import annotations

from ...autograd.tensor import Tensor
from .. import functional as F
from .. import linear as float_linear
from .twin import Twin


class Linear(Twin, float_linear.Linear):
    """`nn.Linear` with fake-quantized weights; `Twin` says what it computes."""

    def copy_geometry(self, layer: float_linear.Linear) -> None:
        """Takes over another layer's sizes."""
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """y = x W^T + b."""
        return F.linear(x, weight, bias)


class LinearReLU(Linear):
    """`nn.intrinsic.LinearReLU` with fake-quantized weights."""

    relu = True


class LinearBn1d(Linear):
    """`nn.intrinsic.LinearBn1d` with fake-quantized folded weights."""


class LinearBnReLU1d(LinearBn1d):
    """`nn.intrinsic.LinearBnReLU1d` with fake-quantized folded weights."""

    relu = True
