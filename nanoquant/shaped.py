"""What an object can do when all it has is a shape, `reshape`, `permute` and indexing: shared by Tensor and QTensor.

    >>> x = nq.arange(6).view(2, 3)
    >>> x.t().flatten(), x.unsqueeze(1).shape, [part.tolist() for part in x.split(2, dim=1)]
    (tensor([0, 3, 1, 4, 2, 5]), (2, 1, 3), [[[0, 1], [3, 4]], [[2], [5]]])

Before: `module`. After: `seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Self = TypeVar("Self", bound="Shaped")
T = TypeVar("T")


def says(doc: str, method: Callable[..., T]) -> Callable[..., T]:
    """A method with its docstring, where one line is enough for it."""
    method.__doc__ = doc
    return method


class Shaped:
    """Torch's ways to ask for sizes and to rearrange elements. is_quantized: whether they are integers with a scale."""

    is_quantized = False
    reshape: Any
    permute: Any
    __getitem__: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    dim = says("Number of axes.", lambda self: len(self.shape))
    numel = says("Number of elements.", lambda self: math.prod(self.shape))
    size = says("The shape, or the size of one axis.", lambda self, dim=None: self.shape if dim is None else self.shape[dim])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self: Self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    # ---- other shapes -----------------------------------------------------------------------------------------------

    def view(self: Self, *shape: Any) -> Self:
        """`reshape`."""
        return self.reshape(*shape)  # type: ignore[no-any-return]

    def flatten(self: Self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """Axes start_dim..end_dim merged into one."""
        return self.reshape(flattened(self.shape, start_dim, end_dim))  # type: ignore[no-any-return]

    def unsqueeze(self: Self, dim: int) -> Self:
        """With an axis of size 1 inserted."""
        at = dim % (self.ndim + 1)
        return self.reshape((*self.shape[:at], 1, *self.shape[at:]))  # type: ignore[no-any-return]

    def squeeze(self: Self, dim: int | Sequence[int] | None = None) -> Self:
        """Without its axes of size 1, or without those of `dim` that are."""
        axes = range(self.ndim) if dim is None else [d % self.ndim for d in ([dim] if isinstance(dim, int) else dim)]
        kept = [size for axis, size in enumerate(self.shape) if size != 1 or axis not in axes]
        return self.reshape(tuple(kept))  # type: ignore[no-any-return]

    def transpose(self: Self, dim0: int, dim1: int) -> Self:
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
        return self.permute(axes)  # type: ignore[no-any-return]

    def t(self: Self) -> Self:
        """A matrix transposed."""
        return self.permute(tuple(range(self.ndim))[::-1])  # type: ignore[no-any-return]

    T = property(t)
    view_as = says("In the shape of `other`.", lambda self, other: self.reshape(other.shape))

    # ---- parts ------------------------------------------------------------------------------------------------------

    along = says("The elements along an axis that `index` picks: a number, a slice, or a list of them.",
        lambda self, dim, index: self[(*[slice(None)] * (dim % self.ndim), index)])  # fmt: skip
    index_select = along
    narrow = says("`length` elements along an axis, from `start` on.",
        lambda self, dim, start, length: self.along(dim, slice(start, start + length)))  # fmt: skip
    chunk = says("At most `chunks` parts along an axis, of equal size but the last.",
        lambda self, chunks, dim=0: self.split(max(-(-self.shape[dim] // chunks), 1), dim))  # fmt: skip
    unbind = says("All elements along an axis.",
        lambda self, dim=0: tuple(self.along(dim, i) for i in range(self.shape[dim])))  # fmt: skip

    def split(self: Self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Self, ...]:
        """Parts along an axis: of one size (the last may be smaller), or of the sizes given."""
        total = self.shape[dim]
        if isinstance(split_size, int):
            split_size = [min(split_size, total - start) for start in range(0, total, split_size)]
        if sum(split_size) != total:
            raise ValueError(f"the parts of an axis of size {total} must add up to it; got {list(split_size)}")
        ends = np.cumsum(split_size).tolist()
        return tuple(self.narrow(dim, end - size, size) for end, size in zip(ends, split_size, strict=True))

    def flip(self: Self, *dims: Any) -> Self:
        """In reverse order along axes."""
        axes = [d % self.ndim for d in sizes(dims)]
        return self[tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(self.ndim))]  # type: ignore[no-any-return]


def sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes that a call gave, one by one or in one sequence.

    >>> sizes((2, 3)), sizes(([2, 3],))
    ((2, 3), (2, 3))
    """
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], Sequence) else given


def expanded(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `wanted` asks for, where -1 stands for the size that is there.

    >>> expanded((3, 1), (2, -1, 4))
    (2, 3, 4)
    """
    kept = (*(-1 for _ in wanted[len(shape) :]), *shape)
    return tuple(k if n == -1 else n for n, k in zip(wanted, kept, strict=True))


def flattened(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    """The shape after axes start_dim..end_dim are merged into one.

    >>> flattened((2, 3, 4, 5), 1, -1)
    (2, 60)
    """
    start, end = (axis % max(len(shape), 1) for axis in (start_dim, end_dim))
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
