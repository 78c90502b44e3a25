"""Normalizations, softmax and PReLU between integers, as layers, and what passes integers through.

Before: `activations`. After: `nanoquant.nn.quantized.dynamic`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModuleError
from ...kernels import tables
from ...qtensor import QTensor
from .. import activation, norm
from ..intrinsic import Fused
from ..linear import Identity
from . import normalization as ops
from .activation import by_table
from .on_grid import OnGrid, output_qparams

Function = Callable[[Any, QTensor, float, int], QTensor]  # (layer, x, output scale, output zero point)


class _Norm(OnGrid):
    """A float layer's arguments and arrays (buffers: `arrays`), and the grid of its output, which has x's dtype."""

    source: type[Any]
    function: Function
    arguments: tuple[str, ...] = ("eps",)
    arrays: tuple[str, ...] = ("weight", "bias")
    resizable_buffers = frozenset({"weight", "bias", "running_mean", "running_var"})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.register_output()
        self.adopt(self.source(*arguments, **options))

    @classmethod
    def from_float(cls, module: Any) -> Any:
        """From a float layer, or one fused with ReLU, whose observer has seen data."""
        twin = cls.__new__(cls)
        super(_Norm, twin).__init__()
        twin.register_output()
        twin.adopt(module[0] if isinstance(module, Fused) else module)
        twin.set_output(output_qparams(module))
        return twin

    def adopt(self, layer: Any) -> None:
        """Takes over a float layer's arguments and arrays."""
        for name in self.arguments:
            setattr(self, name, getattr(layer, name))
        for name in self.arrays:
            value = getattr(layer, name, None)
            self.register_buffer(name, None if value is None else np.array(value, np.float32))

    def forward(self, x: Any) -> QTensor:
        """The function of the integers' meaning, on this layer's grid."""
        q = self.take(x)
        if q.dtype != self.dtype:
            raise ModuleError(self, f"its output is {self.dtype.name}, and so must its input be; got {q.dtype.name}")
        return type(self).function(self, q, float(self.scale), int(self.zero_point))

    def printed_name(self) -> str:
        """'QuantizedLayerNorm', say."""
        return f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        """Arguments and the output's grid."""
        return ", ".join([*(f"{name}={getattr(self, name)}" for name in self.arguments), self.grid_repr()])


def _batch_norm(relu: bool) -> Function:
    normalize = ops.batch_norm_relu if relu else ops.batch_norm
    return lambda m, x, *y: normalize(x, m.weight, m.bias, m.running_mean, m.running_var, m.eps, *y)


def _group_norm(m: Any, x: QTensor, scale: float, zero_point: int) -> QTensor:
    """Each image's groups are rows of a layer_norm; so are all channels at once, if they have no weights of their own."""
    channels, size = x.shape[1], x.shape[2:]
    groups = getattr(m, "num_groups", channels)
    if m.weight is None:
        rows = x.reshape(x.shape[0] * groups, -1)
        return ops.layer_norm(rows, rows.shape[1:], None, None, m.eps, scale, zero_point).reshape(x.shape)
    each, pixels = channels // groups, int(np.prod(size))
    parts = []
    for first in range(0, channels, each):
        rows = x[:, first : first + each].reshape(x.shape[0], -1)
        weight, bias = (None if a is None else np.repeat(a[first : first + each], pixels) for a in (m.weight, m.bias))
        y = ops.layer_norm(rows, rows.shape[1:], weight, bias, m.eps, scale, zero_point)
        parts.append(y.reshape(x.shape[0], each, *size))
    return joined(parts)


def joined(parts: list[QTensor]) -> QTensor:
    """Tensors of one grid, their channels one after the other."""
    return parts[0].with_values(np.concatenate([part.values for part in parts], axis=1))


def _prelu(m: Any, x: QTensor, scale: float, zero_point: int) -> QTensor:
    """One table, or one for each channel."""
    if len(m.weight) == 1:
        return by_table(x, tables.leaky_relu, m.output(), float(m.weight[0]))
    if x.ndim < 2 or x.shape[1] != len(m.weight):
        raise ModuleError(m, f"it has {len(m.weight)} slopes, one for each channel; got an input of shape {x.shape}")
    return joined([by_table(x[:, c : c + 1], tables.leaky_relu, m.output(), float(w)) for c, w in enumerate(m.weight)])


def _layer(name: str, source: Any, function: Function, arguments: str, arrays: str, what: str) -> type[Any]:
    body = {"source": source, "function": staticmethod(function), "arguments": tuple(arguments.split())}
    doc = f"`nn.{name}` from integers to integers{what}."
    return type(name, (_Norm,), body | {"arrays": tuple(arrays.split()), "__doc__": doc, "__module__": __name__})


_STATISTICS, _AFFINE = "weight bias running_mean running_var", "weight bias"
BatchNorm1d, BatchNorm2d, BatchNorm3d = (
    _layer(f"BatchNorm{n}d", source, _batch_norm(False), "num_features eps", _STATISTICS, ", by its running statistics")
    for n, source in enumerate((norm.BatchNorm1d, norm.BatchNorm2d, norm.BatchNorm3d), 1)
)
BNReLU2d, BNReLU3d = (
    _layer(f"BNReLU{n}d", source, _batch_norm(True), "num_features eps", _STATISTICS, " and ReLU")
    for n, source in ((2, norm.BatchNorm2d), (3, norm.BatchNorm3d))
)
InstanceNorm1d, InstanceNorm2d, InstanceNorm3d = (
    _layer(f"InstanceNorm{n}d", source, _group_norm, "num_features eps", _AFFINE, "")
    for n, source in enumerate((norm.InstanceNorm1d, norm.InstanceNorm2d, norm.InstanceNorm3d), 1)
)
GroupNorm = _layer("GroupNorm", norm.GroupNorm, _group_norm, "num_groups num_channels eps", _AFFINE, "")
LayerNorm = _layer(
    "LayerNorm", norm.LayerNorm,
    lambda m, x, *y: ops.layer_norm(x, m.normalized_shape, _flat(m.weight), _flat(m.bias), m.eps, *y),
    "normalized_shape eps", _AFFINE, "",
)  # fmt: skip
Softmax = _layer("Softmax", activation.Softmax, lambda m, x, *y: ops.softmax(x, m.dim, *y), "dim", "", "")
PReLU = _layer("PReLU", activation.PReLU, _prelu, "num_parameters", "weight", ", its slopes in float")


def _flat(array: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    return None if array is None else array.reshape(-1)


def _stateless(name: str, kind: type[Any], doc: str) -> type[Any]:
    body = {"from_float": classmethod(lambda cls, module: cls()), "__doc__": doc, "__module__": __name__}
    return type(name, (kind,), body)


ReLU6 = _stateless("ReLU6", activation.ReLU6, "min(max(x, 0), 6), on the integers; the scale stays.")
Dropout = _stateless("Dropout", Identity, "Nothing: a quantized network does not train.")
