"""What an 8-bit integer means, as kernels are told it: a scale, a zero point, a dtype.

Before: `affine`. After: `tables`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]
Floats = NDArray[np.float32]
Limits = tuple[int, int]


class Grid(NamedTuple):
    """What an 8-bit integer means: scale * (q - zero_point).

    >>> Grid(0.5, 128).limits, Grid(0.5, 0, np.dtype(np.int8)).limits
    ((0, 255), (-128, 127))
    """

    scale: float
    zero_point: int
    dtype: np.dtype[Any] = np.dtype(np.uint8)

    @property
    def limits(self) -> Limits:
        """The dtype's ends."""
        return (-128, 127) if self.dtype.kind == "i" else (0, 255)

    @property
    def relu(self) -> Limits:
        """The limits of a result that is not negative."""
        return self.zero_point, self.limits[1]

    def steps(self, q: Integers) -> Floats:
        """q - zero_point, exact."""
        return np.asarray(q.astype(np.float32) - np.float32(self.zero_point))

    def inverse(self) -> np.float32:
        """f32(1 / scale)."""
        return np.float32(1) / np.float32(self.scale)
