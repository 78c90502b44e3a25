"""A linear layer on floats, which are quantized by the range that they have: one call of the C library.

Before: `packed`, `elementwise`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .elementwise import choose_dynamic_qparams, value_range
from .grid import Grid
from .native import FLOATS, check, ffi, isa_number, lib, pointer, requested_isa, workspace
from .packed import Output, PackedWeights


def linear_dynamic(
    packed: PackedWeights, x: NDArray[np.float32], quant_max: int, relu: bool = False, isa: str | None = None
) -> NDArray[np.float32]:
    """y = epilogue D(sum_k (q_x - z_x) (q_w - z_w)) of x, quantized to 0 .. quant_max by the dynamic rule.

    x: (rows, in_features), float32, C-contiguous, not empty. Returns (rows, out_features). Raises ValueError on NaN and
    infinity, and where the arithmetic would not be exact (`numerics.bind`).

    >>> packed = PackedWeights(np.ones((1, 2, 1, 1), np.int8), np.float32(1), np.int64(0))
    >>> linear_dynamic(packed, np.float32([[0, 255], [1, 2]]), 255)
    array([[255.],
           [  3.]], dtype=float32)
    """
    struct, needed, _ = prepared(packed, x.shape, quant_max, relu, isa)
    y = np.empty((x.shape[0], packed.out_channels), np.float32)
    status = lib.nq_linear_dynamic(struct, pointer(FLOATS, x), pointer(FLOATS, y), workspace(needed), needed)
    if status:  # step by step, as any layer is bound: the step that fails explains what is wrong
        scale, zero_point = choose_dynamic_qparams(*value_range(x), 0, quant_max)
        packed.linear(np.zeros(x.shape, np.uint8), Grid(float(np.float32(scale)), zero_point), Output(relu=relu))
        check(status, "linear_dynamic")
    return y


def prepared(
    packed: PackedWeights, shape: tuple[int, ...], quant_max: int, relu: bool = False, isa: str | None = None
) -> Any:
    """(structure for C, bytes of workspace, what the structure points to), of an input of this shape."""
    key = ("dynamic", shape, quant_max, relu, isa or requested_isa())
    known = packed.calls.get(key)
    if known is not None:
        return known
    packed.check_linear(shape)
    weights, binding = packed.pack(isa_number(isa)), packed.binding(Grid(1.0, 0), Output(relu=relu))
    struct = ffi.new("nq_dynamic *", (weights.struct, binding, shape[0], quant_max))
    needed = lib.nq_linear_dynamic_workspace(struct)
    if needed < 0:
        raise ValueError(f"an input of shape {shape} is larger than the address space")
    call = struct, needed, (weights, binding)
    packed.keep(key, call)
    return call
