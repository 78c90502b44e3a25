"""What all layers between integers share: the grid of their output, and the demand that their input be integers.

Before: `nanoquant.nn.qat`. After: `weighted`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ModuleError
from ...module import Module
from ...qparams import QParams
from ...qtensor import QTensor
from ...scheme import QDType, quint8


class OnGrid(Module):
    """A module whose output is integers.

    scale, zero_point (buffers), dtype: of the output. quant_min, quant_max: its range of integers.
    """

    derived = frozenset({"_output"})
    only_bytes = True
    _output: QParams | None

    def register_output(self) -> None:
        """Makes the buffers, of a grid of steps of 1."""
        self.register_buffer("scale", None)
        self.register_buffer("zero_point", None)
        self.set_output(QParams(np.ones((), np.float32), np.zeros((), np.int64), quint8))

    def set_output(self, qparams: QParams) -> None:
        """Says what the output's integers mean."""
        if qparams.axis is not None or (self.only_bytes and qparams.dtype.bits != 8):
            raise ModuleError(self, f"the output must be 8-bit with one scale; got {qparams!r}")
        self.scale, self.zero_point = qparams.scale, qparams.zero_point
        self.dtype, (self.quant_min, self.quant_max) = qparams.dtype, qparams.limits

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("scale", "zero_point"):
            value = np.array(value, dtype=np.float32 if name == "scale" else np.int64).reshape(())
            object.__setattr__(self, "_output", None)
        super().__setattr__(name, value)

    def state_changed(self) -> None:
        """Forgets what was derived from the output's scale."""
        self._output = None

    def output(self) -> QParams:
        """What the output's integers mean."""
        if self._output is None:
            self._output = QParams(self.scale, self.zero_point, self.dtype, None, self.quant_min, self.quant_max)
        return self._output

    def take(self, x: Any) -> QTensor:
        """x, if it is a per-tensor 8-bit QTensor; else an error that says what is missing."""
        if not isinstance(x, QTensor):
            kind = f"{x.dtype} tensor" if hasattr(x, "dtype") else type(x).__name__
            raise ModuleError(
                self,
                f"an int8 layer received a {kind}, not a quantized one. Put a QuantStub before it in the model, and prepare, "
                "calibrate and convert again",
            )
        if x.qparams.axis is not None or x.dtype.bits != 8:
            raise ModuleError(self, f"the input must be 8-bit with one scale; got {x.dtype.name}, {x.qscheme().name}")
        return x

    def grid_repr(self) -> str:
        """The output's grid."""
        return f"out={self.dtype.name}: scale={float(self.scale):.6g}, zp={int(self.zero_point)}"


def output_qparams(module: Any) -> QParams:
    """What the observer behind a module has chosen for its output.

    A fake-quantizer's integer range is kept, so that the layer clamps where training clamped; a plain observer's range
    only chose the scale, and the layer may use all the integers of the dtype, as in torch.
    """
    observer = module.activation_post_process
    qparams: QParams = observer.qparams()
    if hasattr(observer, "fake_quant_enabled"):
        return qparams
    dtype: QDType = qparams.dtype
    return QParams(qparams.scale, qparams.zero_point, dtype, qparams.axis)
