"""What happens between two products, by the C library; `pointwise` and `pooling` say what each function computes.

    an operation, grids, a shape, an instruction set
         | prepare, once: checks, a structure for C            operation, clamping, looking_up, pooling
         v
    run(x)                                                     csrc/pointwise.c, csrc/pooling.c

Arrays are 8-bit integers in memory order, C-contiguous, so that an image has its channels last. A prepared call takes
about a microsecond, a third of it for pointers. `out` may be an input itself.

Before: `pointwise`, `pooling`, `native`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Integers, Limits
from .native import DTYPES, FLOATS, check, empty, ffi, isa_number, lib, pointer, record
from .pooling import Sliding, Windows
from .tables import exponentials

_apply, _pool = lib.nq_apply, lib.nq_pool  # looked up once
Shape = tuple[int, ...]


def _c_grid(grid: Grid) -> dict[str, Any]:
    return {"scale": grid.scale, "zero_point": grid.zero_point, "dtype": DTYPES[grid.dtype]}


@dataclass(slots=True)
class Call:
    """An operation on arrays of one shape, with all its constants as C takes them: made once, `run` often.

    what: its name. size: how many integers an input has. shape, dtype: of the output. memory:
    what the structure points to.
    """

    what: str
    struct: Any
    size: int
    shape: Shape
    dtype: np.dtype[Any]
    memory: Any = None

    def on(self, x: Any, y: Any, z: Any = None) -> None:
        """The operation on C pointers, of sizes and dtypes that the call is for. z: of the second input, if it has one."""
        z = x if z is None else z
        if record.steps is not None:
            record.add(lib.NQ_STEP_APPLY, self, self.struct, x, z, y)
        status = _apply(self.struct, x, z, y, 0)
        if status:
            check(status, self.what)

    def run(self, a: Integers, b: Integers | None = None, out: Integers | None = None) -> Integers:
        """The result: `out` if given, else a new array. b: the second input of a sum or product.

        Of the inputs only the size is checked here: their dtypes are the grids' that the call is for.
        """
        out = empty(self.shape, self.dtype) if out is None else _checked(self.what, out, self.shape, self.dtype)
        x = pointer(a)
        z = x if b is None else pointer(b)
        if not len(x) == len(z) == self.size:
            raise ValueError(f"{self.what}: the inputs must have {self.size} elements; got {len(x)} and {len(z)}")
        self.on(x, pointer(out), z)
        return out


def _checked(what: str, out: Integers, shape: Shape, dtype: np.dtype[Any]) -> Integers:
    if out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise ValueError(f"{what}: `out` must be contiguous {dtype} of shape {shape}; got {out.dtype} {out.shape}")
    return out


def operation(
    what: str, shape: Shape, a: Grid, b: Grid | None, y: Grid, limits: Limits | None = None, isa: int | None = None,
    table: Integers | None = None,
) -> Call:  # fmt: skip
    """The function of `pointwise` with this name, on integers of these grids; with `limits=y.relu`, at least zero."""
    if b is not None and b.dtype != a.dtype:
        raise TypeError(f"{what}: both inputs must have one dtype; got {a.dtype} and {b.dtype}")
    rows, columns = math.prod(shape[:-1]), shape[-1] if shape else 1
    low, high = y.limits if limits is None else limits
    struct = ffi.new("nq_pointwise *", {
        "isa": isa_number() if isa is None else isa, "op": getattr(lib, f"NQ_{what.upper()}"), "rows": rows,
        "columns": columns, "quant_min": low, "quant_max": high,
        **{name: _c_grid(grid) for name, grid in (("a", a), ("b", b), ("y", y)) if grid is not None},
    })  # fmt: skip
    if table is not None:
        struct.table = pointer("uint8_t[]", table)
    return Call(what, struct, rows * columns, shape, y.dtype, table)


def clamping(shape: Shape, dtype: np.dtype[Any], limits: Limits, isa: int | None = None) -> Call:
    """min(max(q, low), high): relu with low = zero_point, relu6 and hardtanh with quantized bounds."""
    grid = Grid(1.0, limits[0], dtype)
    return operation("clamp", shape, grid, None, grid, limits, isa)


def looking_up(shape: Shape, dtype: np.dtype[Any], table: Integers, isa: int | None = None) -> Call:
    """table[q as a byte]: any function of one 8-bit integer, with the 256 entries that `tables` computes.

    Entry i belongs to the integer whose byte is i: 128 .. 255 are -128 .. -1 of int8.
    """
    if table.shape != (256,) or table.itemsize != 1:
        raise ValueError(f"a table has 256 bytes; got {table.dtype} of shape {table.shape}")
    return operation("lookup", shape, Grid(1.0, 0, dtype), None, Grid(1.0, 0, table.dtype), None, isa, table=table)


@dataclass(slots=True)
class Concatenation:
    """Arrays side by side, each by a call of its own; made by `concatenation`, `run` often.

    | a0 a1 | b0 |
    | a2 a3 | b1 |

    parts: each call's structure, and how many rows and columns it reads. stride: all columns. shape: of the result.
    """

    parts: tuple[tuple[Any, int, int], ...]
    stride: int
    shape: Shape
    dtype: np.dtype[Any]

    def on(self, parts: Sequence[Any], y: Any) -> None:
        """Puts parts, C pointers to their bytes, side by side at y, which has room for all."""
        for (struct, rows, columns), x in zip(self.parts, parts, strict=True):
            if len(x) != rows * columns:
                raise ValueError(f"concatenate: a part must be {rows} rows of {columns}; got {len(x)} elements")
            status = _apply(struct, x, x, y, self.stride)
            if status:
                check(status, "concatenate")
            y += columns


def concatenation(calls: Sequence[Call], shape: Shape) -> Concatenation:
    """calls: `operation`s of one input, on arrays of shape (rows, columns). shape: of the result, which has as many rows."""
    parts = tuple((call.struct, *call.shape) for call in calls)
    stride = sum(columns for _, _, columns in parts)
    if any(rows * stride != math.prod(shape) for _, rows, _ in parts):
        raise ValueError(f"concatenate: {', '.join(str(call.shape) for call in calls)} side by side are not {shape}")
    return Concatenation(parts, stride, shape, calls[0].dtype)


def batch_norm(
    call: Call, q: Integers, mean: NDArray[np.float32], variance: NDArray[np.float32], weight: NDArray[np.float32],
    bias: NDArray[np.float32], eps: float, out: Integers | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.batch_norm` of the last axis. call: `operation("scale_shift", ...)`.

    mean, variance, weight, bias: float32, C-contiguous, one for each channel.
    """
    out = np.empty(call.shape, call.dtype) if out is None else _checked("batch_norm", out, call.shape, call.dtype)
    x, m, v = pointer(q), pointer(FLOATS, mean), pointer(FLOATS, variance)
    w, b = pointer(FLOATS, weight), pointer(FLOATS, bias)
    if len(x) != call.size or not call.shape[-1] == len(m) == len(v) == len(w) == len(b):
        raise ValueError(f"batch_norm: the input must have shape {call.shape}, and each constant its last axis")
    status = lib.nq_batch_norm(call.struct, m, v, w, b, eps, x, pointer(out))
    if status:
        check(status, "batch_norm")
    return out


