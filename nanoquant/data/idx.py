"""IDX: the file format of MNIST and Fashion-MNIST.

    2 bytes 0 | 1 byte type (8: uint8) | 1 byte number of axes | one big-endian uint32 per axis | the elements

Source: http://yann.lecun.com/exdb/mnist. Before: `digits`. After: `batches`.
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
