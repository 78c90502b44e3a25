"""A range that follows the data: each batch pulls it a little.

Before: `minmax`. After: `histogram`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..qparams import EPS
from ..scheme import QDType, QScheme, per_channel_affine, per_tensor_affine, quint8
from .base import Observer, extremes
from .minmax import MinMaxObserver, PerChannelMinMaxObserver


class MovingAverageMinMaxObserver(MinMaxObserver):
    """Exponential moving average of each batch's minimum and maximum.

        first batch:    min_val = min x
        later batches:  min_val = min_val + c (min x - min_val)        c = averaging_constant; max_val likewise

    With c = 1 the observer is memoryless: it shows the range of the last batch (exactly, by Sterbenz's lemma, if no
    bound moved by more than a factor of two; else to a rounding of the formula).

    >>> observer = MovingAverageMinMaxObserver(averaging_constant=0.5)
    >>> _ = observer([0.0, 4.0]), observer([0.0, 8.0])
    >>> float(observer.max_val)
    6.0
    """

    def __init__(
        self,
        averaging_constant: float = 0.01,
        dtype: QDType = quint8,
        qscheme: QScheme = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        if is_dynamic and averaging_constant != 1:
            raise NotImplementedError(
                f"a dynamic range has no memory: averaging_constant must be 1; got {averaging_constant}"
            )
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        self.averaging_constant = averaging_constant

    def observe(self, x: NDArray[np.float32]) -> None:
        """Pulls the range towards that of x."""
        follow(self, x, self.averaging_constant)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """`MovingAverageMinMaxObserver` for each channel along `ch_axis`."""

    def __init__(
        self,
        averaging_constant: float = 0.01,
        ch_axis: int = 0,
        dtype: QDType = quint8,
        qscheme: QScheme = per_channel_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(ch_axis, dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        self.averaging_constant = averaging_constant

    def observe(self, x: NDArray[np.float32]) -> None:
        """Pulls each channel's range towards that of its part of x."""
        follow(self, x, self.averaging_constant)


def follow(observer: Observer, x: NDArray[np.float32], constant: float) -> None:
    """One step of the moving average; the first batch is taken as it is."""
    low, high = extremes(x, observer)
    if observer.calibrated:
        c = np.float32(constant)
        low = observer.min_val + c * (low - observer.min_val)
        high = observer.max_val + c * (high - observer.max_val)
    observer.min_val, observer.max_val = low, high
