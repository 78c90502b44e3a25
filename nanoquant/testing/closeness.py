"""Quantized results that should be equal, but for a step here and there.

Before: `oracles`. After: `conformance`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..qtensor import QTensor

FIELDS = ("scale", "zero_point", "dtype", "axis", "limits", "group_size", "float_qparams")


def _integers(value: Any, name: str) -> NDArray[np.int64]:
    array = value.values if isinstance(value, QTensor) else np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be a QTensor or an array of integers; got {array.dtype}: quantize it first")
    return array.astype(np.int64)


def assert_quantized_close(actual: Any, expected: Any, steps: int = 1, fraction: float = 1.0) -> None:
    """Raises AssertionError unless all integers are within `steps`, and at most a `fraction` of them differ at all.

        max |actual - expected| <= steps,    count(actual != expected) <= fraction * size

    actual, expected: QTensors, whose qparams must be equal, or arrays of integers; of one shape.

    >>> assert_quantized_close([1, 2, 3], [1, 2, 4])
    >>> assert_quantized_close([1, 2, 3], [1, 2, 9])
    Traceback (most recent call last):
    AssertionError: 1 of 3 integers differ (allowed: 3), by up to 6 steps (allowed: 1); worst at (2,): 3, expected 9
    """
    a, b = _integers(actual, "actual"), _integers(expected, "expected")
    if a.shape != b.shape:
        raise AssertionError(f"shapes differ: {a.shape}, expected {b.shape}")
    for field in FIELDS if isinstance(actual, QTensor) and isinstance(expected, QTensor) else ():
        mine, theirs = getattr(actual.qparams, field), getattr(expected.qparams, field)
        if not np.array_equal(mine, theirs):
            raise AssertionError(f"qparams differ in {field}: {mine}, expected {theirs}")
    distance = np.abs(a - b)
    differing, allowed = int(np.count_nonzero(distance)), int(fraction * a.size)
    if differing <= allowed and distance.max(initial=0) <= steps:
        return
    worst = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), a.shape))
    message = (
        f"{differing} of {a.size} integers differ (allowed: {allowed}), by up to {distance.max()} steps (allowed: "
        f"{steps}); worst at {worst}: {a[worst]}, expected {b[worst]}"
    )
    if isinstance(actual, QTensor):
        message += f"; {actual.qparams!r}"
    raise AssertionError(message)
