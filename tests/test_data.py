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
