"""Fake quantization of float32 arrays and its gradient, in C (csrc/fake.c): `autograd.fake_quant` says what they are.

Before: `lstm`. After: `channels`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .native import check, ffi, isa_number, lib, pointer

Floats = NDArray[np.float32]


class Rounding:
    """Rounding to the steps low..high of a scale: of one, or of one for each index along the first axis.

    scale, low, high: () or (channels,), float32; low and high are whole numbers between +-32766.
    """

    def __init__(self, scale: Floats, low: Floats, high: Floats) -> None:
        self.channels = scale.size
        self.arrays = [np.array(a, np.float32).reshape(-1) for a in (scale, low, high)]
        self.pointers = [pointer("float[]", a) for a in self.arrays]

    def __call__(self, x: Floats, g: Floats | None = None) -> Floats:
        """scale * clamp(rint(x / scale), low, high); with the gradient g of that, the gradient of x.

        The result lies in memory as x does. Raises ValueError on NaN in x, unless g is given.
        """
        flat, order = x, None
        if not x.flags.c_contiguous:
            order = np.argsort([-stride for stride in x.strides], kind="stable")
            flat = np.ascontiguousarray(x.transpose(order))
        if self.channels > 1 and (order is not None and order[0] != 0):
            flat, order = np.ascontiguousarray(x), None
        y = np.empty_like(flat)
        if y.size:
            if g is not None:
                g = np.ascontiguousarray(g if order is None else g.transpose(order), np.float32)
            rows = self.channels if self.channels > 1 else 1
            given = (isa_number(), rows, y.size // rows, rows, *self.pointers)
            second = ffi.NULL if g is None else pointer("float[]", g)
            status = lib.nq_fake_quantize(
                ffi.new("nq_rounding *", given), pointer("float[]", flat), second, pointer("float[]", y)
            )
            check(status, "fake_quantize")
        return y if order is None else y.transpose(np.argsort(order))
