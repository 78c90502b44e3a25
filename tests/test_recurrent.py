"""An LSTM's steps in C: against NumPy's in float64, on every instruction set, inside their buffers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

import nanoquant as nq
from nanoquant.kernels import lstm, native
from nanoquant.nn.steps import KINDS

SIZES = [(1, 1, 1), (3, 1, 16), (2, 9, 5), (5, 8, 33), (4, 25, 64)]  # steps, batch, hidden


def drawn(steps: int, batch: int, hidden: int) -> list[np.ndarray]:
    """p, W_hh, its bias, h0, c0, and the gradient of the result; some of p so large that gates saturate."""
    g = np.random.default_rng(steps * batch)
    shapes = [(steps, batch, 4 * hidden), (4 * hidden, hidden), (4 * hidden,), (batch, hidden), (batch, hidden)]
    p, *rest, dy = (g.standard_normal(s).astype(np.float32) for s in (*shapes, (steps + 1, batch, hidden)))
    return [p * g.choice([0.1, 1, 100], p.shape).astype(np.float32), *rest, dy]


def both_ways(arrays: list[np.ndarray], dtype: Any, reverse: bool) -> list[np.ndarray]:
    *given, dy = (a.astype(dtype) for a in arrays)
    steps = KINDS["lstm"](reverse)
    y = steps.forward(*given)
    return [y, given[0], *(part for part in steps.vjp(dy, y, *given) if part is not None)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_steps_are_those_of_numpy(size: tuple[int, int, int], reverse: bool) -> None:
    for got, exact in zip(
        both_ways(drawn(*size), np.float32, reverse), both_ways(drawn(*size), np.float64, reverse), strict=True
    ):
        # a gate is off by a few 2^-24, and at most 70 products and 5 steps add up; 2^4 to spare
        np.testing.assert_allclose(got, exact, rtol=1e-4, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize("size", SIZES)
def test_the_same_bits_on_every_instruction_set_and_any_threads(
    size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = size[0]
    p, w, _, h0, c0, dy = drawn(*size)
    results, before = [], nq.get_num_threads()
    for isa, threads in [(isa, threads) for isa in native.available_isas() for threads in (1, 3)]:
        monkeypatch.setenv("NANOQUANT_ISA", isa)
        nq.set_num_threads(threads)
        gates, h, c = p.copy(), *(np.concatenate([a[None], np.zeros((steps, *a.shape), np.float32)]) for a in (h0, c0))
        lstm.run(gates, h, c, np.ascontiguousarray(w.T), False)
        back = {"dy": dy[:-1].copy(), "dh": dy[-1].copy(), "dc": c0.copy(), "dp": np.empty_like(p)}
        lstm.run(gates, h, c, w, False, **back)
        results.append([gates, h, c, *back.values()])
    nq.set_num_threads(before)
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def test_tanh_and_sigmoid_are_accurate_relative_to_themselves() -> None:
    x = np.float32([0, 1e-30, -1e-6, 1e-3, 0.1, -0.5, 1, 3, -9, 20, -70, 90, -1e30, np.inf, -np.inf])
    gates = np.concatenate([x, np.zeros_like(x), x, np.zeros_like(x)])[None, None].copy()
    h = c = np.zeros((2, 1, len(x)), np.float32)
    lstm.run(gates, h, c.copy(), np.zeros((len(x), 4 * len(x)), np.float32), False)
    with np.errstate(over="ignore"):
        for row, exact in ((0, 1 / (1 + np.exp(-x.astype(np.float64)))), (2, np.tanh(x.astype(np.float64)))):
            got = gates[0, 0].reshape(4, -1)[row]
            np.testing.assert_allclose(got, exact, rtol=4 * 2.0**-24, atol=1e-34)  # e^80 stands for all beyond


def test_arrays_that_do_not_fit_are_refused() -> None:
    gates, h, c, w = (np.zeros(s, np.float32) for s in ((2, 3, 16), (3, 3, 4), (3, 3, 4), (4, 16)))
    lstm.run(gates, h, c, w, False)
    for wrong in ((gates[:1], h, c, w), (gates, h[1:], c, w), (gates, h, c[:, 1:], w), (gates, h, c, w.T)):
        with pytest.raises(ValueError, match="lstm: arrays of .* do not fit"):
            lstm.run(*wrong, False)
    with pytest.raises(ValueError, match="do not fit"):
        lstm.run(gates, h, c, w.astype(np.float64), False)
    struct = native.ffi.new("nq_lstm *", {"hidden": 0})
    assert native.lib.nq_lstm_run(struct, False) == native.lib.NQ_BAD_ARGUMENT


GUARDED = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np, guarded
from nanoquant.kernels import lstm
g = np.random.default_rng(0)
for at_end in (True, False):
    keep = []
    def guard(*shape):
        keep.append(guarded.Guarded(g.standard_normal(shape).astype(np.float32), at_end))
        return keep[-1].array
    for steps, batch, hidden in ((1, 1, 1), (2, 9, 5), (3, 8, 16), (2, 13, 33)):
        gates, h, c = guard(steps, batch, 4 * hidden), guard(steps + 1, batch, hidden), guard(steps + 1, batch, hidden)
        lstm.run(gates, h, c, guard(hidden, 4 * hidden), False)
        lstm.run(gates, h, c, guard(4 * hidden, hidden), True, dy=guard(steps, batch, hidden), dh=guard(batch, hidden),
                 dc=guard(batch, hidden), dp=guard(steps, batch, 4 * hidden))
    for place in keep:
        place.close()
print("ok")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mmap flags")
def test_no_byte_outside_the_buffers() -> None:
    assert run_python("-c", GUARDED.format(folder=str(Path(__file__).parent))).stdout.split() == ["ok"]
