"""A layer's weights, packed once for the CPU at hand, and the call that runs the layer.

    PackedWeights(int8 weights, scales, bias, geometry, profile)
         | pack, once per instruction set          csrc/pack.c
         | bind, once per set of input and output scales          csrc/bind.c
         | prepare, once per shape of x: checks, sizes
         v
    conv(x), linear(x)                             csrc/conv.c, csrc/gemm.c

A call that was prepared before costs about a microsecond of Python: one look-up, two pointers, one call.

The plain int8 weights stay: they are what a file stores and what `weight()` of a layer shows. Packed forms are made
from them when they are first needed, and never shared between layers.

Before: `native`. After: `nanoquant.qtensor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import numerics
from ..numerics import Profile
from .grid import Grid
from .native import DTYPES, NULL, aligned, check, empty, ffi, isa_number, lib, pointer, record, requested_isa, workspace

_conv = lib.nq_conv  # looked up once
Sizes = tuple[int, ...]
AXES = {3: "length", 4: "height x width", 5: "depth x height x width"}
Input = Grid  # what a layer's input means


class Output(NamedTuple):
    """What a layer should put out: 8-bit integers of this scale and zero point, or float32 when `scale` is None.

    quant_min, quant_max: the integers' range, the dtype's if None. `accumulators` asks for the bare int32 sums instead,
    without bias.
    """

    scale: float | None = None
    zero_point: int = 0
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    relu: bool = False
    quant_min: int | None = None
    quant_max: int | None = None
    accumulators: bool = False


@dataclass
class _Bound:
    """One epilogue for each phase and the memory its pointers point to."""

    epilogue: Any
    tables: list[tuple[NDArray[np.int32], NDArray[np.float32]]]  # (init, multiplier, shift), (badd, mul)


@dataclass
class _Packed:
    """One instruction set's form of the weights, for each phase of the convolution (one, unless it is transposed)."""

    struct: Any
    arrays: list[tuple[NDArray[Any], ...]]
    bound: dict[tuple[Grid, Output], _Bound] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """All that a layer needs besides its arrays, for one instruction set, shape of x, `given` and `wanted`.

    shape, dtype: of the output.
    """

    layer: Any
    workspace: int
    shape: Sizes
    dtype: np.dtype[Any]
    memory: tuple[_Packed, _Bound]

    def on(self, x: Any, y: Any) -> None:
        """Runs the layer. x, y: C pointers to memory of the shapes and dtypes that the call is for."""
        scratch = workspace(self.workspace) if self.workspace else NULL
        if record.steps is not None:
            record.add(lib.NQ_STEP_CONV, self, self.layer, x, x, y, workspace=self.workspace)
        status = _conv(self.layer, x, y, scratch, self.workspace)
        if status:
            check(status, f"an output of shape {self.shape}")


