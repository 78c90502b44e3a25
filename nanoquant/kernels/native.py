"""The door to the C library: the only importer of the compiled module, and the only place that reads NANOQUANT_ISA.

Each function hands arrays over without copying them, and turns a status into an exception. The checks that explain a
mistake in a user's words are the callers'; those in C are the last line, so that no argument can make it read or write
where it should not.

Before: csrc/nanoquant.h. After: `packed`.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanoquant._native import ffi as ffi
from nanoquant._native import lib as lib

DTYPES = {
    np.dtype(np.uint8): lib.NQ_U8,
    np.dtype(np.int8): lib.NQ_S8,
    np.dtype(np.int32): lib.NQ_S32,
    np.dtype(np.float32): lib.NQ_F32,
}
ALIGNMENT = 64

_MESSAGES = {
    lib.NQ_BAD_ARGUMENT: "an argument is not what csrc/nanoquant.h asks for",
    lib.NQ_BAD_LAYOUT: "the weights were packed for another instruction set",
    lib.NQ_BAD_SCALE: "a scale, or a product of scales, is not a positive, normal and finite float32",
    lib.NQ_BAD_BIAS: "the bias is not finite in units of x_scale * w_scale",
    lib.NQ_ACCUMULATOR: "the accumulator may leave int32",
    lib.NQ_WORKSPACE: "the workspace is too small",
    lib.NQ_NAN: "cannot quantize NaN",
    lib.NQ_NOT_FINITE: "the input holds NaN or infinity",
}


def check(status: int, what: str) -> None:
    """Raises ValueError for every status but NQ_OK."""
    if status != lib.NQ_OK:
        raise ValueError(f"{what}: {_MESSAGES[status]}")


def isa_names() -> list[str]:
    """The instruction sets the library knows, in growing order of preference."""
    return [ffi.string(lib.nq_isa_name(i)).decode() for i in range(lib.nq_isa_count())]


def available_isas() -> list[str]:
    """Those that this build holds and this CPU runs."""
    return [name for i, name in enumerate(isa_names()) if lib.nq_isa_runs(i)]


def isa_number(name: str | None = None) -> int:
    """The number of an instruction set; of the best one, or of the one NANOQUANT_ISA names, when `name` is None.

    Raises ValueError, with the list to choose from, when it is unknown or does not run here.
    """
    return _isa_number(name, requested_isa())


# os.environ.get() would take half of a small call, since it encodes the name and catches a KeyError; the dictionary
# below it takes 1/20 of that, and sees every change made through os.environ.
_environment: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]
_ISA_VARIABLE = os.environ.encodekey("NANOQUANT_ISA")


# What NANOQUANT_ISA is set to, as the system stores it, or None.
requested_isa: Callable[[], Any] = functools.partial(_environment.get, _ISA_VARIABLE)


@functools.cache
def _isa_number(name: str | None, wanted: Any) -> int:
    asked = name or (os.fsdecode(wanted) if wanted else available_isas()[-1])
    if asked not in available_isas():
        reason = "does not run here" if asked in isa_names() else "is unknown"
        source = "" if name else " (from the environment variable NANOQUANT_ISA)"
        raise ValueError(f"instruction set {asked!r}{source} {reason}; available: {', '.join(available_isas())}")
    return isa_names().index(asked)


def isa_status(name: str) -> dict[str, str]:
    """For each kernel: 'native', 'ref' when the scalar code serves, or why the instruction set is out of reach.

    >>> isa_status("ref")["gemm"]
    'native'
    """
    number = isa_names().index(name)
    kernels: list[str] = []
    while (kernel := lib.nq_kernel_name(len(kernels))) != ffi.NULL:
        kernels.append(ffi.string(kernel).decode())
    if not lib.nq_isa_compiled(number):
        return dict.fromkeys(kernels, "not in this build")
    if not lib.nq_isa_runs(number):
        return dict.fromkeys(kernels, "not on this CPU")
    return {kernel: "native" if lib.nq_isa_native(number, kernel.encode()) else "ref" for kernel in kernels}


def cpu_features() -> list[str]:
    """Of the features that any kernel asks for, those that this CPU has."""
    present, index = [], 0
    while (name := lib.nq_cpu_feature_name(index)) != ffi.NULL:
        if lib.nq_cpu_feature(index):
            present.append(ffi.string(name).decode())
        index += 1
    return present


def compiler() -> str:
    """Name and version of the compiler that built the library."""
    return str(ffi.string(lib.nq_compiler()).decode())


def get_num_threads() -> int:
    """How many threads share a product."""
    return int(lib.nq_get_num_threads())


def set_num_threads(threads: int) -> None:
    """Sets how many threads share a product. Results do not depend on it."""
    if lib.nq_set_num_threads(threads) != lib.NQ_OK:
        raise ValueError(f"threads must be in 1..256; got {threads}")


def aligned(nbytes: int) -> NDArray[np.uint8]:
    """Uninitialised bytes at an address that is a multiple of 64."""
    block = np.empty(nbytes + ALIGNMENT, dtype=np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes]


pointer = ffi.from_buffer  # ("float[]", array), or (array) for char[]: to C-contiguous memory, which it keeps alive
# Looked up once, since each costs a small call a percent or two.
FLOATS, FLOAT, NULL = ffi.typeof("float[]"), np.dtype(np.float32), ffi.NULL
empty, asarray, contiguous = np.empty, np.asarray, np.ascontiguousarray
_quantize, _dequantize = lib.nq_quantize, lib.nq_dequantize

_memory = threading.local()


class Step(NamedTuple):
    """A call that was made, for `plan`: what nq_step holds; owner: what keeps that alive; a, b, y: C pointers, of which b is a
    where there is but one input."""

    kind: int
    owner: Any
    what: Any
    a: Any
    b: Any
    y: Any
    isa: int = 0
    workspace: int = 0
    size: tuple[int, int, int] = (0, 0, 0)


class _Record(threading.local):
    steps: list[Step] | None = None

    def add(self, *step: Any, **more: Any) -> None:
        assert self.steps is not None  # asked before, so that a call that is not recorded pays for no more
        self.steps.append(Step(*step, **more))


record = _Record()  # of this thread


def workspace(nbytes: int) -> Any:
    """This thread's scratch memory as a C pointer with a length, grown to at least `nbytes`.

    Its contents live until the next call.
    """
    block = getattr(_memory, "block", None)
    if block is None or len(block) < nbytes:
        block = _memory.block = pointer(aligned(max(nbytes, 1 << 16)))
    return block


@dataclass(slots=True)
class Affine:
    """Scales, zero points and sizes as the C library takes them, and the arrays that these point to.

    shape: of what is quantized. dtype: of the integers.
    """

    isa: int
    struct: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    arrays: tuple[NDArray[Any], ...]

    def on(self, x: Any, y: Any) -> None:
        """`affine.quantize` in C, from the floats at the C pointer x to y."""
        if record.steps is not None:
            record.add(lib.NQ_STEP_QUANTIZE, self, self.struct, x, x, y, self.isa)
        status = _quantize(self.isa, self.struct, x, y)
        if status:
            check(status, "quantize")

    def back(self, q: Any) -> NDArray[np.float32]:
        """`affine.dequantize` in C, of the integers at the C pointer q."""
        x = empty(self.shape, FLOAT)
        y = pointer(FLOATS, x)
        if record.steps is not None:
            record.add(lib.NQ_STEP_DEQUANTIZE, self, self.struct, q, q, y, self.isa)
        status = _dequantize(self.isa, self.struct, q, y)
        if status:
            check(status, "dequantize")
        return x


def affine(
    dtype: np.dtype[Any], shape: tuple[int, ...], axis: int | None, scale: NDArray[np.float32],
    zero_point: NDArray[np.int32], quant_min: int, quant_max: int, isa: int | None = None,
) -> Affine:  # fmt: skip
    """What quantizing needs besides an array of this shape, and the way back.

    scale and zero_point have one entry, or, with an axis, one for each index along it.
    """
    outer, inner = ((), shape) if axis is None else (shape[:axis], shape[axis + 1 :])
    sizes = math.prod(outer), scale.size, math.prod(inner)
    scales, zero_points = pointer("float[]", scale), pointer("int32_t[]", zero_point)
    struct = ffi.new("nq_affine *", (DTYPES[dtype], *sizes, scales, zero_points, quant_min, quant_max))
    return Affine(isa_number() if isa is None else isa, struct, shape, dtype, (scale, zero_point))
