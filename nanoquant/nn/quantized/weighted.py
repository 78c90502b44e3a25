"""What all quantized layers with weights share: their state, and how it comes from a float layer.

Before: `on_grid`. After: `quantize`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...autograd.tensor import Tensor
from ...errors import ModuleError
from ...kernels.engine import quantized as engine
from ...kernels.memory import CHANNELS_FIRST, Memory
from ...kernels.native import requested_isa
from ...kernels.packed import PackedWeights
from ...module import Module
from ...numerics import Profile
from ...per_tensor import grid, wanted
from ...qparams import QParams
from ...qtensor import QTensor, computed, quantize
from ...scheme import qint8
from ..intrinsic import Fused
from ..qat.twin import Twin
from .on_grid import OnGrid, output_qparams

# What is asked for besides x: an operator's name, scale and zero point; a layer's qparams and relu, and the order of x.
Asked = tuple[Any, ...]


def run(
    kind: str, packed: PackedWeights, x: QTensor, qparams: QParams, relu: bool = False, asked: Asked | None = None
) -> QTensor:
    """x through a layer, whose output means what `qparams` say.

    kind: "linear", where x is (..., in_features), or "conv", where it is (batch, in_channels, *size). x: 8-bit, with one
    scale. QParams are compared by identity, so that a call seen before is found at once. asked: see `run_again`.
    """
    memory, shape, order = x.lying(None if kind == "linear" else CHANNELS_FIRST[x.values.ndim])
    key = (kind, shape, x.qparams, qparams, relu, requested_isa())
    call = packed.calls.get(key)
    if call is None:
        call = packed.prepare(key, kind, shape, grid(x.qparams), wanted(qparams, relu))
    if asked is not None:
        packed.keep((asked, shape, x.qparams, requested_isa()), (call, qparams))
    return computed(call, memory, order, qparams, x.origin)


def run_again(packed: PackedWeights, x: QTensor, memory: Memory, asked: Asked) -> QTensor | None:
    """What `run` would return, if it has been asked the same before: the checks before it then need no second time.

    memory: how x lies, `x.lying(order)`.
    """
    data, shape, order = memory
    found = packed.calls.get((asked, shape, x.qparams, requested_isa()))
    return None if found is None else computed(found[0], data, order, found[1], x.origin)


class Weighted(Module):
    """Int8 weights, float bias, and a profile; packed for the CPU when first used.

    Buffers (the layer's state): weight_values (int8), weight_scale, weight_zero_point (both () or (out_channels,)),
    bias_values (float32, or None).
    """

    weight_values: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    weight_zero_point: NDArray[np.int64]
    bias_values: NDArray[np.float32] | None
    derived = frozenset({"_packed"})
    resizable_buffers = frozenset({"weight_scale", "weight_zero_point", "bias_values"})
    out_features_axis = 0

    def __init__(self, weight_shape: tuple[int, ...], bias: bool, profile: Profile | None) -> None:
        super().__init__()
        self.profile = engine.profile if profile is None else profile
        self.register_buffer("weight_values", np.zeros(weight_shape, np.int8))
        self.register_buffer("weight_scale", np.ones((), np.float32))
        self.register_buffer("weight_zero_point", np.zeros((), np.int64))
        outputs = weight_shape[self.out_features_axis]
        self.register_buffer("bias_values", np.zeros(outputs, np.float32) if bias else None)
        self._packed: PackedWeights | None = None

    def set_weight_bias(self, weight: QTensor, bias: Any) -> None:
        """Replaces weights (qint8, per tensor or per channel on axis 0) and bias (float, or None)."""
        axis = self.out_features_axis
        if weight.dtype != qint8 or weight.shape != self.weight_values.shape or weight.qparams.axis not in (None, axis):
            raise ValueError(
                f"weights must be qint8 of shape {self.weight_values.shape}, per tensor or per channel on axis {axis}; "
                f"got {weight.dtype.name} of shape {weight.shape}, axis {weight.qparams.axis}"
            )
        self.weight_values = np.asarray(weight.values, order="C")
        self.weight_scale, self.weight_zero_point = weight.qparams.scale, weight.qparams.zero_point
        self.bias_values = None if bias is None else np.array(bias, dtype=np.float32)
        self.state_changed()

    def filled(self, module: Any) -> Any:
        """This layer, with weights and bias from its float, fused or QAT twin."""
        self.set_weight_bias(*quantize_weights(module, self.out_features_axis))
        return self

    def weight(self) -> QTensor:
        """The weights, quantized."""
        axis = self.out_features_axis if self.weight_scale.ndim else None
        return QTensor(self.weight_values, QParams(self.weight_scale, self.weight_zero_point, qint8, axis))

    def bias(self) -> Tensor | None:
        """The bias, in float."""
        return None if self.bias_values is None else Tensor(self.bias_values)

    def state_changed(self) -> None:
        """Forgets the packed weights."""
        self._packed = None

    def packed(self) -> PackedWeights:
        """The weights as the kernels want them; made at the first call."""
        if self._packed is None:
            self._packed = self.pack(self.weight_values, self.weight_scale, self.weight_zero_point, self.bias_values)
        return self._packed

    def pack(
        self,
        values: NDArray[np.int8],
        scale: NDArray[np.float32],
        zero_point: NDArray[np.int64],
        bias: NDArray[np.float32] | None,
    ) -> PackedWeights:
        """PackedWeights with this layer's geometry."""
        raise NotImplementedError

    def printed_name(self) -> str:
        """'QuantizedLinear', as torch prints it."""
        return f"Quantized{type(self).__name__}"

    def weights_repr(self) -> str:
        """'int8 per-channel sym', say: what the weights are."""
        granularity = "per-channel" if self.weight_scale.ndim else "per-tensor"
        symmetry = "affine" if self.weight_zero_point.any() else "sym"
        return f"w=int8 {granularity} {symmetry}"


class Static(OnGrid, Weighted):
    """A layer with weights between integers: its output has a scale and a zero point of its own."""

    relu = False
    derived = frozenset({"_packed", "_output"})

    def __init__(self, weight_shape: tuple[int, ...], bias: bool, profile: Profile | None) -> None:
        Weighted.__init__(self, weight_shape, bias, profile)
        self.register_output()

    def __call__(self, x: Any, *more: Any, **options: Any) -> Any:
        """Module's. What `run` has kept is run again in as few steps as can be: they are most of what a small layer costs."""
        memory, packed = x.memory if type(x) is QTensor else None, self._packed
        if memory is not None and packed is not None and not (self._forward_hooks or self._forward_pre_hooks):
            y = run_again(packed, x, memory, (self._output, self.relu, memory[2]))
            if y is not None:
                return y
        return super().__call__(x, *more, **options)

    def run(self, kind: str, q: QTensor, keep: bool = True) -> QTensor:
        """`run` of this layer. keep: whether it does the same to all that are like q."""
        y, relu, order = self.output(), self.relu, None if kind == "linear" else CHANNELS_FIRST[q.values.ndim]
        return run(kind, self.packed(), q, y, relu, (y, relu, order) if keep else None)

    def filled(self, module: Any) -> Any:
        """This layer, with all it needs from its calibrated twin."""
        super().filled(module)
        self.set_output(output_qparams(module))
        return self

    def state_changed(self) -> None:
        """Forgets the packed weights and what was derived from the output's scale."""
        Weighted.state_changed(self)
        OnGrid.state_changed(self)

    def extra_repr(self) -> str:
        """One line, true facts only."""
        return f"{self.geometry_repr()}, {self.weights_repr()}, {self.grid_repr()}, profile={self.profile.name}"

    def geometry_repr(self) -> str:
        """Sizes."""
        raise NotImplementedError


def observed_weights(module: Any, axis: int = 0) -> tuple[Any, Any, QParams]:
    """Weights, bias (or None) and the weights' qparams, of a calibrated float layer, fused float module, or QAT layer.

    A QAT layer's own fake-quantizer chooses the qparams, as it did in training; a float layer gets a fresh observer
    from its qconfig. axis: of the output channels, to which an observer per channel is turned. Raises ModuleError for scales
    per channel of a grouped transposed convolution, which share no axis.
    """
    layer = module[0] if isinstance(module, Fused) else module
    if isinstance(layer, Twin):
        weight, bias = layer.folded()
        observer = layer.weight_fake_quant
    else:
        weight, bias = layer.weight, getattr(layer, "bias", None)
        observer = module.qconfig.weight()
        if observer.ch_axis is not None and axis != 0:
            if layer.groups > 1:
                raise ModuleError(
                    module, "its weights cannot have scales per channel, having groups: give it a qconfig with one scale"
                )
            observer.ch_axis = axis
    observer(weight.detach())
    return weight.array, None if bias is None else bias.array, observer.qparams()


def quantize_weights(module: Any, axis: int = 0) -> tuple[QTensor, Any]:
    """The int8 weights and float bias of `observed_weights`; ModuleError if the qconfig asks for others."""
    weight, bias, qparams = observed_weights(module, axis)
    if qparams.dtype != qint8 or qparams.axis not in (None, axis):
        raise ModuleError(
            module,
            f"weights must be qint8, per tensor or per channel on axis {axis}; its qconfig's weight observer gives {qparams!r}",
        )
    return quantize(weight, qparams), bias
