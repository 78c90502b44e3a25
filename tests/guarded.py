"""Runs kernels on memory that ends at a page nobody may touch: one byte read or written too far is a segmentation
fault.

    python guarded.py ISA            prints "ok" and the number of calls; test_guard_pages.py runs it

Every array a kernel sees (input, packed weights, tables, workspace, output) is placed so that its last byte, then its
first, touches a forbidden page. Sizes are ragged: one more and one less than every multiple that a kernel cares
about.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import math
import mmap
import sys
from typing import Any

import numpy as np

from nanoquant.kernels import dynamic, elementwise, native
from nanoquant.kernels.elementwise import operation, pooling
from nanoquant.kernels.grid import Grid
from nanoquant.kernels.packed import Input, Output, PackedWeights
from nanoquant.kernels.pooling import Sliding
from nanoquant.numerics import Profile

faulthandler.enable()
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22


class Guarded:
    """An array between two forbidden pages, touching the upper (`at_end`) or the lower one."""

    def __init__(self, array: np.ndarray, at_end: bool, alignment: int = 1) -> None:
        pages = -(-array.nbytes // PAGE)
        self.size = (pages + 2) * PAGE
        self.base = libc.mmap(None, self.size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
        for guard in (self.base, self.base + (pages + 1) * PAGE):
            assert libc.mprotect(guard, PAGE, 0) == 0
        start = self.base + PAGE + (pages * PAGE - array.nbytes if at_end else 0)
        start -= start % alignment
        memory = (ctypes.c_uint8 * array.nbytes).from_address(start)
        self.array = np.frombuffer(memory, dtype=array.dtype).reshape(array.shape)
        self.array[...] = array

    def close(self) -> None:
        libc.munmap(self.base, self.size)


def guarded_conv(packed: PackedWeights, x: np.ndarray, wanted: Output, isa: int, at_end: bool) -> np.ndarray:
    """`PackedWeights.conv` with everything in guarded memory."""
    lib, ffi = native.lib, native.ffi
    inner = packed.pack(isa)
    bound = packed._bind(inner, Input(0.1, 3), wanted)
    keep = []

    def guard(array: np.ndarray, ctype: str, alignment: int = 1) -> Any:
        place = Guarded(array, at_end, alignment)
        keep.append(place)
        return ffi.cast(ctype, place.array.ctypes.data) if array.nbytes else ffi.NULL

    struct, epilogue = ffi.new("nq_packed[]", list(inner.struct)), ffi.new("nq_epilogue[]", list(bound.epilogue))
    for s, e, arrays, tables in zip(struct, epilogue, inner.arrays, bound.tables, strict=True):
        s.weights = guard(arrays[0], "void *", alignment=64)
        if len(arrays) > 3:
            s.zero_point = guard(arrays[3], "int32_t *")
        names = ("init", "multiplier", "shift", "badd", "mul")
        for name, table in zip(names, [*tables[0], *tables[1]], strict=True):
            setattr(e, name, guard(table, "int32_t *" if table.dtype == np.int32 else "float *"))
    size = (*(1,) * (5 - x.ndim), *x.shape[1:-1])
    layer = ffi.new("nq_layer *", (struct, epilogue, x.shape[0], size))
    needed = lib.nq_conv_workspace(layer)
    workspace = guard(np.empty(needed, np.uint8), "void *", alignment=64)
    dtype = np.int32 if wanted.accumulators else np.float32 if wanted.scale is None else wanted.dtype
    out = Guarded(np.zeros(packed.out_shape(x.shape), dtype), at_end)
    status = lib.nq_conv(layer, guard(x, "void *"), ffi.cast("void *", out.array.ctypes.data), workspace, needed)
    assert status == lib.NQ_OK, status
    result = out.array.copy()
    for place in (*keep, out):
        place.close()
    return result


def run_convolutions(isa: int, at_end: bool) -> int:
    """Ragged layers: the output must equal that of the same call on ordinary memory."""
    g = np.random.default_rng(0)
    calls = 0
    for _ in range(250):
        groups = int(g.choice([1, 1, 1, 2, 4, 16]))
        inputs, outputs = int(g.choice([1, 2, 3, 4, 5, 17, 63])), int(g.choice([1, 3, 15, 16, 17, 33, 65]))
        axes, transposed = int(g.choice([1, 2, 2, 3])), bool(g.choice([False, False, True]))
        kernel = tuple(int(k) for k in g.choice([1, 1, 2, 3], axes))
        if g.integers(3) == 0:
            groups, inputs, outputs, transposed = int(g.choice([8, 17, 31, 32, 33, 63, 64, 65, 97, 130])), 1, 1, False
            kernel = (int(g.choice([3, 5])),) * axes
        elif g.integers(3) == 0:
            groups, inputs, outputs = (int(g.choice(n)) for n in ([2, 4, 8, 12], [2, 3, 4, 8, 12, 16], [2, 4, 8, 16]))
        padding, stride = tuple(int(p) for p in g.integers(0, 2, axes)), tuple(int(s) for s in g.integers(1, 4, axes))
        dilation = tuple(int(d) for d in g.integers(1, 3, axes))
        w = g.integers(-128, 128, (groups * outputs, inputs, *kernel)).astype(np.int8)
        zero_point = np.int64(g.choice([0, 5]))
        profile = Profile(int(g.integers(len(Profile))))
        packed = PackedWeights(
            w, np.float32(0.01), zero_point, None, stride, padding, dilation, groups, profile, transposed, int(transposed)
        )
        least = [max(5, d * (k - 1) + 1) for d, k in zip(dilation, kernel, strict=True)]
        if g.integers(4) == 0:
            least[-1] += 25  # a line of many rows of the product
        size = (int(g.integers(1, 3)), *(int(g.integers(n, n + 4)) for n in least), groups * inputs)
        x = g.integers(0, 256, size).astype(np.uint8)
        for wanted in (Output(1.0, 128), Output(), Output(accumulators=True)):
            plain = packed.conv(x, Input(0.1, 3), wanted, isa=native.isa_names()[isa])
            assert np.array_equal(guarded_conv(packed, x, wanted, isa, at_end), plain)
            calls += 1
    return calls


def run_elementwise(isa: int, at_end: bool) -> int:
    """quantize and dequantize at every length up to 200."""
    scale, zero_point = np.float32([0.1]), np.int32([3])
    lib, ffi = native.lib, native.ffi
    for count in range(1, 200):
        x = Guarded(np.linspace(-5, 5, count, dtype=np.float32), at_end)
        q = Guarded(np.zeros(count, np.uint8), at_end)
        affine = native.affine(q.array.dtype, (count,), None, scale, zero_point, 0, 255).struct
        addresses = ffi.cast("float *", x.array.ctypes.data), ffi.cast("void *", q.array.ctypes.data)
        assert lib.nq_quantize(isa, affine, *addresses) == lib.NQ_OK
        assert lib.nq_dequantize(isa, affine, addresses[1], addresses[0]) == lib.NQ_OK
        assert math.isfinite(x.array.sum())
        x.close()
        q.close()
    return 2 * 199


def run_pointwise(isa: int, at_end: bool) -> int:
    """Everything between two products, at every length up to 135: results as on ordinary memory."""
    grid, other, g, calls = Grid(0.1, 7), Grid(0.15, 90), np.random.default_rng(0), 0
    windows = Sliding((2, 2), (1, 2), (1, 1))

    def prepare(what: str, a: np.ndarray, *grids: Any) -> elementwise.Call:
        return operation(what, a.shape, *grids, isa=isa)

    for count in range(1, 135):
        pools = [pooling(grid, (1, 2, 2, count), windows, average, isa=isa) for average in (False, True)]
        a, b, table = (g.integers(0, 256, size).astype(np.uint8) for size in ((1, 2, 2, count), (1, 2, 2, count), 256))
        factor, shift = np.abs(g.standard_normal((2, count))).astype(np.float32)
        places = [Guarded(array, at_end) for array in (a, b, table, factor, shift)]
        p, q, t, f, h = (place.array for place in places)
        for run, shape in (
            (lambda a, b, t, f, h, out: prepare("requantize", a, grid, None, other).run(a, None, out), a.shape),
            (lambda a, b, t, f, h, out: prepare("add", a, grid, other, grid).run(a, b, out), a.shape),
            (lambda a, b, t, f, h, out: prepare("mul", a, grid, other, grid).run(a, b, out), a.shape),
            (
                lambda a, b, t, f, h, out: elementwise.batch_norm(
                    prepare("scale_shift", a, grid, None, other), a, h, f, f, h, 1e-5, out
                ),
                a.shape,
            ),
            (lambda a, b, t, f, h, out: elementwise.clamping(a.shape, a.dtype, (5, 200), isa).run(a, None, out), a.shape),
            (lambda a, b, t, f, h, out: elementwise.looking_up(a.shape, a.dtype, t, isa).run(a, None, out), a.shape),
            (lambda a, b, t, f, h, out: elementwise.softmax(a, grid, other, out, isa), a.shape),
            (lambda a, b, t, f, h, out: elementwise.layer_norm(a, grid, f, h, 1e-5, other, out, isa), a.shape),
            *((lambda a, b, t, f, h, out, p=p: p.run(a, out), (1, 3, 2, count)) for p in pools),
            (lambda a, b, t, f, h, out: elementwise.swap_axes(a, out), (1, 2, count, 2)),
        ):
            out = Guarded(np.zeros(shape, np.uint8), at_end)
            assert np.array_equal(run(p, q, t, f, h, out.array), run(a, b, table, factor, shift, None))
            out.close()
            calls += 1
        assert elementwise.value_range(f, isa) == (factor.min(), factor.max())
        for place in places:
            place.close()
    return calls


def run_dynamic(isa: int, at_end: bool) -> int:
    """Layers on floats, the tables of their epilogues in the workspace."""
    lib, ffi, g, calls = native.lib, native.ffi, np.random.default_rng(0), 0
    name = native.isa_names()[isa]
    cases: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
        ((rows, inputs), (outputs, inputs, 1, 1), {})
        for rows, inputs, outputs in ((1, 1, 1), (1, 64, 17), (5, 67, 33), (13, 3, 65))
    ]
    cases += [((2, 3, 5, 7), (17, 3, 3, 3), {"padding": 1}), ((3, 6, 4, 4), (6, 1, 3, 3), {"groups": 6})]
    cases += [((2, 3, 5), (4, 3, 2), {"transposed": True, "stride": 2})]
    for (shape, kernel, options), per_row in itertools.product(cases, (False, True)):
        w = g.integers(-128, 128, kernel).astype(np.int8)
        packed = PackedWeights(w, np.float32(0.01), np.int64(g.choice([0, 5])), **options)
        real = g.standard_normal(shape).astype(np.float32)
        kind: dynamic.Kind = "linear" if len(shape) == 2 else "conv"
        expected = dynamic.run(packed, kind, real, 255, False, per_row, name)
        x, y = Guarded(real, at_end), Guarded(np.zeros(expected.shape, np.float32), at_end)
        last = shape if kind == "linear" else (shape[0], *shape[2:], shape[1])
        call = dynamic.prepared(packed, kind, last, 255, False, per_row, kind == "conv", name)
        needed = call.workspace
        place = Guarded(np.zeros(needed, np.uint8), at_end, alignment=64)
        pointers = (ffi.cast(t, a.array.ctypes.data) for t, a in (("float *", x), ("float *", y), ("void *", place)))
        arguments = (call.struct, *pointers)
        assert lib.nq_run_dynamic(*arguments, needed - 1) == lib.NQ_WORKSPACE
        assert lib.nq_run_dynamic(*arguments, needed) == lib.NQ_OK
        result = y.array if kind == "linear" else np.moveaxis(y.array.reshape(np.moveaxis(expected, 1, -1).shape), -1, 1)
        assert np.array_equal(result, expected)
        for guarded in (x, y, place):
            guarded.close()
        calls += 1
    return calls


if __name__ == "__main__":
    number = native.isa_number(sys.argv[1])
    families = (run_convolutions, run_elementwise, run_pointwise, run_dynamic)
    total = sum(run(number, at_end) for run in families for at_end in (True, False))
    print("ok", total)
