"""A linear layer on floats whose weights have few bits and a scale for each group of inputs, in C (csrc/weights.c).

    w[n][k] = scale[n][g] (q[n][k] - z[n][g]),                       g = k // group
    s[g] = max |x| / 127 over the group,    a[k] = rint(x[k] (1 / s[g]))
    y[n] = sum_g (scale[n][g] s[g]) (sum_k (q - z) a)  + bias[n]     g in order, each step one fused multiply-add

The inner sums are integers. So x is rounded, too, to 8 bits in each group of each row: an error of at most s / 2, which is
small beside that of weights of few bits, and the same in any batch. It makes the products integers', as fast as weights can be
read.

Before: `packed`, `elementwise`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import FLOATS, aligned, check, ffi, isa_number, lib, pointer, workspace

Floats = NDArray[np.float32]
LONGEST = 128  # inputs that share a scale of x; longer groups of weights are dealt with in parts


class GroupedWeights:
    """Weights (out_features, in_features), packed for C.

    q: integers, quint8 or quint4's (0 .. 2^bits - 1). scale: float32 (out_features, groups). zero_point: integers alike.
    group: inputs in each; a multiple of 16, but for one that is all of a row. bias: float32 (out_features,) or None.

    >>> layer = GroupedWeights(np.full((1, 16), 9), np.ones((1, 1), np.float32), np.full((1, 1), 8), 16, 4)
    >>> layer(np.full((1, 16), 2, np.float32))
    array([[32.]], dtype=float32)
    """

    def __init__(
        self, q: NDArray[Any], scale: Floats, zero_point: NDArray[Any], group: int, bits: int, bias: Floats | None = None
    ) -> None:  # fmt: skip
        self.out_features, self.in_features = q.shape
        groups = -(-self.in_features // group)
        if scale.shape != (self.out_features, groups) or scale.shape != zero_point.shape or bits not in (4, 8):
            raise ValueError(
                f"weights of shape {q.shape} in groups of {group} have 4 or 8 bits, and scales and zero points of shape "
                f"({self.out_features}, {groups}); got {bits} bits, {scale.shape} and {zero_point.shape}"
            )
        if group % 16 and groups > 1:
            raise ValueError(f"groups of inputs must be multiples of 16; got {group}")
        if q.size and not 0 <= q.min() <= q.max() < 1 << bits:
            raise ValueError(f"weights of {bits} bits lie in [0, {(1 << bits) - 1}]; got {q.min()} .. {q.max()}")
        part = LONGEST if group > LONGEST and (groups == 1 or group % LONGEST == 0) else group
        part = part if groups > 1 else min(LONGEST, -(-part // 16) * 16)
        self.group, self.bits, self.bias = part, bits, bias
        if part != group:
            count = -(-self.in_features // part)
            where = np.arange(count) * part // group
            scale, zero_point = scale[:, where], zero_point[:, where]
        self.asymmetric = bool((zero_point != 1 << (bits - 1)).any())
        self._struct = ffi.new("nq_weights *", (0, bits, part, self.asymmetric, self.in_features, self.out_features, ffi.NULL))
        self._memory = aligned(lib.nq_weights_bytes(self._struct))
        self._struct.packed = pointer("char[]", self._memory)
        arrays = [np.ascontiguousarray(a, t) for a, t in ((q, np.uint8), (scale, np.float32), (zero_point, np.uint8))]
        kinds = ("uint8_t[]", FLOATS, "uint8_t[]")
        status = lib.nq_weights_pack(self._struct, *(pointer(k, a) for k, a in zip(kinds, arrays, strict=True)))
        check(status, "packing weights")

    def __deepcopy__(self, memo: dict[int, Any]) -> GroupedWeights:
        """Itself: packed weights are never changed."""
        del memo
        return self

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads: weights, scales, zero points."""
        return self._memory.nbytes

    def __call__(self, x: Floats, isa: str | None = None) -> Floats:
        """The layer on x: (rows, in_features), float32, C-contiguous. Raises ValueError on NaN and infinity."""
        if x.shape[1:] != (self.in_features,) or x.dtype != np.float32 or not x.flags.c_contiguous:
            raise ValueError(f"x must be C-contiguous float32 (rows, {self.in_features}); got {x.dtype} of {x.shape}")
        y = np.empty((len(x), self.out_features), np.float32)
        self._struct.isa = isa_number(isa)
        needed = lib.nq_weights_workspace(self._struct, len(x))
        bias = ffi.NULL if self.bias is None else pointer(FLOATS, self.bias)
        status = lib.nq_weights_linear(
            self._struct, len(x), pointer(FLOATS, x), bias, pointer(FLOATS, y), workspace(needed), needed
        )
        check(status, f"an input of shape {x.shape}")
        return y
