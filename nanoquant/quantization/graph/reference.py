"""Reference: the lowered graph, each layer computed by its NumPy specification instead of by C.

    linear, convolutions     `kernels.reference` and the epilogue in `numerics`
    add, mul, cat            `kernels.pointwise`
    quantize, dequantize     `affine`

The integers are the same, bit for bit; where they are not, a kernel is wrong. Layers without weights that have but one form
(pools, tables of functions) stay, and so do the fused ones of oneDNN. Before: `observe`. After: `lower`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import affine
from ...autograd.tensor import Tensor
from ...errors import ModuleError
from ...kernels import pointwise, reference
from ...module import Module
from ...nn.quantized import Conv2d, DeQuantize, Linear, QFunctional, Quantize
from ...nn.quantized.weighted import Static
from ...numerics import bind
from ...per_tensor import grid
from ...qtensor import QTensor
from ..eager.prepare import exchange
from .module import GraphModule


class Reference(Module):
    """A layer with weights, by specification. layer: its integer form, which keeps the state."""

    def __init__(self, layer: Static) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> QTensor:
        """The layer's sum, exact, and its epilogue."""
        layer: Any = self.layer
        q, y, w = layer.take(x), layer.output(), layer.packed()
        image = hasattr(layer, "kernel_size")
        if image:
            q, _ = layer.split_padding(q)
        values = np.moveaxis(q.values, 1, -1) if image else q.values.reshape(1, -1, q.shape[-1])
        weights = w.weights if image else w.weights[..., 0]
        steps = weights.reshape(len(weights), -1).T.astype(np.int64) - w.zero_point
        magnitude = np.abs(steps).sum(axis=0)
        epilogue = bind(
            layer.profile, float(q.qparams.scale), w.scale, w.bias, magnitude, float(y.scale), int(y.zero_point), y.limits[0],
            y.limits[1], layer.relu,
        )  # fmt: skip
        geometry = {name: getattr(w, name) for name in _GEOMETRY} if image else {}
        out = reference.conv(values, int(q.qparams.zero_point), weights, w.zero_point, epilogue, **geometry)
        out = np.moveaxis(out, -1, 1) if image else out.reshape(*q.shape[:-1], -1)
        return QTensor(out.astype(y.dtype.storage), y)

    def extra_repr(self) -> str:
        """That it is a reference."""
        return "by specification"


_SPECIFIED = Linear.forward, Conv2d.forward  # what the fused layers of oneDNN compute beside that has no reference here
_GEOMETRY = ("stride", "padding", "dilation", "groups", "transposed", "output_padding")


class ReferenceFunctional(QFunctional):
    """Sums, products and concatenations, by specification."""

    @classmethod
    def of(cls, functional: QFunctional) -> ReferenceFunctional:
        """With the grid of another."""
        twin = cls()
        twin.set_output(functional.output())
        return twin

    def _pair(self, name: str, x: Any, y: Any, relu: bool = False) -> QTensor:
        a, b, out = self.take(x), self.take(y), grid(self.output())
        values = np.broadcast_arrays(a.values, b.values)
        limits = out.relu if relu else None
        made = getattr(pointwise, name)(values[0], grid(a.qparams), values[1], grid(b.qparams), out, limits)
        return QTensor(made, self.output())

    def add(self, x: Any, y: Any) -> QTensor:
        """See `pointwise.add`."""
        return self._pair("add", x, y)

    def add_relu(self, x: Any, y: Any) -> QTensor:
        """See `pointwise.add`."""
        return self._pair("add", x, y, relu=True)

    def mul(self, x: Any, y: Any) -> QTensor:
        """See `pointwise.mul`."""
        return self._pair("mul", x, y)

    def cat(self, x: Sequence[Any], dim: int = 0) -> QTensor:
        """See `pointwise.requantize`."""
        out, parts = grid(self.output()), [self.take(part) for part in x]
        made = [pointwise.requantize(part.values, grid(part.qparams), out) for part in parts]
        return QTensor(np.concatenate(made, dim), self.output())


class ReferenceQuantize(Quantize):
    """Quantization, by definition."""

    def forward(self, x: Any) -> QTensor:
        """See `affine.quantize_as`."""
        if isinstance(x, QTensor):
            raise ModuleError(self, "the input is quantized already")
        return QTensor(affine.quantize_as(x, self.output()), self.output())


class ReferenceDeQuantize(DeQuantize):
    """Dequantization, by definition."""

    def forward(self, x: Any) -> Tensor:
        """See `affine.dequantize_as`."""
        return Tensor(affine.dequantize_as(x.values, x.qparams)) if isinstance(x, QTensor) else x


def to_reference(gm: GraphModule) -> GraphModule:
    """The graph with reference layers in the integer layers' places; changed in place."""

    def twin(layer: Module, path: str) -> Module | None:
        del path
        if isinstance(layer, Static) and type(layer).forward in _SPECIFIED:
            return Reference(layer)
        if isinstance(layer, QFunctional):
            return ReferenceFunctional.of(layer)
        if type(layer) is Quantize:
            return ReferenceQuantize(float(layer.scale), int(layer.zero_point), layer.dtype, layer.quant_min, layer.quant_max)
        return ReferenceDeQuantize() if type(layer) is DeQuantize else None

    return exchange(gm, twin)  # type: ignore[return-value]
