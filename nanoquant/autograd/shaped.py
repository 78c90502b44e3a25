"""What an object says of itself when all it has is a shape: shared by Tensor and QTensor.

Before: `tape`. After: `tensor`.
"""

from __future__ import annotations

import math
from typing import Any


class Shaped:
    """Torch's ways to ask for sizes, answered from `shape`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]


def flattened(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    """The shape after axes start_dim..end_dim are merged into one.

    >>> flattened((2, 3, 4, 5), 1, -1)
    (2, 60)
    """
    start, end = (axis % max(len(shape), 1) for axis in (start_dim, end_dim))
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
