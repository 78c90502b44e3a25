"""An observer that observes nothing: it says how activations are to be quantized when the layer runs.

Before: `histogram`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..qparams import EPS
from ..scheme import QDType, QScheme, per_tensor_affine, quint8
from .base import NotCalibratedError, Observer


class PlaceholderObserver(Observer):
    """Carries a dtype and a range for activations that are quantized dynamically.

    >>> PlaceholderObserver(is_dynamic=True).is_dynamic
    True
    """

    def __init__(
        self,
        dtype: QDType = quint8,
        custom_op_name: str = "",
        compute_dtype: QDType | None = None,
        quant_min: int | None = None,
        quant_max: int | None = None,
        qscheme: QScheme = per_tensor_affine,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, False, quant_min, quant_max, None, eps, is_dynamic)
        self.custom_op, self.compute_dtype = custom_op_name, compute_dtype

    def observe(self, x: NDArray[np.float32]) -> None:
        """Nothing."""

    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Raises NotCalibratedError: there is nothing to calculate from."""
        raise NotCalibratedError(
            "PlaceholderObserver observes nothing: it stands for activations that are quantized dynamically, or not at all"
        )
