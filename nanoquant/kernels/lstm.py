"""An LSTM layer in one direction over a whole sequence, for training, in C (csrc/lstm.c).

Before: `sliding`. After: `fake_quantize`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dynamic import prepared
from .native import check, ffi, isa_number, lib, pointer, workspace
from .packed import PackedWeights
from .sliding import PADDED

Floats = NDArray[np.float32]


def run(gates: Floats, h: Floats, c: Floats, w: Floats, reverse: bool, **backward: Floats) -> None:
    """All steps, in place. gates: (steps, batch, 4 hidden); h, c: (steps + 1, batch, hidden), the first entry given.

    Forward, gates holds W_ih x + b and becomes i, f, g, o; w is W_hh^T. Backward, w is W_hh, and there are dy (steps,
    batch, hidden), dh and dc (batch, hidden), of the last step but for dy, which become those of the start, and dp, like
    gates. reverse: gates, dy and dp are visited from the last step to the first. All are float32 and C-contiguous.
    """
    steps, batch, hidden = len(gates), *h.shape[1:]
    state, all_gates, sequence = (batch, hidden), (steps, batch, 4 * hidden), (steps + 1, batch, hidden)
    wanted: dict[str, tuple[int, ...]] = {"gates": all_gates, "h": sequence, "c": sequence, "w": (hidden, 4 * hidden)}
    if backward:
        wanted |= {"w": (4 * hidden, hidden), "dy": (steps, *state), "dh": state, "dc": state, "dp": all_gates}
    arrays = {"gates": gates, "h": h, "c": c, "w": w, **backward}
    if arrays.keys() != wanted.keys() or any(a.shape != wanted[n] or a.dtype != np.float32 for n, a in arrays.items()):
        raise ValueError(f"lstm: arrays of { ({n: a.shape for n, a in arrays.items()}) } do not fit {wanted}")
    padding = -w.shape[1] % PADDED
    arrays["w"] = np.ascontiguousarray(np.pad(w, ((0, 0), (0, padding))) if padding else w)
    given: dict[str, Any] = {name: pointer("float[]", array) for name, array in arrays.items()}
    given |= {"isa": isa_number(), "reverse": reverse, "steps": steps, "batch": batch, "hidden": hidden}
    check(lib.nq_lstm_run(ffi.new("nq_lstm *", given), bool(backward)), "lstm")


def run_dynamic(
    gates: Floats, h: Floats, c: Floats, packed: PackedWeights, quant_max: int, reverse: bool, per_row: bool = False
) -> None:
    """`run` forward, with W_hh h + b_hh by `dynamic.run` of packed weights: h is quantized at every step."""
    steps, batch, hidden = len(gates), *h.shape[1:]
    if gates.shape != (steps, batch, 4 * hidden) or h.shape != c.shape or h.shape[0] != steps + 1:
        raise ValueError(f"lstm: arrays of {gates.shape}, {h.shape}, {c.shape} do not fit")
    if batch == 0 or steps == 0:
        return
    hh = prepared(packed, "linear", (batch, hidden), quant_max, per_row=per_row)
    sums = np.empty((batch, 4 * hidden), np.float32)
    given = {name: pointer("float[]", array) for name, array in (("gates", gates), ("h", h), ("c", c))}
    given |= {"isa": isa_number(), "reverse": reverse, "steps": steps, "batch": batch, "hidden": hidden}
    status = lib.nq_lstm_dynamic(
        ffi.new("nq_lstm *", given), hh.struct, pointer("float[]", sums), workspace(hh.workspace), hh.workspace
    )
    check(status, "lstm")