class PackedWeights:
    """Int8 weights with everything a layer needs but its input and output scales.

    weights: int8 (out_channels, in_channels / groups, *kernel), transposed or not; the kernel has one, two or three axes,
    and a linear layer's one pixel. scale: float32 of shape () per tensor or (out_channels,) per channel. zero_point: int
    of the same shape. bias: float32 (out_channels,) or None. stride, padding, dilation, output_padding: one number, or
    one for each axis. Raises ValueError when shapes do not fit, and at the first call with scales for which the
    arithmetic would not be exact (`numerics.bind`).

    >>> w = PackedWeights(np.ones((2, 3, 1, 1), np.int8), np.float32(0.5), np.int64(0))
    >>> w.linear(np.array([[1, 2, 3]], np.uint8), Grid(1.0, 0), Output())
    array([[3., 3.]], dtype=float32)
    """

    BOUND_KEPT = 16  # sets of scales whose tables are kept; a layer rarely sees more than one
    CALLS_KEPT = 64  # one for each shape of x

    def __init__(
        self, weights: NDArray[np.int8], scale: NDArray[np.float32], zero_point: NDArray[np.int64],
        bias: NDArray[np.float32] | None = None, stride: Sizes | int = 1, padding: Sizes | int = 0,
        dilation: Sizes | int = 1, groups: int = 1, profile: Profile = Profile.fbgemm, transposed: bool = False,
        output_padding: Sizes | int = 0,
    ) -> None:  # fmt: skip
        if weights.ndim not in AXES or weights.dtype != np.int8:
            raise ValueError(f"weights must be int8 with 3, 4 or 5 dimensions; got {weights.dtype} of shape {weights.shape}")
        out_channels = weights.shape[0]
        if scale.shape not in ((), (out_channels,)) or scale.shape != zero_point.shape:
            raise ValueError(
                f"scale and zero_point must both have shape () or ({out_channels},), one per output channel; "
                f"got {scale.shape} and {zero_point.shape}"
            )
        if bias is not None and bias.shape != (out_channels,):
            raise ValueError(f"bias must have shape ({out_channels},), one per output channel; got {bias.shape}")
        if groups < 1 or out_channels % groups:
            raise ValueError(f"groups must divide the {out_channels} output channels; got {groups}")
        self.weights = np.asarray(weights, order="C")
        self.scale = np.array(scale, np.float32, order="C")  # arrays, whose memory C may keep a pointer to
        self.zero_point = np.array(zero_point, np.int64)
        self.bias = None if bias is None else np.asarray(bias, dtype=np.float32, order="C")
        self.stride, self.padding = self._sizes("stride", stride, 1), self._sizes("padding", padding, 0)
        self.dilation, self.groups = self._sizes("dilation", dilation, 1), groups
        self.transposed, self.output_padding = transposed, self._sizes("output_padding", output_padding, 0)
        self.profile = profile
        self._packed: dict[int, _Packed] = {}
        self.calls: dict[Any, Any] = {}  # prepared, by what they are for

    def _sizes(self, name: str, value: Sizes | int, least: int) -> Sizes:
        """One number for each axis of the kernel."""
        axes = self.weights.ndim - 2
        sizes = (value,) * axes if isinstance(value, int) else tuple(value)
        if len(sizes) != axes or min(sizes) < least:
            raise ValueError(f"{name} must be one integer of at least {least}, or {axes}, one for each axis; got {value}")
        return sizes

    @cached_property
    def in_channels(self) -> int:
        """Channels of the input, over all groups."""
        return int(self.weights.shape[1]) * self.groups

    @cached_property
    def out_channels(self) -> int:
        """Channels of the output."""
        return int(self.weights.shape[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """C structures are not copied or pickled, but made again."""
        return PackedWeights, (
            self.weights, self.scale, self.zero_point, self.bias,
            self.stride, self.padding, self.dilation, self.groups, self.profile, self.transposed, self.output_padding,
        )  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedWeights:
        """The plain weights are never changed and may be shared."""
        del memo
        return PackedWeights(*self.__reduce__()[1])

    def out_shape(self, shape: Sizes) -> Sizes:
        """(batch, *out_size, out_channels) for an input of shape (batch, *size, in_channels).

        out_size = (size + 2 * padding - span) // stride + 1,    span = dilation * (kernel - 1) + 1
        out_size = (size - 1) * stride + span - 2 * padding + output_padding    if transposed
        """
        if len(shape) != self.weights.ndim or shape[-1] != self.in_channels:
            raise ValueError(
                f"the layer takes inputs of shape (batch, {AXES[self.weights.ndim]}, channels) and has {self.in_channels} "
                f"input channels; got an input with {shape[-1]}, of shape {shape}"
            )
        sizes = []
        geometry = (shape[1:-1], self.weights.shape[2:], self.stride, self.padding, self.dilation, self.output_padding)
        for size, kernel, stride, padding, dilation, extra in zip(*geometry, strict=True):
            span = dilation * (kernel - 1) + 1
            if self.transposed:
                sizes.append((size - 1) * stride + span - 2 * padding + extra if size else 0)
            else:
                sizes.append((size + 2 * padding - span) // stride + 1)
        if min(sizes) < 1:
            raise ValueError(
                f"the input is too small: {' x '.join(map(str, shape[1:-1]))} with padding {self.padding} gives no output "
                f"for a kernel of {' x '.join(map(str, self.weights.shape[2:]))} with dilation {self.dilation}"
            )
        return shape[0], *sizes, self.out_channels

    def conv(
        self, x: NDArray[Any], given: Grid, wanted: Output, out: NDArray[Any] | None = None, isa: str | None = None
    ) -> NDArray[Any]:
        """Runs the layer on x: (batch, *size, in_channels), uint8 or int8, C-contiguous; size has the kernel's axes.

        Returns (batch, *out_size, out_channels), as `out_shape` says: `out` if given, else a new array.
        """
        return self._run("conv", x, given, wanted, out, isa)

    def linear(
        self, x: NDArray[Any], given: Grid, wanted: Output, out: NDArray[Any] | None = None, isa: str | None = None
    ) -> NDArray[Any]:
        """Runs a linear layer on x: (..., in_features), uint8 or int8, C-contiguous. Returns (..., out_features)."""
        return self._run("linear", x, given, wanted, out, isa)

    def _run(
        self, kind: str, x: NDArray[Any], given: Grid, wanted: Output, out: NDArray[Any] | None, isa: str | None
    ) -> NDArray[Any]:
        key = (kind, x.shape, given, wanted, isa or requested_isa())
        call = self.calls.get(key) or self.prepare(key, kind, x.shape, given, wanted, isa)
        if out is not None and (out.shape != call.shape or out.dtype != call.dtype or not out.flags.carray):
            raise ValueError(
                f"out must be a C-contiguous {call.dtype} array of shape {call.shape}; got {out.dtype} of {out.shape}"
                f"{'' if out.flags.writeable else ', read-only'}"
            )
        if x.dtype != given.dtype or not x.flags.c_contiguous:
            raise ValueError(f"x must be a C-contiguous {given.dtype} array; got {x.dtype} with strides {x.strides}")
        y = empty(call.shape, call.dtype) if out is None else out
        call.on(pointer(x), pointer(y))
        return y

    def prepare(self, key: Any, kind: str, x_shape: Sizes, given: Grid, wanted: Output, isa: str | None = None) -> Call:
        """The call for inputs of this shape, kept in `calls` under `key`, which says all that the other arguments say.

        kind: "conv" or "linear". Raises ValueError where x or the scales do not fit.
        """
        images: Sizes
        shape: Sizes
        if kind == "linear":
            self.check_linear(x_shape)
            images, shape = (1, 1, 1, math.prod(x_shape[:-1])), (*x_shape[:-1], self.out_channels)  # pixels of a line
        else:
            images, shape = (x_shape[0], *(1,) * (5 - len(x_shape)), *x_shape[1:-1]), self.out_shape(x_shape)
        dtype = np.dtype(np.int32 if wanted.accumulators else np.float32 if wanted.scale is None else wanted.dtype)
        packed = self.pack(isa_number(isa))
        bound = self._bind(packed, given, wanted)
        layer = ffi.new("nq_layer *", (packed.struct, bound.epilogue, images[0], images[1:]))
        needed = lib.nq_conv_workspace(layer)
        if needed < 0:
            raise ValueError(f"an input of shape {x_shape} is larger than the address space")
        call = Call(layer, needed, shape, dtype, (packed, bound))
        self.keep(key, call)
        return call

    def keep(self, key: Any, call: Any) -> None:
        """Puts a prepared call into `calls`, which holds CALLS_KEPT at most."""
        if len(self.calls) >= self.CALLS_KEPT:
            self.calls.clear()
        self.calls[key] = call

    def check_linear(self, x_shape: Sizes) -> None:
        """Raises ValueError unless these are a linear layer's weights, for inputs of this shape."""
        if x_shape[-1] != self.in_channels:
            raise ValueError(f"the layer has {self.in_channels} input features; got an input with {x_shape[-1]}")
        if math.prod((*self.weights.shape[2:], *self.stride)) != 1 or any(self.padding):
            raise ValueError(f"these weights of shape {self.weights.shape} are a convolution's: call conv")

    def pack(self, isa: int) -> _Packed:
        """This instruction set's form of the weights; made at the first call."""
        if isa not in self._packed:
            phases = math.prod(self.stride) if self.transposed else 1
            struct = ffi.new("nq_packed[]", phases)
            self._packed[isa] = _Packed(struct, [self._pack_phase(struct[i], isa, i) for i in range(phases)])
        return self._packed[isa]

    def _pack_phase(self, struct: Any, isa: int, phase: int) -> tuple[NDArray[Any], ...]:
        """Fills the structure; returns the memory its pointers point to."""
        shape, absent = struct.shape, 5 - self.weights.ndim
        shape.in_channels, shape.out_channels, shape.groups = self.in_channels, self.out_channels, self.groups
        shape.kernel, shape.stride = [1] * absent + [*self.weights.shape[2:]], [1] * absent + [*self.stride]
        shape.padding, shape.dilation = [0] * absent + [*self.padding], [1] * absent + [*self.dilation]
        shape.transposed, shape.output_padding = self.transposed, [0] * absent + [*self.output_padding]
        struct.isa, struct.phase, struct.asymmetric = isa, phase, bool(self.zero_point.any())
        check(lib.nq_pack_sizes(ffi.addressof(struct)), f"packing weights of shape {self.weights.shape}")
        strips = aligned(struct.weight_bytes)
        col_offset, magnitude = np.empty(self.out_channels, np.int32), np.empty(self.out_channels, np.int64)
        arrays: tuple[NDArray[Any], ...] = (strips, col_offset, magnitude)
        struct.weights = pointer("char[]", strips)
        struct.col_offset = pointer("int32_t[]", col_offset)
        struct.magnitude = pointer("int64_t[]", magnitude)
        zero_points = ffi.NULL
        if struct.asymmetric:
            given = np.broadcast_to(self.zero_point, (self.out_channels,)).astype(np.int32)
            table = np.empty(struct.table_length, np.int32)
            struct.zero_point, zero_points = pointer("int32_t[]", table), pointer("int32_t[]", given)
            arrays += (table,)
        check(lib.nq_pack(ffi.addressof(struct), pointer("int8_t[]", self.weights), zero_points), "packing weights")
        return arrays

    def _bind(self, packed: _Packed, given: Grid, wanted: Output) -> _Bound:
        """The epilogue for these scales, kept for the next call."""
        key = (given, wanted)
        if key in packed.bound:
            return packed.bound[key]
        epilogue, tables = ffi.new("nq_epilogue[]", len(packed.arrays)), []
        binding, channel = self.binding(given, wanted), ffi.new("int32_t *")
        for phase, arrays in enumerate(packed.arrays):
            struct, e = packed.struct + phase, epilogue + phase
            length = struct.table_length
            ints, floats = np.empty((3, length), np.int32), np.empty((2, length), np.float32)
            first, second = pointer("int32_t[]", ints), pointer("float[]", floats)
            e.init, e.multiplier, e.shift = first, first + length, first + 2 * length
            e.badd, e.mul = second, second + length
            status = lib.nq_bind(struct, binding, e, channel)
            if status != lib.NQ_OK:
                # the specification explains what the library refused
                numerics.bind(self.profile, given.scale, self.scale, self.bias, arrays[2], wanted.scale)
                check(status, "binding scales")
            tables.append((ints, floats))
        if len(packed.bound) >= self.BOUND_KEPT:
            packed.bound.clear()
            self.calls.clear()  # which would keep the tables alive
        packed.bound[key] = bound = _Bound(epilogue, tables)
        return bound

    def binding(self, given: Grid, wanted: Output) -> Any:
        """What C needs to know besides the packed weights."""
        binding = ffi.new("nq_binding *")
        binding.x_dtype, binding.x_scale, binding.x_zero_point = DTYPES[given.dtype], given.scale, given.zero_point
        binding.profile, binding.relu = self.profile.value, wanted.relu
        if wanted.accumulators:
            binding.y_dtype = lib.NQ_S32
        elif wanted.scale is None:
            binding.y_dtype = lib.NQ_F32
        else:
            limits = np.iinfo(wanted.dtype)
            binding.y_dtype, binding.y_scale = DTYPES[wanted.dtype], wanted.scale
            binding.y_zero_point = wanted.zero_point
            binding.y_min = limits.min if wanted.quant_min is None else wanted.quant_min
            binding.y_max = limits.max if wanted.quant_max is None else wanted.quant_max
        binding.per_channel, binding.w_scale = self.scale.ndim, pointer("float[]", self.scale.reshape(-1))
        if self.bias is not None and not wanted.accumulators:
            binding.bias = pointer("float[]", self.bias)
        return binding
