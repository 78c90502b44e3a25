"""What happens between two products, by the C library; `pointwise` and `pooling` say what each function computes.

Arrays are 8-bit integers in memory order, so that an image has its channels last. They are C-contiguous, or lie so but
for their last axis, which may be a part of a longer one: y[..., 16:32] is where a concatenation writes its second part.
`out` is such an array, and may be an input itself.

Before: `pointwise`, `pooling`, `native`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Integers, Limits
from .native import DTYPES, check, ffi, isa_number, lib, pointer
from .pooling import Adaptive, Windows
from .tables import exponentials


def _c_grid(grid: Grid) -> dict[str, Any]:
    return {"scale": grid.scale, "zero_point": grid.zero_point, "dtype": DTYPES[grid.dtype]}


@functools.lru_cache(maxsize=256)
def _operation(op: int, a: Grid | None, b: Grid | None, y: Grid, limits: Limits | None) -> Any:
    grids = {name: _c_grid(grid) for name, grid in (("a", a), ("b", b), ("y", y)) if grid is not None}
    low, high = y.limits if limits is None else limits
    return ffi.new("nq_pointwise *", {"op": op, "quant_min": low, "quant_max": high, **grids})


def _strided(array: Integers) -> tuple[Any, int]:
    """(pointer, bytes from row to row) of an array whose rows are its last axis."""
    shape, strides = array.shape, array.strides
    if array.flags.c_contiguous:
        return ffi.from_buffer(array), shape[-1]
    nested = all(strides[i] == strides[i + 1] * shape[i + 1] for i in range(array.ndim - 2))
    if strides[-1] != 1 or not nested or (array.ndim > 1 and strides[-2] < shape[-1]):
        raise ValueError(f"rows must be contiguous and evenly spaced; got shape {shape} with strides {strides}")
    return ffi.cast("char *", array.ctypes.data), strides[-2]


def _run(
    what: str, operation: Any, a: Integers, b: Integers | None, y_dtype: np.dtype[Any], out: Integers | None,
    isa: int | None,
) -> Integers:  # fmt: skip
    if out is None:
        out = np.empty(a.shape, y_dtype)
    if out.shape != a.shape or out.dtype != y_dtype or (b is not None and (b.shape != a.shape or b.dtype != a.dtype)):
        second = "" if b is None else f", b: {b.dtype} {b.shape}"
        raise ValueError(
            f"{what}: arrays must have one shape, inputs one dtype, and `out` be {y_dtype}; got a: {a.dtype} {a.shape}"
            f"{second}, out: {out.dtype} {out.shape}"
        )
    number = isa_number() if isa is None else isa
    compact = a.flags.c_contiguous and out.flags.c_contiguous and (b is None or b.flags.c_contiguous)
    if compact and operation.op != lib.NQ_SCALE_SHIFT:
        size = a.size
        z = ffi.NULL if b is None else ffi.from_buffer(b)
        x, y = ffi.from_buffer(a), ffi.from_buffer(out)
        status = lib.nq_point_rows(number, operation, 1, size, x, size, z, size, y, size)
    else:
        x, x_stride = _strided(a)
        z, z_stride = (ffi.NULL, 0) if b is None else _strided(b)
        y, y_stride = _strided(out)
        rows, columns = a.size // max(a.shape[-1], 1), a.shape[-1]
        status = lib.nq_point_rows(number, operation, rows, columns, x, x_stride, z, z_stride, y, y_stride)
    if status:
        check(status, what)
    return out


def _take(what: str, q: Integers, grid: Grid) -> None:
    if q.dtype != grid.dtype:
        raise TypeError(f"{what}: the grid is one of {grid.dtype}; got {q.dtype}")


def requantize(
    q: Integers, x: Grid, y: Grid, limits: Limits | None = None, out: Integers | None = None, isa: int | None = None
) -> Integers:
    """`pointwise.requantize`; equal grids make it a copy."""
    _take("requantize", q, x)
    return _run("requantize", _operation(lib.NQ_REQUANTIZE, x, None, y, limits), q, None, y.dtype, out, isa)


def add(
    a: Integers, a_grid: Grid, b: Integers, b_grid: Grid, y: Grid, limits: Limits | None = None,
    out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.add`; with `limits=y.relu`, add_relu."""
    _take("add", a, a_grid)
    return _run("add", _operation(lib.NQ_ADD, a_grid, b_grid, y, limits), a, b, y.dtype, out, isa)


