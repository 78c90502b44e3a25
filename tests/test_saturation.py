"""saturation: proofs about vpmaddubsw and accumulators, against loops over Python integers and every small case."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import Layer

from nanoquant.kernels.packed import PackedWeights
from nanoquant.kernels.saturation import Saturation, accumulator_bits, emulate_maddubs, prove, rows

ranges = st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted)
extreme = st.one_of(st.sampled_from([-128, -127, 64, 65, 127]), st.integers(-128, 127))
matrices = hnp.arrays(np.int8, st.tuples(st.integers(0, 4), st.integers(0, 11)), elements=extreme)


def pairs_of(row: list[int]) -> list[tuple[int, int]]:
    padded = row + [0] * (len(row) % 2)
    return list(zip(padded[::2], padded[1::2], strict=True))


def multiply(x: list[int], row: list[int], saturate: bool = True) -> int:
    """vpmaddubsw and vpmaddwd by hand."""
    total = 0
    for (a, b), (v, w) in zip(pairs_of(x), pairs_of(row), strict=True):
        total += max(-32768, min(32767, a * v + b * w)) if saturate else a * v + b * w
    return total


def worst_input(row: list[int], low: int, high: int) -> list[int]:
    """For each pair the input, of two chosen by sign, whose sum goes farthest beyond int16."""
    x: list[int] = []
    for pair in pairs_of(row):
        up = [high if w > 0 else low for w in pair]
        down = [low if w > 0 else high for w in pair]
        excess = [sum(np.multiply(up, pair)) - 32767, -32768 - sum(np.multiply(down, pair))]
        x += up if excess[0] >= excess[1] else down
    return x[: len(row)]


def saturating(x: list[int], row: list[int]) -> int:
    return sum(not -32768 <= a * v + b * w <= 32767 for (a, b), (v, w) in zip(pairs_of(x), pairs_of(row), strict=True))


@given(matrices, ranges, st.data())
def test_safe_means_exact_and_unsafe_means_attained(w: np.ndarray, limits: list[int], data: st.DataObject) -> None:
    low, high = limits
    found, weights = prove(w, low, high), w.tolist()
    inputs = [worst_input(row, low, high) for row in weights]
    counts = [saturating(x, row) for x, row in zip(inputs, weights, strict=True)]
    assert found.pairs == sum(counts)
    assert found.channels == tuple(n for n, count in enumerate(counts) if count)
    assert found.safe == (found.pairs == 0)
    elements = st.one_of(st.sampled_from(limits), st.integers(low, high))
    inputs.append(data.draw(st.lists(elements, min_size=w.shape[1], max_size=w.shape[1])))
    x = np.array(inputs, np.uint8).reshape(len(inputs), w.shape[1])
    acc = emulate_maddubs(x, w)
    assert acc.tolist() == [[multiply(a, row) for row in weights] for a in inputs]
    if found.safe:
        assert acc.tolist() == [[multiply(a, row, saturate=False) for row in weights] for a in inputs]
    for count, a, row in zip(counts, inputs, weights, strict=False):
        assert (multiply(a, row) != multiply(a, row, saturate=False)) <= (count > 0)


@given(matrices, st.integers(0, 255))
def test_the_largest_safe_range(w: np.ndarray, low: int) -> None:
    largest = prove(w, low, low).quant_max
    for high in range(low, 256):
        assert prove(w, low, high).safe == (high <= largest)
    if low == 0:
        assert largest >= 128  # 128 * 2 * 128 = 32768, below zero; 7-bit activations are always safe


@given(matrices, ranges)
def test_the_worst_pair(w: np.ndarray, limits: list[int]) -> None:
    sums = [
        a * v + b * u for row in w.tolist() for v, u in pairs_of(row) for a in limits for b in limits
    ]  # the extremes of a bilinear form lie in the corners
    assert abs(prove(w, *limits).worst) == max(map(abs, sums), default=0)


def test_expected_200_got_101() -> None:
    """What oneDNN gives on a CPU without VNNI, at the operating point of the report (x = 255, w = 127, K = 64)."""
    x, w = np.full((1, 64), 255, np.uint8), np.full((1, 64), 127, np.int8)
    scale = 200 / (255 * 127 * 64)
    assert round((x.astype(int) @ w.T.astype(int)).item() * scale) == 200
    assert round(emulate_maddubs(x, w).item() * scale) == 101
    assert prove(w) == Saturation(pairs=32, channels=(0,), worst=64770, quant_max=129)
    assert prove(w, x_max=127).safe  # reduce_range
    assert prove(np.full((1, 64), 64, np.int8)).safe  # 7-bit weights: 255 * 64 * 2 = 32640


def test_the_order_of_pairs_matters() -> None:
    assert prove(np.array([[127, -127, 127, -127]], np.int8)).safe
    assert not prove(np.array([[127, 127, -127, -127]], np.int8)).safe


def filters(layer: Layer) -> list[list[tuple[list[int], int]]]:
    """For each phase (csrc/phase.c) and axis: the kernel's taps in the order of the inputs they meet, and how far apart."""
    if not layer.transposed:
        return [[(list(range(k)), d) for k, d in zip(layer.kernel, layer.dilation, strict=True)]]
    result = []
    for residues in itertools.product(*map(range, layer.stride)):
        axes = zip(layer.kernel, layer.dilation, layer.stride, residues, strict=True)
        result.append([([i for i in range(k)[::-1] if i * d % s == r], d // math.gcd(d, s)) for k, d, s, r in axes])
    return result


def by_definition(packed: PackedWeights, arrays: dict[str, Any], layer: Layer) -> list[list[int]]:
    """Each channel's weights in the order that csrc/pack.c describes, straight from its picture."""
    out, inputs = packed.weights.shape[:2]
    outputs = out // layer.groups
    merged = max(m for m in range(1, layer.groups + 1) if layer.groups % m == 0 and (m == 1 or m * outputs <= 16))
    zero = np.broadcast_to(arrays["w_zero_point"], (out,))
    spread = merged > 1 and merged * inputs <= 16 and not zero.any()
    quads = lambda taps: sum(-(-len(tap) // 4) for tap in taps)  # noqa: E731
    result: list[list[int]] = [[] for _ in range(out)]
    for o, (*rest, (line, apart)) in itertools.product(range(out), filters(layer)):
        taps: list[list[int]] = []
        own = []
        whole_lines = merged == layer.groups and (len(line) == 1 or apart == 1)
        for *at, x in itertools.product(*(axis for axis, _ in rest), line):
            own.append([int(packed.weights[(o, c, *at, x)]) for c in range(inputs)])
            pixel = [own[-1] if g == o // outputs % merged else [int(zero[o])] * inputs for g in range(merged)]
            if whole_lines and x != line[0]:
                taps[-1] += itertools.chain(*pixel)
            else:
                taps.append([*itertools.chain(*pixel)])
        if spread and 3 * quads(own) <= 2 * quads(taps):
            taps = own
        elif not layer.transposed and merged == layer.groups and inputs * merged < 4 and whole_lines and len(taps) <= 9:
            channels, count = inputs * merged, len(line)  # few: lines are interleaved, pixel by pixel
            together = [[w for x in range(count) for tap in taps for w in tap[x * channels : (x + 1) * channels]]]
            saved = 2 * (quads(taps) - quads(together)) * -(-out // 16)
            if len(taps) * count > 1 and saved > len(taps) * layer.stride[-1]:
                taps = together
        result[o] += [w for tap in taps for w in tap + [0] * (-len(tap) % 4)]
    return result


@given(strategies.layers(), st.booleans())
def test_packed_weights_are_read_as_they_are_multiplied(layer: Layer, reduced: bool) -> None:
    arrays = layer.arrays()
    packed = PackedWeights(
        arrays["w"], arrays["w_scale"], arrays["w_zero_point"], None,
        **layer.geometry,
    )  # fmt: skip
    expected = by_definition(packed, arrays, layer)
    assert rows(packed).tolist() == expected
    x_max = 127 if reduced else 255
    assert prove(packed, x_max=x_max) == prove(np.array(expected, np.int8), x_max=x_max)


@given(
    st.lists(st.integers(-128, 127), max_size=3), st.integers(-3, 3), st.integers(0, 2), st.integers(0, 2), st.integers(-200, 200)
)
def test_accumulators_by_trying_everything(w: list[int], zero: int, low: int, width: int, bias: int) -> None:
    """Every input, every subset of the terms: the bits suffice, and one fewer would not."""
    sums = {
        sum(chosen)
        for x in itertools.product(range(low, low + width + 1), repeat=len(w))
        for size in range(len(w) + 2)
        for chosen in itertools.combinations([bias, *((a - zero) * b for a, b in zip(x, w, strict=True))], size)
    }
    bits = int(accumulator_bits([w], zero, low, low + width, bias)[0])
    assert -(2 ** (bits - 1)) <= min(sums) <= max(sums) <= 2 ** (bits - 1) - 1
    assert bits == 1 or not -(2 ** (bits - 2)) <= min(sums) <= max(sums) <= 2 ** (bits - 2) - 1


def test_accumulator_bits_of_known_cases() -> None:
    assert accumulator_bits(np.full((2, 1), [[127], [-128]])).tolist() == [16, 16]  # 32385, -32640
    assert accumulator_bits([[1]], x_max=127).tolist() == [8]
    assert accumulator_bits([[-1]], x_max=128).tolist() == [8]  # -128 fits, 128 would not
    k = 2**31 // (255 * 128)
    assert accumulator_bits(np.full((2, k), [[127], [-128]]), bias_q=[0, -(2**15)]).tolist() == [32, 33]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"weights must be int8 of shape \(out, k\); got int64 of shape \(3,\)"):
        prove([1, 2, 3])
    with pytest.raises(ValueError, match="got x_min=3, x_max=2"):
        prove(np.zeros((1, 2), np.int8), 3, 2)
    with pytest.raises(ValueError, match=r"x must be uint8 of shape \(rows, 4\); got uint8 of shape \(1, 5\)"):
        emulate_maddubs(np.zeros((1, 5), np.uint8), np.zeros((1, 4), np.int8))
