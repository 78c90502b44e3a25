"""A layer on floats, which are quantized by the range that they have: one call of the C library (csrc/dynamic.c).

Before: `packed`, `elementwise`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..numerics import Profile
from .elementwise import choose_dynamic_qparams, value_range
from .grid import Grid
from .native import FLOATS, check, ffi, lib, pointer, requested_isa, workspace
from .packed import Call, Output, PackedWeights

Kind = Literal["conv", "linear"]
Floats = NDArray[np.float32]


def greatest_step(profile: Profile, reduce_range: bool = True) -> int:
    """The largest integer that activations become: torch's dynamic layers halve the range, but QNNPACK's do not."""
    return 127 if reduce_range and profile is not Profile.qnnpack else 255


@dataclass(slots=True)
class Dynamic:
    """All that C needs to run a layer on floats of one shape. call: the layer, bound for x of scale 1 and zero point 1."""

    struct: Any
    workspace: int
    call: Call


def run(
    packed: PackedWeights, kind: Kind, x: Floats, quant_max: int, relu: bool = False, per_row: bool = False,
    isa: str | None = None,
) -> Floats:  # fmt: skip
    """y = epilogue D(sum_k (q_x - z_x) (q_w - z_w)) of x, quantized to 0 .. quant_max by the dynamic rule.

    x: float32, not empty; of a linear layer (rows, in_features), of a convolution (batch, in_channels, *size), as is the
    result. per_row: a scale for each entry of x's first axis, which then has the same result in any company; else one scale
    for all. Raises ValueError on NaN and infinity, and where the arithmetic would not be exact (`numerics.bind`).

    >>> packed = PackedWeights(np.ones((1, 2, 1, 1), np.int8), np.float32(1), np.int64(0))
    >>> run(packed, "linear", np.float32([[0, 255], [1, 2]]), 255)
    array([[255.],
           [  3.]], dtype=float32)
    >>> run(packed, "linear", np.float32([[0, 255], [1, 2]]), 255, per_row=True)
    array([[255.       ],
           [  2.9960785]], dtype=float32)
    """
    images, first = x, False
    if kind == "conv":
        images = np.moveaxis(x, 1, -1)
        first = not images.flags.c_contiguous
    memory = np.ascontiguousarray(x) if first or kind == "linear" else images
    dynamic = prepared(packed, kind, images.shape, quant_max, relu, per_row, first, isa)
    y = np.empty(dynamic.call.shape, np.float32)
    needed = dynamic.workspace
    status = lib.nq_run_dynamic(dynamic.struct, pointer(FLOATS, memory), pointer(FLOATS, y), workspace(needed), needed)
    if status:  # step by step, as any layer is bound: the step that fails explains what is wrong
        for part in np.split(images, len(images)) if per_row else [images]:
            scale, zero_point = choose_dynamic_qparams(*value_range(part), 0, quant_max)
            step = packed.linear if kind == "linear" else packed.conv
            step(np.zeros(part.shape, np.uint8), Grid(float(np.float32(scale)), zero_point), Output(relu=relu))
        check(status, kind)
    return y if kind == "linear" else np.moveaxis(y, -1, 1)


def prepared(
    packed: PackedWeights, kind: Kind, shape: tuple[int, ...], quant_max: int, relu: bool = False, per_row: bool = False,
    channels_first: bool = False, isa: str | None = None,
) -> Dynamic:  # fmt: skip
    """The call for an input of this shape, with channels last, kept in `packed.calls`."""
    key = ("dynamic", kind, shape, quant_max, relu, per_row, channels_first, isa or requested_isa())
    known = packed.calls.get(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    call = packed.prepare((key, "layer"), kind, shape, Grid(1.0, 1), Output(relu=relu), isa)
    scales = lib.NQ_SCALE_PER_ROW if kind == "linear" else lib.NQ_SCALE_PER_IMAGE
    struct = ffi.new("nq_dynamic *", {
        "layer": call.layer, "profile": packed.profile.value, "quant_max": quant_max, "channels_first": channels_first,
        "scales": scales if per_row and shape[0] > 1 else lib.NQ_ONE_SCALE,
        "least": packed.scale.min(), "greatest": packed.scale.max(),
    })  # fmt: skip
    needed = lib.nq_dynamic_workspace(struct)
    if needed < 0:
        raise ValueError(f"an input of shape {shape} is larger than the address space")
    dynamic = Dynamic(struct, needed, call)
    packed.keep(key, dynamic)
    return dynamic
