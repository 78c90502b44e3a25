"""Moving averages of the range of each group.

Before: `nanoquant.observers`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

from typing import Any

from ..observers import MovingAverageMinMaxObserver


class MovingAveragePerGroupMinMaxObserver(MovingAverageMinMaxObserver):
    """`MovingAverageMinMaxObserver` for each run of `group_size` neighbours along `ch_axis`, for each index of the other axes.

    With averaging_constant 1 it is memoryless, as weights that train want it.

    >>> observer = MovingAveragePerGroupMinMaxObserver(averaging_constant=1, group_size=2)
    >>> _ = observer([[-1.0, 2.0, 0.0, 0.5]]), observer([[-1.0, 3.0, 0.0, 0.25]])
    >>> observer.max_val
    array([[3.  , 0.25]], dtype=float32)
    """

    granularity = "group"
    may_be_dynamic = False

    def __init__(
        self, averaging_constant: float = 0.01, group_size: int = 32, ch_axis: int = -1, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(averaging_constant, *args, ch_axis=ch_axis, group_size=group_size, **kwargs)
