"""Observers that choose nothing: constants, wishes, recordings.

Before: `histogram`. After: `nanoquant.calibration`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..qparams import QParams
from ..scheme import QDType, quint8
from .base import Floats, NotCalibratedError, Observer


class PlaceholderObserver(Observer):
    """Carries a dtype and a range for activations that are quantized dynamically, or not at all.

    dtype: a quantized dtype, or a NumPy float dtype for what stays float. custom_op_name, compute_dtype: carried along.

    >>> PlaceholderObserver(is_dynamic=True).is_dynamic
    True
    """

    may_stay_float = True

    def __init__(
        self, dtype: QDType | np.dtype[Any] | type[np.floating[Any]] = np.float32, custom_op_name: str = "",
        compute_dtype: QDType | None = None, quant_min: int | None = None, quant_max: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        quantized = dtype if isinstance(dtype, QDType) else quint8
        super().__init__(quantized, quant_min=quant_min, quant_max=quant_max, **kwargs)
        self.float_dtype = None if isinstance(dtype, QDType) else np.dtype(dtype).name
        self.custom_op, self.compute_dtype = custom_op_name, compute_dtype

    def observe(self, x: Floats) -> None:
        """Nothing."""

    def absorb(self, other: Any) -> None:
        """Nothing."""

    def calculate_qparams(self) -> tuple[Floats, NDArray[Any]]:
        """Raises NotCalibratedError: there is nothing to calculate from."""
        raise NotCalibratedError(
            f"{type(self).__name__} observes nothing: it stands for values that are quantized dynamically, or not at all"
        )


class NoopObserver(PlaceholderObserver):
    """Observes nothing, for what stays in float16 or float32."""

    def __init__(self, dtype: Any = np.float16, custom_op_name: str = "") -> None:
        super().__init__(dtype, custom_op_name)


class ReuseInputObserver(PlaceholderObserver):
    """Observes nothing: an operation that only moves values keeps the qparams of its input."""

    def __init__(self) -> None:
        super().__init__(quint8)


class FixedQParamsObserver(Observer):
    """Constants: for outputs whose range is known beforehand, such as a sigmoid's [0, 1].

    >>> FixedQParamsObserver(scale=1 / 256, zero_point=0).qparams().scale
    array(0.00390625, dtype=float32)
    """

    scale: Floats
    zero_point: NDArray[np.int64]

    def __init__(
        self, scale: ArrayLike, zero_point: ArrayLike, dtype: QDType = quint8, qscheme: Any = None,
        quant_min: int | None = 0, quant_max: int | None = 255, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(dtype, qscheme, False, quant_min, quant_max, **kwargs)
        given = QParams(np.asarray(scale), np.asarray(zero_point), dtype, None, quant_min, quant_max)
        self.register_buffer("scale", given.scale)
        self.register_buffer("zero_point", given.zero_point)

    @property
    def calibrated(self) -> bool:
        """Always."""
        return True

    def observe(self, x: Floats) -> None:
        """Nothing."""

    def absorb(self, other: Any) -> None:
        """Nothing."""

    def calculate_qparams(self) -> tuple[Floats, NDArray[Any]]:
        """The constants, as vectors of length 1."""
        return self.scale.reshape(1), self.zero_point.reshape(1)

    def extra_repr(self) -> str:
        return f"scale={float(self.scale):.6g}, zero_point={int(self.zero_point)}"


class RecordingObserver(Observer):
    """Keeps a copy of everything that passes, for a debugger; its memory grows with the data."""

    def __init__(self, dtype: QDType = quint8) -> None:
        super().__init__(dtype)
        self.tensor_val: list[Floats] = []

    def observe(self, x: Floats) -> None:
        self.tensor_val.append(x.copy())

    def get_tensor_value(self) -> list[Floats]:
        """All that passed, in order."""
        return self.tensor_val

    def calculate_qparams(self) -> tuple[Floats, NDArray[Any]]:
        """Raises NotCalibratedError: recordings are for looking at."""
        raise NotCalibratedError("RecordingObserver records and chooses no range: read get_tensor_value()")