def mul(
    a: Integers, a_grid: Grid, b: Integers, b_grid: Grid, y: Grid, limits: Limits | None = None,
    out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.mul`."""
    _take("mul", a, a_grid)
    return _run("mul", _operation(lib.NQ_MUL, a_grid, b_grid, y, limits), a, b, y.dtype, out, isa)


def scale_shift(
    q: Integers, x: Grid, factor: NDArray[np.float32], shift: NDArray[np.float32], y: Grid,
    limits: Limits | None = None, out: Integers | None = None, isa: int | None = None,
) -> Integers:  # fmt: skip
    """`pointwise.scale_shift`. factor, shift: float32, C-contiguous, one for each index of the last axis."""
    _take("scale_shift", q, x)
    for name, values in (("factor", factor), ("shift", shift)):
        if values.shape != q.shape[-1:] or values.dtype != np.float32:
            raise ValueError(f"{name} must be float32 of shape {q.shape[-1:]}; got {values.dtype} of {values.shape}")
    operation = ffi.new("nq_pointwise *", _operation(lib.NQ_SCALE_SHIFT, x, None, y, limits)[0])
    operation.mul, operation.shift = pointer("float[]", factor), pointer("float[]", shift)
    return _run("scale_shift", operation, q, None, y.dtype, out, isa)


def clamp(q: Integers, limits: Limits, out: Integers | None = None, isa: int | None = None) -> Integers:
    """min(max(q, low), high): relu with low = zero_point, relu6 and hardtanh with quantized bounds."""
    grid = Grid(1.0, limits[0], q.dtype)
    return _run("clamp", _operation(lib.NQ_CLAMP, None, None, grid, limits), q, None, q.dtype, out, isa)


def lookup(q: Integers, table: Integers, out: Integers | None = None, isa: int | None = None) -> Integers:
    """table[q as a byte]: any function of one 8-bit integer, with the 256 entries that `tables` computes.

    Entry i belongs to the integer whose byte is i: 128 .. 255 are -128 .. -1 of int8.
    """
    if table.shape != (256,) or table.itemsize != 1:
        raise ValueError(f"a table has 256 bytes; got {table.dtype} of shape {table.shape}")
    operation = ffi.new("nq_pointwise *")
    operation.op, operation.table = lib.NQ_LOOKUP, pointer("uint8_t[]", table)
    return _run("lookup", operation, q, None, table.dtype, out, isa)


# ---- rows ------------------------------------------------------------------------------------------------------------


def _output(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], out: Integers | None) -> Integers:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(f"{what}: `out` must be contiguous {dtype} of shape {shape}; got {out.dtype} {out.shape}")
    return out


def softmax(q: Integers, x: Grid, y: Grid, out: Integers | None = None, isa: int | None = None) -> Integers:
    """`pointwise.softmax`, over the last axis of a C-contiguous array."""
    _take("softmax", q, x)
    out = _output("softmax", q.shape, y.dtype, out)
    columns = q.shape[-1]
    grids = ffi.new("nq_grid[2]", [_c_grid(x), _c_grid(y)])
    status = lib.nq_softmax(
        isa_number() if isa is None else isa, q.size // max(columns, 1), columns, grids, pointer("char[]", q),
        pointer("int32_t[]", exponentials(x.scale)), grids + 1, pointer("char[]", out),
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
    grids = ffi.new("nq_grid[2]", [_c_grid(x), _c_grid(y)])
    status = lib.nq_layer_norm(
        isa_number() if isa is None else isa, q.size // max(columns, 1), columns, grids, pointer("char[]", q),
        pointer("float[]", weight), pointer("float[]", bias), eps, grids + 1, pointer("char[]", out),
    )  # fmt: skip
    check(status, "layer_norm")
    return out


# ---- pooling ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _pooling(
    windows: Windows, shape: tuple[int, ...], dtype: np.dtype[Any], average: bool, zero_point: int, padding: bool,
    divisor: int,
) -> Any:  # fmt: skip
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
    return pooling


def _pool(what: str, pooling: Any, q: Integers, out: Integers | None, isa: int | None) -> Integers:
    shape = (pooling.batch, pooling.out[0], pooling.out[1], pooling.channels)
    out = _output(what, shape, q.dtype, out)
    number = isa_number() if isa is None else isa
    check(lib.nq_pool(number, pooling, pointer("char[]", q), pointer("char[]", out)), what)
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


# ---- dynamic ranges --------------------------------------------------------------------------------------------------


def value_range(x: NDArray[np.float32], isa: int | None = None) -> tuple[float, float]:
    """(min, max) of a C-contiguous array that is not empty. Raises ValueError on NaN and infinity."""
    low, high = ffi.new("float *"), ffi.new("float *")
    status = lib.nq_range(isa_number() if isa is None else isa, pointer("float[]", x), x.size, low, high)
    if status == lib.NQ_NOT_FINITE:
        raise ValueError(f"the input of shape {x.shape} holds NaN or infinity: no scale can represent its range")
    check(status, "value_range")
    return low[0], high[0]


def choose_dynamic_qparams(min_val: float, max_val: float, quant_min: int, quant_max: int) -> tuple[float, int]:
    """`qparams.choose_dynamic_qparams`, for 8-bit integers."""
    scale, zero_point = ffi.new("double *"), ffi.new("int32_t *")
    check(lib.nq_choose_qparams(min_val, max_val, quant_min, quant_max, scale, zero_point), "choose_dynamic_qparams")
    return scale[0], zero_point[0]
