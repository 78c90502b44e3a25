"""A range that follows the data: each batch pulls it a little.

The order of the batches matters here. Whoever sees a part of them only, numbers them (`at`); then the range of every
batch is kept, and merged observers follow them anew in order.

Before: `minmax`. After: `histogram`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..qparams import AbsMaxRule
from ..scheme import QDType, QScheme, per_tensor_symmetric, qint8
from .base import Floats, Observer
from .minmax import MinMaxObserver


class NumberedObserver(MinMaxObserver):
    """Keeps the range of every numbered batch, in order: `numbers` (n,), `lows` and `highs` (n, ...)."""

    numbers: NDArray[np.int64]
    lows: Floats
    highs: Floats
    resizable_buffers = MinMaxObserver.resizable_buffers | {"numbers", "lows", "highs"}

    def reset_min_max_vals(self) -> None:
        super().reset_min_max_vals()
        for name, dtype in (("numbers", np.int64), ("lows", np.float32), ("highs", np.float32)):
            self.register_buffer(name, np.zeros(0, dtype))

    def note(self, numbers: NDArray[np.int64], lows: Floats, highs: Floats) -> None:
        """Files batches at their places. Raises ValueError for a batch that was filed before."""
        again = numbers[np.isin(numbers, self.numbers)]
        if again.size:
            raise ValueError(f"{type(self).__name__} has seen batch {again[0]} before")
        if self.numbers.size:
            self.check_shape(lows[0])
            lows, highs = np.concatenate([self.lows, lows]), np.concatenate([self.highs, highs])
        numbers = np.concatenate([self.numbers, numbers])
        order = np.argsort(numbers)
        self.numbers, self.lows, self.highs = numbers[order], lows[order], highs[order]

    def check_numbered(self, numbered: bool) -> None:
        """Raises ValueError when this batch has a number and earlier ones have none, or the other way round."""
        if self.calibrated and numbered != bool(self.numbers.size):
            raise ValueError(
                f"{type(self).__name__} depends on the order of the batches: number all of them, observer.at(i)(x), or none"
            )

    def absorb(self, other: Any) -> None:
        """Files the other's batches."""
        self.check_numbered(True)
        other.check_numbered(True)
        self.note(other.numbers, other.lows, other.highs)


class MovingAverageMinMaxObserver(NumberedObserver):
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

    def __init__(self, averaging_constant: float = 0.01, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_dynamic and averaging_constant != 1:
            raise NotImplementedError(f"a dynamic range has no memory: averaging_constant must be 1; got {averaging_constant}")
        self.averaging_constant = averaging_constant

    def observe(self, x: Floats) -> None:
        """Pulls the range towards that of x."""
        low, high = self.extremes(x)
        self.check_shape(low)
        self.check_numbered(self.batch is not None)
        latest = not self.numbers.size or self.batch is None or self.batch > self.numbers[-1]
        if self.batch is not None:
            self.note(np.array([self.batch]), low[None], high[None])
        if latest:
            self.follow(low, high)
        else:
            self.follow_anew()

    def follow(self, low: Floats, high: Floats) -> None:
        """One step of the average; the first batch is taken as it is."""
        if self.calibrated:
            c = np.float32(self.averaging_constant)
            low = self.min_val + c * (low - self.min_val)
            high = self.max_val + c * (high - self.max_val)
        self.min_val, self.max_val = low, high

    def follow_anew(self) -> None:
        """The average over all numbered batches, in order."""
        Observer.reset_min_max_vals(self)
        for low, high in zip(self.lows, self.highs, strict=True):
            self.follow(np.asarray(low), np.asarray(high))

    def absorb(self, other: Any) -> None:
        """Follows the other's batches too, each at its place."""
        super().absorb(other)
        self.follow_anew()


class MovingAveragePerChannelMinMaxObserver(MovingAverageMinMaxObserver):
    """`MovingAverageMinMaxObserver` for each channel along `ch_axis`."""

    granularity = "channel"
    may_be_dynamic = False

    def __init__(self, averaging_constant: float = 0.01, ch_axis: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(averaging_constant, *args, ch_axis=ch_axis, **kwargs)


class MovingAverageAbsMaxObserver(MovingAverageMinMaxObserver):
    """Exponential moving average of each batch's max|x|, for a symmetric scale.

        scale = max|x| / 127        rule: 127 (quant_max), 127.5 (half_range) or 128 (half_levels), see `AbsMaxRule`

    >>> observer = MovingAverageAbsMaxObserver()
    >>> _ = observer([-254.0, 100.0])
    >>> print(*observer.calculate_qparams())
    [2.] [0]
    """

    def __init__(
        self, averaging_constant: float = 0.01, dtype: QDType = qint8, qscheme: QScheme = per_tensor_symmetric,
        rule: AbsMaxRule = AbsMaxRule.quant_max, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(averaging_constant, dtype, qscheme, rule=rule, **kwargs)

    def extremes(self, x: Floats) -> tuple[Floats, Floats]:
        """-max|x| and max|x|."""
        low, high = super().extremes(x)
        largest = np.maximum(-low, high)
        return -largest, largest
