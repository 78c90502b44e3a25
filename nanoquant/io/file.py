"""The file: a JSON header and raw arrays.

    offset 0    8 bytes   b"nanoquan"
           8    4 bytes   version, uint32, little endian
          12    8 bytes   length of the header in bytes, uint64, little endian
          20    header    JSON, UTF-8: {"content": ..., "arrays": [{"dtype", "shape", "offset"}, ...]}
          ...   arrays    little endian, C order; offsets are multiples of 64, counted from the end of the header's padding

Before: `nanoquant.quantization`. After: `model`.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"nanoquan"
VERSION = 1
ALIGNMENT = 64
PREFIX = struct.Struct("<8sIQ")
_NAMES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _NAMES}


class FileError(ValueError):
    """A file is not what it should be; the message says where."""


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def write(path: str | Path, content: Any, arrays: list[NDArray[Any]]) -> None:
    """Writes `content` (JSON values, which refer to arrays by index) and the arrays."""
    entries: list[dict[str, Any]] = []
    offset = 0
    for array in arrays:
        if array.dtype.name not in DTYPES:
            raise TypeError(f"a file holds arrays of {', '.join(DTYPES)}; got {array.dtype}")
        offset = _aligned(offset)
        entries.append({"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset})
        offset += array.nbytes
    header = json.dumps({"content": content, "arrays": entries}, separators=(",", ":"), allow_nan=True).encode()
    start = _aligned(PREFIX.size + len(header))
    with open(path, "wb") as file:
        file.write(PREFIX.pack(MAGIC, VERSION, len(header)))
        file.write(header)
        for array, entry in zip(arrays, entries, strict=True):
            file.write(bytes(start + entry["offset"] - file.tell()))
            file.write(np.asarray(array, order="C", dtype=DTYPES[array.dtype.name]).tobytes())


def read(path: str | Path) -> tuple[Any, list[NDArray[Any]]]:
    """The content and the arrays of a file; FileError when it is no such file, or damaged."""
    data = Path(path).read_bytes()
    if len(data) < PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise FileError(f"{path} is not a nanoquant file: it does not start with {MAGIC!r}")
    _, version, length = PREFIX.unpack_from(data)
    if version != VERSION:
        raise FileError(f"{path} has format version {version}; this nanoquant reads version {VERSION}")
    if length > len(data) - PREFIX.size:
        raise FileError(f"{path} is cut short: its header should have {length} bytes")
    try:
        header = json.loads(data[PREFIX.size : PREFIX.size + length])
        content, entries = header["content"], list(header["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"{path} has a damaged header: {error}") from None
    start = _aligned(PREFIX.size + length)
    return content, [_array(path, data, start, i, entry) for i, entry in enumerate(entries)]


def _array(path: str | Path, data: bytes, start: int, index: int, entry: Any) -> NDArray[Any]:
    try:
        dtype, shape, offset = DTYPES[entry["dtype"]], entry["shape"], entry["offset"]
        sane = all(type(n) is int and n >= 0 for n in [*shape, offset])
    except (KeyError, TypeError):
        sane = False
    if not sane:
        raise FileError(f"{path}: array {index} is described by {entry!r}")
    count = math.prod(shape)
    if offset % ALIGNMENT or start + offset + count * dtype.itemsize > len(data):
        raise FileError(f"{path}: array {index} of shape {shape} does not lie in the file: it is cut short, or damaged")
    return np.frombuffer(data, dtype, count, start + offset).reshape(shape).astype(dtype.newbyteorder("="))
