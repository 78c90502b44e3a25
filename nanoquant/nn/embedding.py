"""Embeddings: rows of a table picked by number, alone or in bags.

Before: `loss`. After: `steps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.ops import Array, Op
from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor, apply
from ..creation import generator
from ..module import Module
from .layer import Layer
from .shape import TAKE, sum_by_index


def _numbers(input: Any, rows: int) -> Array:
    index = np.asarray(input)
    if index.dtype.kind not in "iu" or (index.size and not 0 <= index.min() <= index.max() < rows):
        raise ValueError(f"an embedding of {rows} rows takes integers in [0, {rows}); got {index.dtype} {index}")
    return index


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[input]: (...) integers to (..., embedding_dim). The row padding_idx gets no gradient."""
    index = _numbers(input, weight.shape[0])
    return apply(TAKE, weight, index=index, axis=0, frozen=padding_idx)


SUM_BAGS = Op("sum_bags", sum_by_index, lambda g, y, rows, index, count: (g[index],))


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Rows of zeros with a one at each index: (...,) to (..., num_classes); by default, one more than the greatest index.

    >>> one_hot(nq.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    index = np.asarray(tensor)
    return Tensor(np.eye(num_classes if num_classes >= 0 else int(index.max()) + 1, dtype=np.int64)[index])


def bags_of(
    input: Any, rows: int, offsets: Any = None, include_last_offset: bool = False, padding_idx: int | None = None
) -> tuple[Array, Array, Array]:
    """(starts, index, kept): bag b holds index[starts[b] : starts[b + 1]], without padding; `kept` are their places in input.

    >>> [a.tolist() for a in bags_of([4, 2, 7], 9, offsets=[0, 2], padding_idx=2)]
    [[0, 1, 2], [4, 7], [0, 2]]
    """
    index = _numbers(input, rows)
    if (index.ndim == 1) != (offsets is not None) or index.ndim > 2:
        raise ValueError(f"an EmbeddingBag takes (bags, n), or (n,) with offsets; got {index.shape}, offsets {offsets}")
    starts = np.arange(len(index)) * index.shape[-1] if offsets is None else np.asarray(offsets)
    index = index.reshape(-1)
    starts = starts if include_last_offset else np.append(starts, index.size)
    if not len(starts) or starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] > index.size:
        raise ValueError(f"offsets must begin with 0 and rise to at most {index.size}; got {offsets}")
    present = np.ones(index.shape, bool) if padding_idx is None else index != padding_idx % rows
    present[starts[-1] :] = False
    kept = np.flatnonzero(present)
    return np.searchsorted(kept, starts), index[kept], kept


def embedding_bag(
    input: Any, weight: Tensor, offsets: Any = None, *, mode: str = "mean", per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or elementwise maximum of the rows of each bag; an empty bag gives zeros.

    input: (bags, n) integers, or (n,) with offsets, where each bag starts. per_sample_weights: factors of the rows, for
    'sum' only. The row padding_idx counts as absent.
    """
    if mode not in ("sum", "mean", "max") or (per_sample_weights is not None and mode != "sum"):
        raise ValueError(f"mode must be 'sum', 'mean' or 'max', and 'sum' with per_sample_weights; got {mode!r}")
    starts, index, kept = bags_of(input, weight.shape[0], offsets, include_last_offset, padding_idx)
    count = len(starts) - 1
    bag = np.repeat(np.arange(count), np.diff(starts))
    rows = apply(TAKE, weight, index=index, axis=0)
    sizes = np.bincount(bag, minlength=count).astype(rows.dtype)[:, np.newaxis]
    if mode == "max":
        best = np.zeros((count, weight.shape[1]), np.int64)
        for i in np.flatnonzero(sizes):
            best[i] = np.flatnonzero(bag == i)[rows.array[bag == i].argmax(axis=0)]
        return rows[best, np.arange(weight.shape[1])] * (sizes > 0).astype(rows.dtype)
    if per_sample_weights is not None:
        factors = per_sample_weights if isinstance(per_sample_weights, Tensor) else Tensor(np.asarray(per_sample_weights))
        rows = rows * factors.reshape(-1)[kept].reshape(-1, 1)
    y = apply(SUM_BAGS, rows, index=bag, count=count)
    return y / np.maximum(sizes, 1) if mode == "mean" else y


class Embedding(Layer):
    """A table of num_embeddings rows, from which integers pick: (...) to (..., embedding_dim).

    weight: (num_embeddings, embedding_dim), standard normal at first. The row padding_idx starts as zeros and stays.

    >>> table = Embedding.from_pretrained(nq.tensor([[0.0, 1.0], [2.0, 3.0]]))
    >>> table(nq.tensor([1, 0, 1]))
    tensor([[2., 3.],
            [0., 1.],
            [2., 3.]])
    """

    shown = "*num_embeddings *embedding_dim padding_idx?"

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        Module.__init__(self)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        table = generator().standard_normal((num_embeddings, embedding_dim), np.float32)
        if padding_idx is not None:
            table[padding_idx] = 0
        self.weight = Parameter(table)

    def table(self) -> Tensor:
        """The rows as they are used."""
        return self.weight

    def forward(self, input: Any) -> Tensor:
        return embedding(input, self.table(), self.padding_idx)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Any:
        """The layer with this table, which does not learn if `freeze`."""
        layer = cls(*np.shape(embeddings), **options)
        layer.weight = Parameter(np.array(embeddings), requires_grad=not freeze)
        return layer


class EmbeddingBag(Embedding):
    """The sum, mean or maximum of the rows that a bag of integers picks; `embedding_bag` says of what shape.

    >>> bags = EmbeddingBag.from_pretrained(nq.tensor([[0.0, 1.0], [2.0, 3.0]]), mode="sum")
    >>> bags(nq.tensor([1, 1, 0]), nq.tensor([0, 2]))
    tensor([[4., 6.],
            [0., 1.]])
    """

    shown = "*num_embeddings *embedding_dim mode padding_idx?"

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, mode: str = "mean", include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        return embedding_bag(
            input, self.table(), offsets, mode=self.mode, per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset, padding_idx=self.padding_idx,
        )  # fmt: skip
