"""The widest range seen so far.

Before: `base`. After: `moving_average`, which forgets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..qparams import EPS
from ..scheme import QDType, QScheme, per_channel_affine, per_tensor_affine, quint8
from .base import Observer, extremes


class MinMaxObserver(Observer):
    """Minimum and maximum over all the data.

        min_val = min(min_val, min x)        max_val = max(max_val, max x)

    Arguments: see `Observer`. qscheme must be per tensor.

    >>> observer = MinMaxObserver()
    >>> _ = observer([[-1.0, 2.0]]), observer([3.0])
    >>> print(*observer.calculate_qparams())
    [0.01568628] [64]
    """

    def __init__(
        self,
        dtype: QDType = quint8,
        qscheme: QScheme = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        if self.qscheme.per_channel:
            raise NotImplementedError(
                f"{type(self).__name__} has one range; use its PerChannel twin for {qscheme.name}"
            )

    def observe(self, x: NDArray[np.float32]) -> None:
        """Widens the range to include x."""
        low, high = extremes(x, self)
        self.min_val, self.max_val = np.minimum(self.min_val, low), np.maximum(self.max_val, high)


class PerChannelMinMaxObserver(Observer):
    """Minimum and maximum of each channel along `ch_axis`, over all the data.

    >>> observer = PerChannelMinMaxObserver(ch_axis=0)
    >>> _ = observer([[-1.0, 2.0], [0.0, 0.5]])
    >>> observer.min_val, observer.max_val
    (array([-1.,  0.], dtype=float32), array([2. , 0.5], dtype=float32))
    """

    def __init__(
        self,
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
        if is_dynamic:
            raise NotImplementedError(f"{type(self).__name__}: dynamic quantization has one range per tensor")
        object.__setattr__(self, "ch_axis", ch_axis)
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
        if not self.qscheme.per_channel:
            raise NotImplementedError(
                f"{type(self).__name__} has a range per channel; use MinMaxObserver for {qscheme.name}"
            )

    def observe(self, x: NDArray[np.float32]) -> None:
        """Widens each channel's range to include its part of x."""
        low, high = extremes(x, self)
        if self.min_val.size:
            low, high = np.minimum(self.min_val, low), np.maximum(self.max_val, high)
        self.min_val, self.max_val = low, high
