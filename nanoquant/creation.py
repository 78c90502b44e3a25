"""New tensors: from numbers, from constants, from a seeded generator, from other tensors.

Before: `nanoquant.autograd`. After: `nanoquant.nn`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from .autograd.ops import OPS
from .autograd.tensor import Tensor, apply

Size = int | Sequence[int]


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of its own from numbers, lists or an array. Python floats become float32, ints int64.

    >>> tensor([[1, 2.5]])
    tensor([[1. , 2.5]])
    """
    array = np.array(data, dtype=dtype)
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic | Tensor):
        array = array.astype(np.float32)
    return Tensor(array, requires_grad)


def zeros(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return Tensor(np.zeros(_shape(size), dtype), requires_grad)


def ones(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return Tensor(np.ones(_shape(size), dtype), requires_grad)


def rand(*size: Size, requires_grad: bool = False) -> Tensor:
    """A float32 tensor of uniform numbers in [0, 1), from the generator that `manual_seed` sets."""
    return Tensor(generator().random(_shape(size), dtype=np.float32), requires_grad)


def randn(*size: Size, requires_grad: bool = False) -> Tensor:
    """A float32 tensor of standard normal numbers, from the generator that `manual_seed` sets."""
    return Tensor(generator().standard_normal(_shape(size), dtype=np.float32), requires_grad)


def _shape(size: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], Sequence) else size


def cat(tensors: list[Tensor] | tuple[Tensor, ...], dim: int = 0) -> Tensor:
    """Tensors joined along an axis."""
    return apply(OPS["cat"], *tensors, axis=dim)


_random = threading.local()


def manual_seed(seed: int) -> np.random.Generator:
    """Restarts this thread's random numbers (initial weights, dropout, shuffling) and returns their generator.

    >>> _ = manual_seed(0)
    >>> a = rand(2)
    >>> _ = manual_seed(0)
    >>> bool((a == rand(2)).array.all())
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
