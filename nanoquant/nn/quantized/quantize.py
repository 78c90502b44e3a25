"""The two ends of an integer part of a network.

Before: `weighted`. After: `linear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.tensor import Tensor
from ...errors import ModuleError
from ...module import Module
from ...qparams import QParams
from ...qtensor import QTensor, quantize
from ...scheme import QDType, quint8
from ..layer import as_tensor
from .on_grid import OnGrid, output_qparams


class Quantize(OnGrid):
    """Floats to integers: q = clamp(rint(x * (1 / scale)) + zero_point). What a calibrated QuantStub becomes.

    >>> Quantize(0.5, 10, quint8)([1.0])
    tensor([1.], size=(1,), dtype=quint8, per_tensor_affine, scale=0.5, zero_point=10)
    """

    only_bytes = False

    def __init__(
        self, scale: float, zero_point: int, dtype: QDType = quint8, quant_min: int | None = None, quant_max: int | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_output()
        step, offset = np.asarray(scale).reshape(()), np.asarray(zero_point).reshape(())
        self.set_output(QParams(step, offset, dtype, None, quant_min, quant_max))

    @classmethod
    def from_float(cls, module: Any) -> Quantize:
        """From a QuantStub whose observer has seen data."""
        q = output_qparams(module)
        return cls(float(q.scale), int(q.zero_point), q.dtype, *q.limits)

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        value = as_tensor(x)
        if isinstance(value, QTensor):
            raise ModuleError(self, "the input is quantized already: remove this QuantStub, or dequantize before it")
        return quantize(value, self.output())

    def extra_repr(self) -> str:
        """What the integers mean."""
        return self.grid_repr().removeprefix("out=")


class DeQuantize(Module):
    """Integers to the floats they mean: x = scale * (q - zero_point). What a DeQuantStub becomes."""

    @classmethod
    def from_float(cls, module: Any) -> DeQuantize:
        """A DeQuantStub has no state."""
        del module
        return cls()

    def forward(self, x: Any) -> Tensor:
        """See the class; a float input passes unchanged."""
        value = as_tensor(x)
        return value.dequantize() if isinstance(value, QTensor) else value
