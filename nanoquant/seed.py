"""Where random numbers come from: one generator for each thread.

Before: `shaped`. After: `progress`.
"""

from __future__ import annotations

import threading

import numpy as np

_random = threading.local()


def manual_seed(seed: int) -> np.random.Generator:
    """Restarts this thread's random numbers (initial weights, dropout, shuffling) and returns their generator.

    >>> _ = manual_seed(0)
    >>> a = nq.rand(2)
    >>> _ = manual_seed(0)
    >>> bool((a == nq.rand(2)).all())
    True
    """
    _random.generator = np.random.default_rng(seed)
    return generator()


def generator() -> np.random.Generator:
    """This thread's source of random numbers."""
    if not hasattr(_random, "generator"):
        _random.generator = np.random.default_rng()
    current: np.random.Generator = _random.generator
    return current
