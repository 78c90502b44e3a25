"""The file: a JSON header and raw arrays.

    offset 0    8 bytes   b"nanoquan"
           8    4 bytes   version, uint32, little endian
          12    8 bytes   length of the header in bytes, uint64, little endian
          20    4 bytes   CRC-32 of the header, uint32, little endian; not in version 1
          24    header    JSON, UTF-8: {"content": ..., "arrays": [{"dtype", "shape", "offset", "crc32"}, ...]}
          ...   arrays    little endian, C order; offsets are multiples of 64, counted from the end of the header's padding

Arrays are mapped, not read: those of a file that several processes load are in memory once. What is written to them stays in
memory; a file is never changed, but replaced as a whole.

Before: `nanoquant.quantization`. After: `model`.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"nanoquan"
VERSION = 2
ALIGNMENT = 64
PREFIX, CHECKSUM = struct.Struct("<8sIQ"), struct.Struct("<I")
_NAMES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _NAMES}


class FileError(ValueError):
    """A file is not what it should be; the message says where."""


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def write(path: str | Path, content: Any, arrays: list[NDArray[Any]]) -> None:
    """Writes `content` (JSON values, which refer to arrays by index) and the arrays, as a whole."""
    entries: list[dict[str, Any]] = []
    stored: list[NDArray[Any]] = []
    end = 0
    for array in arrays:
        if array.dtype.name not in DTYPES:
            raise TypeError(f"a file holds arrays of {', '.join(DTYPES)}; got {array.dtype}")
        data, offset = np.asarray(array, DTYPES[array.dtype.name], order="C"), _aligned(end)
        crc = zlib.crc32(data.data)
        entries.append({"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset, "crc32": crc})
        stored.append(data)
        end = offset + data.nbytes
    header = json.dumps({"content": content, "arrays": entries}, separators=(",", ":"), allow_nan=True).encode()
    start = _aligned(PREFIX.size + CHECKSUM.size + len(header))
    prefix = PREFIX.pack(MAGIC, VERSION, len(header)) + CHECKSUM.pack(zlib.crc32(header)) + header
    parts: list[Any] = [prefix]
    length = len(prefix)
    for data, entry in zip(stored, entries, strict=True):
        parts += [bytes(start + entry["offset"] - length), data.data]
        length = start + entry["offset"] + data.nbytes
    replace_file(path, parts)


def replace_file(path: str | Path, parts: Iterable[Any]) -> None:
    """Writes bytes, part by part, beside a file, which they then replace."""
    partial = Path(f"{path}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: str | Path) -> tuple[Any, list[NDArray[Any]]]:
    """The content and the arrays of a file; FileError when it is no such file, or damaged."""
    if Path(path).stat().st_size < PREFIX.size + CHECKSUM.size:
        raise FileError(f"{path} is not a nanoquant file: it is too short")
    data = np.asarray(np.memmap(path, np.uint8, "c"))
    raw = data.data
    magic, version, length = PREFIX.unpack_from(raw)
    if magic != MAGIC:
        raise FileError(f"{path} is not a nanoquant file: it does not start with {MAGIC!r}")
    if version not in (1, VERSION):
        raise FileError(f"{path} has format version {version}; this nanoquant reads versions 1 and {VERSION}")
    begin = PREFIX.size + (0 if version == 1 else CHECKSUM.size)
    if length > len(data) - begin:
        raise FileError(f"{path} is cut short: its header should have {length} bytes")
    text = bytes(raw[begin : begin + length])
    if version > 1 and CHECKSUM.unpack_from(raw, PREFIX.size) != (zlib.crc32(text),):
        raise FileError(f"{path} is damaged: its header's checksum is another")
    try:
        header = json.loads(text, object_pairs_hook=without_duplicates)
        content, entries = header["content"], list(header["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"{path} has a damaged header: {error}") from None
    start, arrays, end = _aligned(begin + length), [], 0
    for index, entry in enumerate(entries):
        array, offset = _array(path, data, start, index, entry, version)
        if offset < end:
            raise FileError(f"{path} is damaged: array {index} begins before the one in front of it ends")
        end = offset + array.nbytes
        arrays.append(array)
    return content, arrays


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which no name may stand twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands in the header twice")
    return dict(pairs)


def _array(
    path: str | Path, data: NDArray[np.uint8], start: int, index: int, entry: Any, version: int
) -> tuple[NDArray[Any], int]:
    """An array that an entry of the header describes, and its offset."""
    try:
        dtype, shape, offset = DTYPES[entry["dtype"]], entry["shape"], entry["offset"]
        sane = type(shape) is list and len(shape) <= 32
        sane = sane and all(type(n) is int and 0 <= n < 1 << 62 for n in [*shape, offset])
        wanted = entry["crc32"] if version > 1 else None
    except (KeyError, TypeError):
        sane = False
    if not sane:
        raise FileError(f"{path} is damaged: array {index} is described by {entry!r}")
    end = start + offset + math.prod(shape) * dtype.itemsize
    if offset % ALIGNMENT or end > len(data):
        raise FileError(f"{path}: array {index} of shape {shape} does not lie in the file: it is cut short, or damaged")
    stored = data[start + offset : end]
    if wanted is not None and wanted != zlib.crc32(stored.data):
        raise FileError(f"{path} is damaged: the checksum of array {index} is another")
    try:
        array = stored.view(dtype).reshape(shape)
    except ValueError as error:  # of no elements, but other sizes that no array has
        raise FileError(f"{path} is damaged: array {index} of shape {shape}: {error}") from None
    return array.astype(dtype.newbyteorder("="), copy=False), offset
