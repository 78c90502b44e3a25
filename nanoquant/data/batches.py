"""Batches for training.

Before: `idx`. After: `loader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..creation import generator


def batches(*arrays: NDArray[Any], size: int, shuffle: bool = False) -> Iterator[tuple[NDArray[Any], ...]]:
    """The arrays in slices of `size` along axis 0, in step; shuffled by the generator that `manual_seed` sets.

    >>> [list(x) for (x,) in batches(np.arange(5), size=2)]
    [[np.int64(0), np.int64(1)], [np.int64(2), np.int64(3)], [np.int64(4)]]
    """
    count = len(arrays[0])
    order = generator().permutation(count) if shuffle else np.arange(count)
    for start in range(0, count, size):
        yield tuple(array[order[start : start + size]] for array in arrays)
