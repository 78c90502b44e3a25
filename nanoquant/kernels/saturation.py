"""Where an 8-bit multiply would saturate, and how wide an accumulator must be: proofs for the weights at hand.

AVX2's vpmaddubsw multiplies bytes u8 * s8 and adds *pairs* of products in int16, which saturates:

    x   255  255 | ...        255 * 127 + 255 * 127 = 64770  -->  32767
    w   127  127 | ...        pairs k = (0, 1), (2, 3), ...; vpmaddwd then adds two pairs, exactly, to an int32

Of a pair (w_0, w_1), with P the sum of its positive weights, N that of its negative ones, and x in [x_min, x_max], the
sum reaches from x_min P + x_max N to x_max P + x_min N, both of which some x attains. If no pair's interval leaves
[-32768, 32767], no input can saturate: a proof. With x_min = 0 an x_max of 127 always passes: 127 * 2 * 128 = 32512.

nanoquant's own kernels never saturate (csrc/x86/gemm_avx2.c takes signs and sizes apart where a pair could); other libraries
do on CPUs without VNNI, silently. This file says whether yours would have, and computes what they would have got.

Before: `packed`. After: `engine`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .native import isa_number
from .packed import PackedWeights

INT16 = np.iinfo(np.int16)
STRIP, QUAD = 16, 4  # csrc/ukernel.h: output channels that lie together, and bytes of one multiply


@dataclass(frozen=True)
class Saturation:
    """What the proof found.

    pairs: how many pairs of weights saturate int16 for some x in the range; channels: the output channels they belong
    to. worst: the pair sum farthest from zero that x can reach, as if nothing saturated. quant_max: the largest x_max,
    at most 255, for which nothing would; x_min - 1 or less if there is none.
    """

    pairs: int
    channels: tuple[int, ...]
    worst: int
    quant_max: int

    @property
    def safe(self) -> bool:
        """Whether no input of the range saturates."""
        return self.pairs == 0


def rows(weights: PackedWeights | ArrayLike) -> NDArray[np.int64]:
    """The weights that each output channel multiplies by, in the order of multiplication, padded with 0 to quads.

    An int8 matrix (out, k) is read with k ascending. PackedWeights are read as they are packed (csrc/pack.c): tap by
    tap, each a run of input bytes, channels before pixels, that starts a new quad: so no pair straddles two taps, but
    one may straddle two pixels, or two groups of inputs, when their channels are odd in number. The phases of a transposed
    convolution follow each other. Result: (out, k).
    """
    if isinstance(weights, PackedWeights):
        packed = weights.pack(isa_number("ref"))  # the layout without permutation: [block][strip][quad][channel][4]
        phases = []
        for struct, arrays in zip(packed.struct, packed.arrays, strict=True):
            blocks, out = struct.blocks, weights.out_channels
            strips = arrays[0][: struct.weight_bytes].view(np.int8)
            quads = strips.reshape(blocks, struct.strips, -1, STRIP, QUAD)[:, :, :-1]  # behind them are their sums
            strips = quads.swapaxes(2, 3)
            columns = strips.reshape(blocks, struct.strips * STRIP, -1)[:, : out // blocks]
            phases.append(columns.reshape(out, -1).astype(np.int64))
        return np.concatenate(phases, axis=1)
    matrix = np.asarray(weights)
    if matrix.ndim != 2 or matrix.dtype != np.int8:
        raise ValueError(f"weights must be int8 of shape (out, k); got {matrix.dtype} of shape {matrix.shape}")
    return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % QUAD))).astype(np.int64)


def prove(weights: PackedWeights | ArrayLike, x_min: int = 0, x_max: int = 255) -> Saturation:
    """Whether weights and uint8 activations from x_min to x_max can saturate vpmaddubsw; see the top of this file.

    weights: int8 (out, k), or PackedWeights; `rows` says which weights are paired. int8 activations are fed as x + 128.
    Raises ValueError unless 0 <= x_min <= x_max <= 255.

    >>> prove(np.array([[127, 127], [127, -128]], np.int8))
    Saturation(pairs=1, channels=(0,), worst=64770, quant_max=129)
    >>> prove(np.array([[127, 127]], np.int8), x_max=127).safe
    True
    """
    if not 0 <= x_min <= x_max <= 255:
        raise ValueError(f"uint8 activations must satisfy 0 <= x_min <= x_max <= 255; got x_min={x_min}, x_max={x_max}")
    w = rows(weights)
    pairs = w.reshape(len(w), w.shape[1] // 2, 2)
    positive, negative = np.maximum(pairs, 0).sum(axis=2), np.minimum(pairs, 0).sum(axis=2)
    highest, lowest = x_max * positive + x_min * negative, x_min * positive + x_max * negative
    bad = (highest > INT16.max) | (lowest < INT16.min)
    room = [
        (INT16.max - x_min * negative)[positive > 0] // positive[positive > 0],
        (x_min * positive - INT16.min)[negative < 0] // -negative[negative < 0],
    ]
    worst = max(highest.max(initial=0), lowest.min(initial=0), key=abs)
    return Saturation(
        pairs=int(bad.sum()),
        channels=tuple(np.flatnonzero(bad.any(axis=1)).tolist()),
        worst=int(worst),
        quant_max=int(np.concatenate(room).min(initial=255)),
    )


def emulate_maddubs(x: ArrayLike, weights: PackedWeights | ArrayLike) -> NDArray[np.int32]:
    """The accumulators of a CPU that multiplies by vpmaddubsw and vpmaddwd, saturation included.

        acc = sum over pairs of sat16(x_0 w_0 + x_1 w_1), in int32

    x: uint8 (rows, k). weights: as for `prove`, k in the order of `rows`; trailing padding may be left out of x.
    Result: int32 (rows, out).

    >>> x, w = np.full((1, 4), 255, np.uint8), np.full((1, 4), 127, np.int8)
    >>> emulate_maddubs(x, w), x.astype(int) @ w.T.astype(int)
    (array([[65534]], dtype=int32), array([[129540]]))
    """
    w, a = rows(weights), np.asarray(x)
    if a.ndim != 2 or a.dtype != np.uint8 or not 0 <= w.shape[1] - a.shape[1] < QUAD:
        raise ValueError(f"x must be uint8 of shape (rows, {w.shape[1]}); got {a.dtype} of shape {a.shape}")
    wide = np.pad(a, ((0, 0), (0, w.shape[1] - a.shape[1]))).astype(np.int64)
    acc = np.zeros((len(a), len(w)), np.int64)
    for k in range(0, w.shape[1], 2):
        acc += np.clip(wide[:, k : k + 2] @ w[:, k : k + 2].T, INT16.min, INT16.max)
    return acc.astype(np.int32)  # wraps, as vpaddd does


def accumulator_bits(
    weights: ArrayLike, zero_point: int = 0, x_min: int = 0, x_max: int = 255, bias_q: ArrayLike = 0
) -> NDArray[np.int64]:
    """Bits of a two's complement accumulator that no sum of a channel can leave, partial sums in any order included.

        acc = sum_k (x_k - zero_point) w_k + bias_q

    A partial sum is a sum over some of the terms, so the highest takes the positive extreme of each term that has one
    and leaves the others out; the lowest likewise. Both are attained, so that no smaller accumulator would do:

        bits = 1 + ceil(log2(max(highest + 1, -lowest)))

    weights: integers (out, k), their own zero point subtracted. bias_q: integer, or one per channel. Result: (out,).

    >>> accumulator_bits(np.full((1, 64), 127), bias_q=[1000])  # 255 * 127 * 64 + 1000 = 2073640 < 2^21
    array([22])
    """
    w = np.asarray(weights, dtype=np.int64)
    ends = np.stack([(x_min - zero_point) * w, (x_max - zero_point) * w])
    bias = np.broadcast_to(np.asarray(bias_q, dtype=np.int64), len(w))
    highest = np.maximum(ends.max(axis=0), 0).sum(axis=1) + np.maximum(bias, 0)
    lowest = np.minimum(ends.min(axis=0), 0).sum(axis=1) + np.minimum(bias, 0)
    largest = np.maximum(highest, -lowest - 1)  # of a negative number n, two's complement stores -n - 1
    return np.array([1 + int(v).bit_length() for v in largest], dtype=np.int64)
