"""Where C finds an array's integers: images lie with their channels last, whatever the order of their axes.

Before: `elementwise`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .elementwise import swap_axes
from .native import pointer, record

Order = tuple[int, ...] | None  # how axes in memory become an array's; None: as they are
Memory = tuple[Any, tuple[int, ...], Order]  # a C pointer, and the shape there
MANY = 8192  # bytes that C transposes faster than NumPy
CHANNELS_LAST = {2: (0, 1), 3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # logical axes, as they lie in memory
CHANNELS_FIRST = {2: (0, 1), 3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}  # and back


class InMemory:
    """Something with `values` that C reads. memory: what is known of it, from the call that wrote it or the first that
    read it, since asking an array takes as long as a small kernel."""

    values: NDArray[Any]
    memory: Memory | None = None

    def find_memory(self) -> Memory:
        """How the values lie, C-contiguous in their order or with channels last; those of a copy, if in neither."""
        view, order = self.values, None
        if not view.flags.c_contiguous and 2 < view.ndim < 6:
            view, order = view.transpose(CHANNELS_LAST[view.ndim]), CHANNELS_FIRST[view.ndim]
        array = np.asarray(view, order="C")
        memory = pointer(array), view.shape, order
        if array is view:  # a copy would not see what is written to `values` later
            self.memory = memory
        return memory

    def lying(self, order: Order) -> Memory:
        """Memory in which the values lie in this order, None or one of CHANNELS_FIRST; a copy's, if they do not."""
        memory = self.memory or self.find_memory()
        if memory[2] is order:
            return memory
        array = self.channels_first() if order is None else self.channels_last()
        return pointer(array), array.shape, order

    def channels_last(self) -> NDArray[Any]:
        """The values as (batch, ..., channels), compact in memory; no copy if they lie so already."""
        values, shape = self.values, self.values.shape
        view = values.transpose(CHANNELS_LAST[values.ndim])
        if not _in_c(values) or not values.flags.c_contiguous or view.flags.c_contiguous:
            return np.ascontiguousarray(view)
        return swap_axes(values.reshape(*shape[:2], math.prod(shape[2:]))).reshape(view.shape)

    def channels_first(self) -> NDArray[Any]:
        """The values in their own order, compact in memory; no copy if they lie so already."""
        values, shape = self.values, self.values.shape
        if not values.flags.c_contiguous and 2 < values.ndim < 6 and _in_c(values):
            view = values.transpose(CHANNELS_LAST[values.ndim])
            if view.flags.c_contiguous:
                return swap_axes(view.reshape(shape[0], math.prod(shape[2:]), shape[1])).reshape(shape)
        return np.asarray(values, order="C")


def _in_c(values: NDArray[Any]) -> bool:
    """Whether C should move these: where it is faster, and for a plan, which knows no other way."""
    return values.itemsize == 1 and (values.nbytes >= MANY or record.steps is not None)
