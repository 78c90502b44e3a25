"""New tensors: from numbers, from constants, from a seeded generator.

Before: `nanoquant.autograd`. After: `functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autograd.tensor import Tensor
from .seed import generator as generator
from .seed import manual_seed as manual_seed
from .shaped import says, sizes

Size = int | Sequence[int]


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of its own from numbers, lists or an array. Python floats become float32, ints int64.

    >>> tensor([[1, 2.5]])
    tensor([[1. , 2.5]])
    """
    array = np.array(data, dtype=dtype)
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic | Tensor):
        array = array.astype(np.float32)
    return Tensor(array, requires_grad=requires_grad)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """`data` itself if it is a tensor of that dtype, else a tensor of it; the memory of an array is shared."""
    if isinstance(data, np.ndarray):
        return Tensor(np.asarray(data, dtype))
    return data.to(dtype) if isinstance(data, Tensor) else tensor(data, dtype)


from_numpy = as_tensor


def full(size: Size, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor full of one value."""
    return Tensor(np.full(size, fill_value, dtype or tensor(fill_value).dtype), requires_grad=requires_grad)


def zeros(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return Tensor(np.zeros(sizes(size), dtype), requires_grad=requires_grad)


def ones(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return Tensor(np.ones(sizes(size), dtype), requires_grad=requires_grad)


def rand(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of uniform numbers in [0, 1), from the generator that `manual_seed` sets."""
    return Tensor(generator().random(sizes(size), dtype=dtype), requires_grad=requires_grad)


def randn(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of standard normal numbers, from the generator that `manual_seed` sets."""
    return Tensor(generator().standard_normal(sizes(size), dtype=dtype), requires_grad=requires_grad)


def randint(low: int, high: Any, size: Any = None, dtype: Any = np.int64) -> Tensor:
    """Random integers of [low, high): `randint(low, high, size)`, or `randint(high, size)` from 0 on."""
    low, high, size = (0, low, high) if size is None else (low, high, size)
    return Tensor(np.asarray(generator().integers(low, high, size), dtype))


def randperm(n: int) -> Tensor:
    """0, 1, ..., n - 1 in random order."""
    return Tensor(generator().permutation(n))


def arange(*bounds: float, dtype: Any = None) -> Tensor:
    """`arange(end)`, `arange(start, end, step)`: evenly spaced numbers, without the end. Integers give int64, floats float32."""
    whole = all(isinstance(bound, int | np.integer) for bound in bounds)
    return Tensor(np.arange(*bounds, dtype=dtype or (np.int64 if whole else np.float32)))


def linspace(start: float, end: float, steps: int, dtype: Any = np.float32) -> Tensor:
    """`steps` evenly spaced numbers, from start to end."""
    return Tensor(np.linspace(start, end, steps, dtype=dtype))


def eye(n: int, m: int | None = None, dtype: Any = np.float32) -> Tensor:
    """A matrix with ones on its diagonal."""
    return Tensor(np.eye(n, m, dtype=dtype))


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        return make(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)

    return says(f"`{make.__name__}`, in the shape and the dtype of a tensor.", like)


zeros_like, ones_like, rand_like, randn_like = map(_like, (zeros, ones, rand, randn))
empty, empty_like = zeros, zeros_like


def full_like(x: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """`full`, in the shape and the dtype of a tensor."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype)
