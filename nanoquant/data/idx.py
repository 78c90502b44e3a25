"""Local files of the common image sets. IDX, the format of MNIST and Fashion-MNIST:

    2 bytes 0 | 1 byte type (8: uint8) | 1 byte number of axes | one big-endian uint32 per axis | the elements

and the binary version of CIFAR-10, records of 1 byte label | 3 x 32 x 32 bytes red, green, blue.

Source: http://yann.lecun.com/exdb/mnist, https://www.cs.toronto.edu/~kriz/cifar.html. Before: `digits`. After: `batches`.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load_idx(path: str | Path) -> NDArray[Any]:
    """The uint8 array in an IDX file, which may be gzipped.

    Raises FileNotFoundError, and ValueError when the file is no IDX file of bytes or is cut short.
    """
    path = Path(path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of uint8: it starts with {data[:4]!r}")
    axes, start = data[3], 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path} is cut short: {axes} sizes expected")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise ValueError(f"{path} should hold {math.prod(shape)} bytes for shape {shape}; it holds {len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def load_cifar10(*paths: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 3, 32, 32), uint8, and classes (n,) of files like data_batch_1.bin, one after the other.

    Raises FileNotFoundError, and ValueError for a file of another size.
    """
    data = [np.fromfile(path, np.uint8) for path in paths]
    for path, part in zip(paths, data, strict=True):
        if part.size == 0 or part.size % 3073:
            raise ValueError(f"{path} is no binary file of CIFAR-10: {part.size} bytes are no whole records of 3073")
    records = np.concatenate(data).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
