"""Data sets, and batches of them: torch's Dataset and DataLoader.

Before: `batches`. After: `nanoquant.models`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..functions import stack
from ..seed import generator


class Dataset:
    """Anything with `__getitem__(i)` and `__len__()`."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class TensorDataset(Dataset):
    """Tensors (or arrays) of one length, in step: element i is the tuple of their elements i."""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)
        if len({len(t) for t in self.tensors}) != 1:
            raise ValueError(f"the tensors of a data set have one length; got {[len(t) for t in self.tensors]}")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """The elements of a data set that `indices` lists."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[float]) -> list[Subset]:
    """The data set in random parts of these lengths, or of these fractions of the whole."""
    total, sizes = len(dataset), [int(length) for length in lengths]
    if sum(lengths) == 1 != total:
        sizes = [int(total * fraction) for fraction in lengths]
        sizes = [size + (i < total - sum(sizes)) for i, size in enumerate(sizes)]
    if sum(sizes) != total:
        raise ValueError(f"the lengths must add up to {total} or to 1; got {list(lengths)}")
    order = generator().permutation(total).tolist()
    return [Subset(dataset, order[end - size : end]) for end, size in zip(np.cumsum(sizes), sizes, strict=True)]


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples as one batch: tensors, arrays and numbers are stacked, tuples and dicts gone into, the rest listed.

    >>> default_collate([(nq.zeros(2), 1), (nq.ones(2), 5)])
    (tensor([[0., 0.],
            [1., 1.]]), tensor([1, 5]))
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return stack(samples)
    if isinstance(first, np.ndarray | np.generic):
        return Tensor(np.stack(samples))
    if isinstance(first, bool | int | float):
        return Tensor(np.asarray(samples, np.float64 if isinstance(first, float) else None))
    if isinstance(first, dict):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(default_collate(column) for column in zip(*samples, strict=True))
    return list(samples)


class DataLoader:
    """The batches of a data set, in order or shuffled by the generator that `manual_seed` sets.

    sampler: the indices to take, instead of all. collate_fn: samples -> batch. num_workers: so many threads fetch
    batches ahead; the order, and with it every result, is the same. progress: a bar, by tqdm.

    >>> loader = DataLoader(TensorDataset(nq.arange(5), nq.arange(5) * 2), batch_size=2)
    >>> [(x.tolist(), y.tolist()) for x, y in loader]
    [([0, 1], [0, 2]), ([2, 3], [4, 6]), ([4], [8])]
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, sampler: Iterable[int] | None = None,
        num_workers: int = 0, collate_fn: Callable[[Sequence[Any]], Any] = default_collate, drop_last: bool = False,
        progress: bool = False,
    ) -> None:  # fmt: skip
        if batch_size < 1 or (shuffle and sampler is not None):
            raise ValueError("DataLoader needs a batch_size of at least 1, and either shuffle or a sampler")
        self.dataset, self.batch_size, self.shuffle, self.sampler = dataset, batch_size, shuffle, sampler
        self.num_workers, self.collate_fn, self.drop_last, self.progress = num_workers, collate_fn, drop_last, progress

    def __len__(self) -> int:
        count = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        batches = self._fetched()
        if not self.progress:
            return batches
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise ImportError("progress=True needs tqdm: pip install 'nanoquant[progress]'") from error
        return iter(tqdm(batches, total=len(self)))

    def _indices(self) -> Iterator[list[int]]:
        count = len(self.dataset)
        every = generator().permutation(count).tolist() if self.shuffle else range(count)
        order = iter(every if self.sampler is None else self.sampler)
        while len(batch := list(islice(order, self.batch_size))) > (self.batch_size - 1 if self.drop_last else 0):
            yield batch

    def _fetch(self, indices: list[int]) -> Any:
        if isinstance(self.dataset, TensorDataset) and self.collate_fn is default_collate:
            return self.dataset[indices]
        return self.collate_fn([self.dataset[i] for i in indices])

    def _fetched(self) -> Iterator[Any]:
        if not self.num_workers:
            yield from map(self._fetch, self._indices())
            return
        ahead: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(self.num_workers) as pool:
            for indices in self._indices():
                ahead.append(pool.submit(self._fetch, indices))
                if len(ahead) > 2 * self.num_workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