# ---- rows ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _grids(x: Grid, y: Grid) -> Any:
    return ffi.new("nq_grid[]", [_c_grid(x), _c_grid(y)])


def _rows(what: str, q: Integers, x: Grid, y: Grid, out: Integers | None) -> tuple[Integers, int, int]:
    """The output, and how many rows of how many columns there are."""
    if q.dtype != x.dtype:
        raise TypeError(f"{what}: the grid is one of {x.dtype}; got {q.dtype}")
    shape = q.shape
    out = np.empty(shape, y.dtype) if out is None else _checked(what, out, shape, y.dtype)
    columns = shape[-1]
    return out, q.size // max(columns, 1), columns


def softmax(q: Integers, x: Grid, y: Grid, out: Integers | None = None, isa: int | None = None) -> Integers:
    """`pointwise.softmax`, over the last axis of a C-contiguous array."""
    out, rows, columns = _rows("softmax", q, x, y, out)
    grids = _grids(x, y)
    status = lib.nq_softmax(
        isa_number() if isa is None else isa, rows, columns, grids, pointer(q),
        pointer("int32_t[]", exponentials(x.scale)), grids + 1, pointer(out),
    )  # fmt: skip
    if status:
        check(status, "softmax")
    return out


def layer_norm(
    q: Integers, x: Grid, weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float, y: Grid,
    out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.layer_norm`, over the last axis of a C-contiguous array. weight, bias: float32, of its length."""
    out, rows, columns = _rows("layer_norm", q, x, y, out)
    w, b = pointer(FLOATS, weight), pointer(FLOATS, bias)
    if len(w) != columns or len(b) != columns:
        raise ValueError(f"layer_norm: weight and bias must have {columns} elements; got {len(w)} and {len(b)}")
    grids, number = _grids(x, y), isa_number() if isa is None else isa
    status = lib.nq_layer_norm(number, rows, columns, grids, pointer(q), w, b, eps, grids + 1, pointer(out))
    if status:
        check(status, "layer_norm")
    return out


# ---- pooling ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pooling:
    """How to pool images of one shape, as C takes it: made once by `pooling`, `run` often.

    x, shape: shapes of the input and the output, which are integers of `dtype`.
    """

    what: str
    isa: int
    struct: Any
    dtype: np.dtype[Any]
    x: Shape
    shape: Shape

    def on(self, x: Any, y: Any) -> None:
        """The pooled images at y. x, y: C pointers, of shapes and dtypes that the call is for."""
        if record.steps is not None:
            record.add(lib.NQ_STEP_POOL, self, self.struct, x, x, y, self.isa)
        status = _pool(self.isa, self.struct, x, y)
        if status:
            check(status, self.what)

    def run(self, q: Integers, out: Integers | None = None) -> Integers:
        """The pooled images: `out` if given, else a new array. q: C-contiguous."""
        if q.shape != self.x or q.dtype != self.dtype:
            raise ValueError(f"{self.what}: the images must be {self.dtype} of shape {self.x}; got {q.dtype} {q.shape}")
        out = empty(self.shape, self.dtype) if out is None else _checked(self.what, out, self.shape, self.dtype)
        self.on(pointer(q), pointer(out))
        return out


def pooling(
    x: Grid, shape: Shape, windows: Windows, average: bool, include_padding: bool = True, divisor: int | None = None,
    isa: int | None = None,
) -> Pooling:  # fmt: skip
    """`pooling.mean_pool`, or `max_pool` if not `average`, of C-contiguous images of this shape."""
    struct, sliding = ffi.new("nq_pooling *"), isinstance(windows, Sliding)
    struct.batch, height, width, struct.channels = shape
    struct.average, struct.adaptive = average, not sliding
    struct.dtype, struct.zero_point = DTYPES[x.dtype], x.zero_point if average else x.limits[0]
    struct.include_padding, struct.divisor = include_padding, divisor or 0
    for axis, size in enumerate((height, width)):
        out = windows.out_size(axis, size)
        if min(size, out) < 1:
            raise ValueError(f"an image of {height} x {width} holds no window of {windows}")
        struct.size[axis], struct.out[axis], struct.dilation[axis] = size, out, 1
        if isinstance(windows, Sliding):
            struct.kernel[axis], struct.stride[axis] = windows.kernel[axis], windows.stride[axis]
            struct.padding[axis], struct.dilation[axis] = windows.padding[axis], windows.dilation[axis]
    what, number = "mean_pool" if average else "max_pool", isa_number() if isa is None else isa
    return Pooling(what, number, struct, x.dtype, shape, (shape[0], *struct.out, shape[3]))


def swap_axes(q: Integers, out: Integers | None = None) -> Integers:
    """q.swapaxes(-1, -2), copied: (batch, channels, pixels) to channels last, or back. q: C-contiguous bytes."""
    *batch, rows, columns = q.shape
    if q.itemsize != 1:
        raise TypeError(f"swap_axes moves 8-bit integers; got {q.dtype}")
    shape = (*batch, columns, rows)
    out = np.empty(shape, q.dtype) if out is None else _checked("swap_axes", out, shape, q.dtype)
    size, x, y = (math.prod(batch), rows, columns), pointer(q), pointer(out)
    if record.steps is not None:
        record.add(lib.NQ_STEP_TRANSPOSE, None, ffi.NULL, x, x, y, size=size)
    check(lib.nq_transpose(*size, x, y), "swap_axes")
    return out


# ---- dynamic ranges --------------------------------------------------------------------------------------------------


def value_range(x: NDArray[np.float32], isa: int | None = None) -> tuple[float, float]:
    """(min, max) of a C-contiguous array that is not empty. Raises ValueError on NaN and infinity."""
    ends = ffi.new("float[2]")
    status = lib.nq_range(isa_number() if isa is None else isa, pointer("float[]", x), x.size, ends, ends + 1)
    if status == lib.NQ_NOT_FINITE:
        raise ValueError(f"the input of shape {x.shape} holds NaN or infinity: no scale can represent its range")
    check(status, "value_range")
    return ends[0], ends[1]


def choose_dynamic_qparams(min_val: float, max_val: float, quant_min: int, quant_max: int) -> tuple[float, int]:
    """`qparams.choose_dynamic_qparams`, for 8-bit integers."""
    scale, zero_point = ffi.new("double *"), ffi.new("int32_t *")
    check(lib.nq_choose_qparams(min_val, max_val, quant_min, quant_max, scale, zero_point), "choose_dynamic_qparams")
    return scale[0], zero_point[0]
