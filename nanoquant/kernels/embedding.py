"""Rows of a table of 4- or 8-bit integers, added up in bags, in C (csrc/embedding.c).

    y[bag] = sum_i f_i s_r q_r + f_i o_r,      r = index[i], in order: y <- fma(f s, q, y + f o)        o = -(s z), float32

Source: FBGEMM's embedding lookup, which torch's quantized embeddings call. Before: `weight_only`. After:
`nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import FLOATS, check, ffi, isa_number, lib, pointer

Floats = NDArray[np.float32]
NUMBERS = "int64_t[]"


def nibbles(q: NDArray[Any]) -> NDArray[np.uint8]:
    """4-bit integers (..., n) two in a byte: (..., ceil(n / 2)), the first half in the low nibbles.

    >>> nibbles(np.array([1, 2, 3])).tolist(), whole(nibbles(np.array([1, 2, 3])), 3).tolist()
    ([49, 2], [1, 2, 3])
    """
    half = -(-q.shape[-1] // 2)
    packed = q[..., :half].astype(np.uint8)
    packed[..., : q.shape[-1] - half] |= q[..., half:].astype(np.uint8) << 4
    return packed


def whole(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """The integers that `nibbles` packed."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)[..., :count]


class Table:
    """values: uint8 (rows, columns), or, of 4 bits, as `nibbles` packs them. scale, zero_point: float32 (rows,).

    >>> table = Table(np.uint8([[0, 2], [1, 1]]), np.float32([0.5, 1]), np.float32([0, 0.5]), 2, 8)
    >>> table.sums([0, 2, 3], [1, 0, 0])
    array([[0.5, 1.5],
           [0. , 1. ]], dtype=float32)
    """

    def __init__(self, values: NDArray[np.uint8], scale: Floats, zero_point: Floats, columns: int, bits: int) -> None:
        if values.shape != (len(scale), columns if bits == 8 else -(-columns // 2)) or scale.shape != zero_point.shape:
            raise ValueError(f"a table of {len(scale)} rows of {columns} numbers has no values of {values.shape}")
        self._arrays = np.ascontiguousarray(values), *(np.array(a, np.float32) for a in (scale, -(scale * zero_point)))
        self.columns = columns
        pointers = (pointer(k, a) for k, a in zip(("uint8_t[]", FLOATS, FLOATS), self._arrays, strict=True))
        self._struct = ffi.new("nq_table *", (0, bits, len(scale), columns, *pointers))

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        """Itself: tables are never changed."""
        del memo
        return self

    def sums(self, starts: Any, index: Any, factor: Any = None, mean: bool = False, isa: str | None = None) -> Floats:
        """Bag b adds up the rows index[starts[b] : starts[b + 1]], times `factor`; mean divides by their count."""
        ends, picked = np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(index, np.int64)
        factors = None if factor is None else np.ascontiguousarray(factor, np.float32)
        y = np.empty((len(ends) - 1, self.columns), np.float32)
        given = ffi.NULL if factors is None else pointer(FLOATS, factors)
        bags = ffi.new("nq_bags *", (len(y), pointer(NUMBERS, ends), pointer(NUMBERS, picked), given, mean))
        self._struct.isa = isa_number(isa)
        check(lib.nq_sum_bags(self._struct, bags, pointer(FLOATS, y)), "embedding")
        return y
