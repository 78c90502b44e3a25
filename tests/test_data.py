"""data: the digits in the package, IDX files, batches."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import data


def test_digits() -> None:
    digits = data.load_digits()
    for split, count in ((digits.train, 1348), (digits.test, 449)):
        assert split.images.shape == (count, 1, 8, 8)
        assert split.images.dtype == np.float32
        assert (split.images.min(), split.images.max()) == (0, 1)
        assert np.bincount(split.labels, minlength=10).min() > 0.08 * count
    assert digits.train.images[0, 0, 0].tolist() == [0, 0, 5 / 16, 13 / 16, 9 / 16, 1 / 16, 0, 0]


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    (tmp_path / "images").write_bytes(idx(images))
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(images)))
    for name in ("images", "images.gz"):
        assert np.array_equal(data.load_idx(tmp_path / name), images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\0\0\x0d\1\0\0\0\0", "is not an IDX file of uint8"),
        (b"\0\0\x08\2\0\0\0\1", "is cut short: 2 sizes"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"should hold 6 bytes for shape \(2, 3\); it holds 5"),
    ],
)
def test_idx_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.load_idx(tmp_path / "x")


def test_batches_shuffle_in_step() -> None:
    nq.manual_seed(0)
    x, y = np.arange(10), np.arange(10) * 2
    seen = list(data.batches(x, y, size=4, shuffle=True))
    assert [len(a) for a, _ in seen] == [4, 4, 2]
    assert all((b == 2 * a).all() for a, b in seen)
    order = np.concatenate([a for a, _ in seen])
    assert sorted(order) == list(range(10)) != order.tolist()


def test_digits_as_sequences() -> None:
    rows, digits = data.load_digit_rows(), data.load_digits()
    assert rows.test.images.shape == (449, 8, 8)
    assert np.array_equal(rows.train.images[7, 3], digits.train.images[7, 0, 3])
    assert np.array_equal(rows.train.labels, digits.train.labels)


def test_cifar10_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    records = np.concatenate([labels[:, None], images.reshape(5, -1)], 1)
    (tmp_path / "a").write_bytes(records[:2].tobytes())
    (tmp_path / "b").write_bytes(records[2:].tobytes())
    read, classes = data.load_cifar10(tmp_path / "a", tmp_path / "b")
    assert np.array_equal(read, images)
    assert classes.tolist() == [0, 1, 2, 3, 4]
    for content in (b"", records.tobytes()[:-1]):
        (tmp_path / "c").write_bytes(content)
        with pytest.raises(ValueError, match="are no whole records of 3073"):
            data.load_cifar10(tmp_path / "c")


class Squares(data.Dataset):
    def __getitem__(self, i: int) -> dict:
        return {"x": np.float32([i, i * i]), "label": (i, 0.5), "name": str(i)}

    def __len__(self) -> int:
        return 7


@pytest.mark.parametrize("workers", [0, 3])
def test_loader(workers: int) -> None:
    loader = data.DataLoader(Squares(), 3, num_workers=workers)
    found = list(loader)
    assert len(loader) == len(found) == 3
    assert [batch["x"].shape for batch in found] == [(3, 2), (3, 2), (1, 2)]
    whole, halves = found[1]["label"]
    assert (whole.tolist(), whole.dtype, halves.dtype) == ([3, 4, 5], np.int64, np.float64)
    assert found[2]["name"] == ["6"]
    dropping = data.DataLoader(Squares(), 3, drop_last=True, num_workers=workers)
    assert len(dropping) == len(list(dropping)) == 2
    picked = data.DataLoader(Squares(), 2, sampler=[5, 1, 3], collate_fn=len, num_workers=workers)
    assert (list(picked), len(picked)) == ([2, 1], 2)
    assert list(data.DataLoader(Squares(), 2, sampler=[], num_workers=workers)) == []
    nq.manual_seed(3)
    shuffled = [batch["x"][:, 0].tolist() for batch in data.DataLoader(Squares(), 2, shuffle=True, num_workers=workers)]
    nq.manual_seed(3)
    again = [batch["x"][:, 0].tolist() for batch in data.DataLoader(Squares(), 2, shuffle=True)]
    assert shuffled == again
    assert sorted(i for batch in shuffled for i in batch) == list(range(7))
    with pytest.raises(ValueError, match="either shuffle or a sampler"):
        data.DataLoader(Squares(), shuffle=True, sampler=[1])


def test_a_workers_error_arrives() -> None:
    class Broken(Squares):
        def __getitem__(self, i: int) -> dict:
            raise KeyError(i)

    with pytest.raises(KeyError):
        list(data.DataLoader(Broken(), num_workers=2))


def test_loader_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    assert len(list(data.DataLoader(Squares(), 3, progress=True))) == 3
    assert "3/3" in capsys.readouterr().err


def test_tensor_dataset_and_parts_of_it() -> None:
    dataset = data.TensorDataset(nq.arange(10), np.arange(10) * 2)
    assert [t.item() for t in dataset[4]] == [4, 8]
    with pytest.raises(ValueError, match=r"have one length; got \[2, 3\]"):
        data.TensorDataset(nq.ones(2), nq.ones(3))
    a, b = data.random_split(dataset, [7, 3])
    assert (len(a), len(b)) == (7, 3)
    assert sorted(part[i][0].item() for part in (a, b) for i in range(len(part))) == list(range(10))
    assert [len(part) for part in data.random_split(dataset, [0.25, 0.25, 0.5])] == [3, 2, 5]
    assert [x.tolist() for x, _ in data.DataLoader(data.Subset(dataset, [3, 1]), 2)] == [[3, 1]]
    with pytest.raises(ValueError, match=r"must add up to 10 or to 1; got \[5, 4\]"):
        data.random_split(dataset, [5, 4])
