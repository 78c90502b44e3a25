"""What happens between two products, by the C library; `pointwise` and `pooling` say what each function computes.

Arrays are 8-bit integers in memory order, so that an image has its channels last. They are C-contiguous, or lie so but
for their last axis, which may be a part of a longer one: y[..., 16:32] is where a concatenation writes its second part.
`out` is such an array, and may be an input itself.

Before: `pointwise`, `pooling`, `native`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Integers, Limits
from .native import DTYPES, check, ffi, isa_number, lib, pointer
from .pooling import Adaptive, Windows
from .tables import exponentials


def _c_grid(grid: Grid) -> dict[str, Any]:
    return {"scale": grid.scale, "zero_point": grid.zero_point, "dtype": DTYPES[grid.dtype]}


class Operation(NamedTuple):
    """What to do with one or two arrays, with all its constants as C takes them: made once, `run` often.

    what: its name. x, y: the dtypes of its inputs and its output. binary: whether it takes two inputs. columns: how
    long the last axis must be, if that matters. memory: what the structure points to.
    """

    what: str
    struct: Any
    x: np.dtype[Any]
    y: np.dtype[Any]
    binary: bool = False
    columns: int | None = None
    memory: Any = None


@functools.lru_cache(maxsize=256)
def operation(what: str, a: Grid, b: Grid | None, y: Grid, limits: Limits | None = None) -> Operation:
    """The function of `pointwise` with this name, on integers of these grids; with `limits=y.relu`, at least zero."""
    grids = {name: _c_grid(grid) for name, grid in (("a", a), ("b", b), ("y", y)) if grid is not None}
    low, high = y.limits if limits is None else limits
    number = getattr(lib, f"NQ_{what.upper()}")
    struct = ffi.new("nq_pointwise *", {"op": number, "quant_min": low, "quant_max": high, **grids})
    return Operation(what, struct, a.dtype, y.dtype, binary=b is not None)


def clamping(dtype: np.dtype[Any], limits: Limits) -> Operation:
    """min(max(q, low), high): relu with low = zero_point, relu6 and hardtanh with quantized bounds."""
    grid = Grid(1.0, limits[0], dtype)
    return operation("clamp", grid, None, grid, limits)


def looking_up(dtype: np.dtype[Any], table: Integers) -> Operation:
    """table[q as a byte]: any function of one 8-bit integer, with the 256 entries that `tables` computes.

    Entry i belongs to the integer whose byte is i: 128 .. 255 are -128 .. -1 of int8.
    """
    if table.shape != (256,) or table.itemsize != 1:
        raise ValueError(f"a table has 256 bytes; got {table.dtype} of shape {table.shape}")
    struct = ffi.new("nq_pointwise *", {"op": lib.NQ_LOOKUP, "table": pointer("uint8_t[]", table)})
    return Operation("lookup", struct, dtype, table.dtype, memory=table)


def scaling(
    x: Grid, factor: NDArray[np.float32], shift: NDArray[np.float32], y: Grid, limits: Limits | None = None
) -> Operation:
    """`pointwise.scale_shift`. factor, shift: float32, C-contiguous, one for each index of the last axis."""
    for name, values in (("factor", factor), ("shift", shift)):
        if values.shape != (factor.size,) or values.dtype != np.float32:
            raise ValueError(f"{name} must be float32 of shape ({factor.size},); got {values.dtype} of {values.shape}")
    struct = ffi.new("nq_pointwise *", operation("scale_shift", x, None, y, limits).struct[0])
    struct.mul, struct.shift = pointer("float[]", factor), pointer("float[]", shift)
    return Operation("scale_shift", struct, x.dtype, y.dtype, columns=factor.size, memory=(factor, shift))


def _strided(array: Integers) -> tuple[Any, int]:
    """(pointer, bytes from row to row) of an array whose rows are its last axis."""
    shape, strides = array.shape, array.strides
    if array.flags.c_contiguous:
        return pointer(array), shape[-1]
    nested = all(strides[i] == strides[i + 1] * shape[i + 1] for i in range(array.ndim - 2))
    if strides[-1] != 1 or not nested or (array.ndim > 1 and strides[-2] < shape[-1]):
        raise ValueError(f"rows must be contiguous and evenly spaced; got shape {shape} with strides {strides}")
    return ffi.cast("char *", array.ctypes.data), strides[-2]


def run(
    operation: Operation, a: Integers, b: Integers | None = None, out: Integers | None = None, isa: int | None = None
) -> Integers:
    """The operation's result: `out` if given, else a new array. b: the second input of a sum or product."""
    what, struct, x_dtype, y_dtype, binary, columns, _ = operation
    shape = a.shape
    if a.dtype != x_dtype:
        raise TypeError(f"{what}: the grid is one of {x_dtype}; got {a.dtype}")
    fits = not binary if b is None else binary and b.shape == shape and b.dtype == x_dtype
    if not fits or (out is not None and (out.shape != shape or out.dtype != y_dtype)):
        given = {name: q for name, q in (("a", a), ("b", b), ("out", out)) if q is not None}
        raise ValueError(
            f"{what}: arrays must have one shape, its {'two inputs' if binary else 'input'} one dtype, and `out` be "
            f"{y_dtype}; got {', '.join(f'{name}: {q.dtype} {q.shape}' for name, q in given.items())}"
        )
    if columns is not None and shape[-1:] != (columns,):
        raise ValueError(f"{what}: there are {columns} factors, one for each index of the last axis; got shape {shape}")
    if out is None:
        out = np.empty(shape, y_dtype)
    number = isa_number() if isa is None else isa
    if a.flags.c_contiguous and out.flags.c_contiguous and (b is None or b.flags.c_contiguous):
        rows, columns = (1, a.size) if columns is None else (a.size // max(columns, 1), columns)
        x, y = pointer(a), pointer(out)
        z = x if b is None else pointer(b)
        status = lib.nq_point_rows(number, struct, rows, columns, x, columns, z, columns, y, columns)
    else:
        x, x_stride = _strided(a)
        z, z_stride = (x, x_stride) if b is None else _strided(b)
        y, y_stride = _strided(out)
        rows, columns = a.size // max(shape[-1], 1), shape[-1]
        status = lib.nq_point_rows(number, struct, rows, columns, x, x_stride, z, z_stride, y, y_stride)
    if status:
        check(status, what)
    return out


def concatenate(
    operations: Sequence[Operation], arrays: Sequence[Integers], rows: int, isa: int | None = None
) -> Integers:
    """Arrays side by side, each by an operation of its own:

        | a0 a1 | b0 |
        | a2 a3 | b1 |

    arrays: C-contiguous, taken as `rows` rows each. Returns one axis, as it lies in memory.
    """
    widths = [array.size // max(rows, 1) for array in arrays]
    stride = sum(widths)
    y = np.empty(rows * stride, operations[0].y)
    target, number = pointer(y), isa_number() if isa is None else isa
    for part, array, columns in zip(operations, arrays, widths, strict=True):
        if array.dtype != part.x or part.y != y.dtype or part.binary or part.columns is not None:
            raise TypeError(f"concatenate: {part.what} of {part.x} to {part.y} cannot turn {array.dtype} to {y.dtype}")
        x = pointer(array)
        check(lib.nq_point_rows(number, part.struct, rows, columns, x, columns, x, columns, target, stride), part.what)
        target += columns
    return y


# ---- rows ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _grids(x: Grid, y: Grid) -> Any:
    return ffi.new("nq_grid[]", [_c_grid(x), _c_grid(y)])


def _output(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], out: Integers | None) -> Integers:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(f"{what}: `out` must be contiguous {dtype} of shape {shape}; got {out.dtype} {out.shape}")
    return out


def _take(what: str, q: Integers, grid: Grid) -> None:
    if q.dtype != grid.dtype:
        raise TypeError(f"{what}: the grid is one of {grid.dtype}; got {q.dtype}")


def softmax(q: Integers, x: Grid, y: Grid, out: Integers | None = None, isa: int | None = None) -> Integers:
    """`pointwise.softmax`, over the last axis of a C-contiguous array."""
    _take("softmax", q, x)
    out = _output("softmax", q.shape, y.dtype, out)
    columns = q.shape[-1]
    grids = _grids(x, y)
    status = lib.nq_softmax(
        isa_number() if isa is None else isa, q.size // max(columns, 1), columns, grids, pointer(q),
        pointer("int32_t[]", exponentials(x.scale)), grids + 1, pointer(out),
    )  # fmt: skip
    check(status, "softmax")
    return out


def layer_norm(
    q: Integers, x: Grid, weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float, y: Grid,
    out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.layer_norm`, over the last axis of a C-contiguous array."""
    _take("layer_norm", q, x)
    out = _output("layer_norm", q.shape, y.dtype, out)
    columns = q.shape[-1]
    for name, values in (("weight", weight), ("bias", bias)):
        if values.shape != (columns,) or values.dtype != np.float32:
            raise ValueError(f"{name} must be float32 of shape ({columns},); got {values.dtype} of {values.shape}")
    grids = _grids(x, y)
    status = lib.nq_layer_norm(
        isa_number() if isa is None else isa, q.size // max(columns, 1), columns, grids, pointer(q),
        pointer("float[]", weight), pointer("float[]", bias), eps, grids + 1, pointer(out),
    )  # fmt: skip
    check(status, "layer_norm")
    return out


# ---- pooling ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _pooling(
    windows: Windows, shape: tuple[int, ...], dtype: np.dtype[Any], average: bool, zero_point: int, padding: bool,
    divisor: int,
) -> tuple[Any, tuple[int, ...]]:  # fmt: skip
    """The structure for C, and the shape of what comes out."""
    pooling = ffi.new("nq_pooling *")
    pooling.batch, height, width, pooling.channels = shape
    pooling.average, pooling.adaptive = average, isinstance(windows, Adaptive)
    pooling.dtype, pooling.zero_point = DTYPES[dtype], zero_point
    pooling.include_padding, pooling.divisor = padding, divisor
    for axis, size in enumerate((height, width)):
        out = windows.out_size(axis, size)
        if min(size, out) < 1:
            raise ValueError(f"an image of {height} x {width} holds no window of {windows}")
        pooling.size[axis], pooling.out[axis], pooling.dilation[axis] = size, out, 1
        if not isinstance(windows, Adaptive):
            pooling.kernel[axis], pooling.stride[axis] = windows.kernel[axis], windows.stride[axis]
            pooling.padding[axis], pooling.dilation[axis] = windows.padding[axis], windows.dilation[axis]
    return pooling, (shape[0], *pooling.out, shape[3])


def _pool(
    what: str, pooling: tuple[Any, tuple[int, ...]], q: Integers, out: Integers | None, isa: int | None
) -> Integers:
    struct, shape = pooling
    out = _output(what, shape, q.dtype, out)
    number = isa_number() if isa is None else isa
    check(lib.nq_pool(number, struct, pointer(q), pointer(out)), what)
    return out


def max_pool(q: Integers, windows: Windows, out: Integers | None = None, isa: int | None = None) -> Integers:
    """`pooling.max_pool`."""
    lowest = -128 if q.dtype.kind == "i" else 0
    return _pool("max_pool", _pooling(windows, q.shape, q.dtype, False, lowest, True, 0), q, out, isa)


def mean_pool(
    q: Integers, zero_point: int, windows: Windows, include_padding: bool = True, divisor: int | None = None,
    out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pooling.mean_pool`."""
    pooling = _pooling(windows, q.shape, q.dtype, True, zero_point, include_padding, divisor or 0)
    return _pool("mean_pool", pooling, q, out, isa)


def swap_axes(q: Integers, out: Integers | None = None) -> Integers:
    """q.swapaxes(-1, -2), copied: (batch, channels, pixels) to channels last, or back. q: C-contiguous bytes."""
    *batch, rows, columns = q.shape
    if q.itemsize != 1:
        raise TypeError(f"swap_axes moves 8-bit integers; got {q.dtype}")
    out = _output("swap_axes", (*batch, columns, rows), q.dtype, out)
    check(lib.nq_transpose(math.prod(batch), rows, columns, pointer(q), pointer(out)), "swap_axes")
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
