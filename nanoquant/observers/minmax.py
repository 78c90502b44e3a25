"""The widest range seen so far.

Before: `base`. After: `moving_average`, which forgets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Floats, Observer


class MinMaxObserver(Observer):
    """Minimum and maximum over all the data.

        min_val = min(min_val, min x)        max_val = max(max_val, max x)

    Arguments: see `Observer`. qscheme must be per tensor.

    >>> observer = MinMaxObserver()
    >>> _ = observer([[-1.0, 2.0]]), observer([3.0])
    >>> print(*observer.calculate_qparams())
    [0.01568628] [64]
    """

    def observe(self, x: Floats) -> None:
        """Widens the range to include x."""
        self.widen(*self.extremes(x))

    def widen(self, low: Floats, high: Floats) -> None:
        """Widens the range to include [low, high]."""
        self.check_shape(low)
        if self.calibrated:
            low, high = np.minimum(self.min_val, low), np.maximum(self.max_val, high)
        self.min_val, self.max_val = low, high

    def absorb(self, other: Any) -> None:
        """Widens the range to include the other's."""
        self.widen(other.min_val, other.max_val)


class PerChannelMinMaxObserver(MinMaxObserver):
    """Minimum and maximum of each channel along `ch_axis`, over all the data.

    >>> observer = PerChannelMinMaxObserver(ch_axis=0)
    >>> _ = observer([[-1.0, 2.0], [0.0, 0.5]])
    >>> observer.min_val, observer.max_val
    (array([-1.,  0.], dtype=float32), array([2. , 0.5], dtype=float32))
    """

    granularity = "channel"
    may_be_dynamic = False

    def __init__(self, ch_axis: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, ch_axis=ch_axis, **kwargs)


class PerGroupMinMaxObserver(MinMaxObserver):
    """Minimum and maximum of each run of `group_size` neighbours along `ch_axis`, for each index of the other axes.

    Weights of few bits have scales this fine. The axis must divide into whole groups.

    >>> observer = PerGroupMinMaxObserver(group_size=2)
    >>> _ = observer([[-1.0, 2.0, 0.0, 0.5]])
    >>> observer.max_val
    array([[2. , 0.5]], dtype=float32)
    """

    granularity = "group"
    may_be_dynamic = False

    def __init__(self, group_size: int, ch_axis: int = -1, *args: Any, **kwargs: Any) -> None:
        if group_size < 1:
            raise ValueError(f"group_size must be at least 1; got {group_size}")
        super().__init__(*args, ch_axis=ch_axis, group_size=group_size, **kwargs)


class PerTokenMinMaxObserver(MinMaxObserver):
    """Minimum and maximum of each row of the last axis, of the latest batch alone: activations of a Transformer.

    >>> observer = PerTokenMinMaxObserver()
    >>> _ = observer([[-1.0, 2.0], [0.0, 0.5]])
    >>> observer.qparams().scale.shape, observer.qparams().group_size
    ((2, 1), 2)
    """

    granularity = "token"
    progress = MinMaxObserver.progress | {"group_size"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, ch_axis=-1, **kwargs)

    def observe(self, x: Floats) -> None:
        """Takes the rows of x."""
        self.group_size = x.shape[-1] if x.ndim else 1
        self.min_val, self.max_val = self.extremes(x)

    def absorb(self, other: Any) -> None:
        """Takes the other's rows, which count as later."""
        self.group_size, self.min_val, self.max_val = other.group_size, other.min_val, other.max_val
