"""A layer's weights, packed once for the CPU at hand, and the call that runs the layer.

    PackedWeights(int8 weights, scales, bias, geometry, profile)
         | pack, once per instruction set          csrc/pack.c
         | bind, once per set of input and output scales          csrc/bind.c
         | prepare, once per shape of x: checks, sizes
         v
    conv2d(x), linear(x)                           csrc/conv.c, csrc/gemm.c

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
from .native import (
    DTYPES,
    aligned,
    bytes_of,
    check,
    ffi,
    isa_number,
    lib,
    pointer,
    requested_isa,
    workspace,
)

Pair = tuple[int, int]


class Input(NamedTuple):
    """Real meaning of a layer's input integers: scale * (q - zero_point)."""

    scale: float
    zero_point: int
    dtype: np.dtype[Any] = np.dtype(np.uint8)


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
    """One epilogue and the memory its pointers point to."""

    epilogue: Any
    tables: tuple[NDArray[Any], ...]


@dataclass
class _Packed:
    """One instruction set's form of the weights."""

    struct: Any
    arrays: tuple[NDArray[Any], ...]
    bound: dict[tuple[Input, Output], _Bound] = field(default_factory=dict)


class _Call(NamedTuple):
    """What a call needs besides its arrays: valid for one instruction set, shape of x, `given` and `wanted`."""

    struct: Any
    epilogue: Any
    size: tuple[int, ...]
    workspace: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    memory: tuple[_Packed, _Bound]


class PackedWeights:
    """Int8 weights with everything a layer needs but its input and output scales.

    weights: int8 (out_channels, in_channels / groups, kernel_height, kernel_width); a linear layer's kernel is 1 x 1.
    scale: float32 of shape () per tensor or (out_channels,) per channel. zero_point: int of the same shape. bias:
    float32 (out_channels,) or None. Raises ValueError when shapes do not fit, and at the first call with scales for
    which the arithmetic would not be exact (`numerics.bind`).

    >>> w = PackedWeights(np.ones((2, 3, 1, 1), np.int8), np.float32(0.5), np.int64(0))
    >>> w.linear(np.array([[1, 2, 3]], np.uint8), Input(1.0, 0), Output())
    array([[3., 3.]], dtype=float32)
    """

    BOUND_KEPT = 16  # sets of scales whose tables are kept; a layer rarely sees more than one
    CALLS_KEPT = 64  # prepared calls; one for each shape of x

    def __init__(
        self,
        weights: NDArray[np.int8],
        scale: NDArray[np.float32],
        zero_point: NDArray[np.int64],
        bias: NDArray[np.float32] | None = None,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        profile: Profile = Profile.fbgemm,
    ) -> None:
        out_channels = weights.shape[0]
        if weights.ndim != 4 or weights.dtype != np.int8:
            raise ValueError(f"weights must be int8 with 4 dimensions; got {weights.dtype} of shape {weights.shape}")
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
        self.scale, self.zero_point = scale.astype(np.float32), zero_point.astype(np.int64)
        self.bias = None if bias is None else np.asarray(bias, dtype=np.float32, order="C")
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.profile = profile
        self._packed: dict[int, _Packed] = {}
        self._calls: dict[Any, _Call] = {}

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
            self.stride, self.padding, self.dilation, self.groups, self.profile,
        )  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedWeights:
        """The plain weights are never changed and may be shared."""
        del memo
        made, arguments = self.__reduce__()
        return made(*arguments)  # type: ignore[no-any-return]

    def out_shape(self, batch: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(batch, out_height, out_width, out_channels) for an input of this size."""
        kernel = self.weights.shape[2:]
        sizes = []
        for size, pad, span, step, k in zip(
            (height, width), self.padding, self.dilation, self.stride, kernel, strict=True
        ):
            reach = span * (k - 1) + 1
            if size + 2 * pad < reach:
                raise ValueError(
                    f"the input is too small: {height} x {width} with padding {self.padding} "
                    f"holds no kernel of {kernel[0]} x {kernel[1]} with dilation {self.dilation}"
                )
            sizes.append((size + 2 * pad - reach) // step + 1)
        return batch, sizes[0], sizes[1], self.out_channels

    def conv2d(
        self, x: NDArray[Any], given: Input, wanted: Output, out: NDArray[Any] | None = None, isa: str | None = None
    ) -> NDArray[Any]:
        """Runs the layer on x: (batch, height, width, in_channels), uint8 or int8, C-contiguous.

        Returns (batch, out_height, out_width, out_channels): `out` if given, else a new array.
        """
        return self._run("conv2d", x, given, wanted, out, isa)

    def linear(
        self, x: NDArray[Any], given: Input, wanted: Output, out: NDArray[Any] | None = None, isa: str | None = None
    ) -> NDArray[Any]:
        """Runs a linear layer on x: (..., in_features), uint8 or int8, C-contiguous. Returns (..., out_features)."""
        return self._run("linear", x, given, wanted, out, isa)

    def _run(
        self,
        kind: str,
        x: NDArray[Any],
        given: Input,
        wanted: Output,
        out: NDArray[Any] | None,
        isa: str | None,
    ) -> NDArray[Any]:
        key = (kind, x.shape, given, wanted, isa or requested_isa())
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= self.CALLS_KEPT:
                self._calls.clear()
            call = self._calls[key] = self._prepare(kind, x.shape, given, wanted, isa)
        if out is None:
            out = np.empty(call.shape, call.dtype)
        elif out.shape != call.shape or out.dtype != call.dtype or not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(
                f"out must be a C-contiguous {call.dtype} array of shape {call.shape}; got {out.dtype} of {out.shape}"
            )
        if x.dtype != given.dtype or not x.flags.c_contiguous:
            raise ValueError(f"x must be a C-contiguous {given.dtype} array; got {x.dtype} with strides {x.strides}")
        scratch = workspace(call.workspace)
        status = lib.nq_conv(
            call.struct, call.epilogue, bytes_of(x), *call.size, bytes_of(out), scratch, len(scratch)
        )  # fmt: skip
        if status:
            check(status, kind)
        return out

    def _prepare(self, kind: str, x_shape: tuple[int, ...], given: Input, wanted: Output, isa: str | None) -> _Call:
        """Everything about a call that its arrays' contents do not change; raises ValueError where x does not fit."""
        size, shape = (self._linear_sizes if kind == "linear" else self._conv2d_sizes)(x_shape)
        dtype = np.dtype(np.int32 if wanted.accumulators else np.float32 if wanted.scale is None else wanted.dtype)
        packed = self._pack(isa_number(isa))
        bound = self._bind(packed, given, wanted)
        needed = lib.nq_conv_workspace(packed.struct, bound.epilogue, *size)
        if needed < 0:
            raise ValueError(f"an input of shape {x_shape} is larger than the address space")
        return _Call(packed.struct, bound.epilogue, size, needed, shape, dtype, (packed, bound))

    def _conv2d_sizes(self, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        batch, height, width, channels = x_shape
        if channels != self.in_channels:
            raise ValueError(f"the layer has {self.in_channels} input channels; got an input with {channels}")
        return (batch, height, width), self.out_shape(batch, height, width)

    def _linear_sizes(self, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The rows of x are the pixels of one line."""
        if x_shape[-1] != self.in_channels:
            raise ValueError(f"the layer has {self.in_channels} input features; got an input with {x_shape[-1]}")
        if self.weights.shape[2:] != (1, 1) or self.stride != (1, 1) or self.padding != (0, 0):
            raise ValueError(f"these are weights of shape {self.weights.shape}, of a convolution: call conv2d")
        return (1, 1, math.prod(x_shape[:-1])), (*x_shape[:-1], self.out_channels)

    def _pack(self, isa: int) -> _Packed:
        """This instruction set's form of the weights; made at the first call."""
        if isa in self._packed:
            return self._packed[isa]
        struct = ffi.new("nq_packed *")
        shape = struct.shape
        shape.in_channels, shape.out_channels, shape.groups = self.in_channels, self.out_channels, self.groups
        shape.kernel, shape.stride = list(self.weights.shape[2:]), list(self.stride)
        shape.padding, shape.dilation = list(self.padding), list(self.dilation)
        struct.isa, struct.asymmetric = isa, bool(self.zero_point.any())
        check(lib.nq_pack_sizes(struct), f"packing weights of shape {self.weights.shape}")
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
        check(lib.nq_pack(struct, pointer("int8_t[]", self.weights), zero_points), "packing weights")
        self._packed[isa] = packed = _Packed(struct, arrays)
        return packed

    def _bind(self, packed: _Packed, given: Input, wanted: Output) -> _Bound:
        """The epilogue for these scales, kept for the next call."""
        key = (given, wanted)
        if key in packed.bound:
            return packed.bound[key]
        binding, epilogue = ffi.new("nq_binding *"), ffi.new("nq_epilogue *")
        binding.profile = self.profile.value
        binding.x_dtype, binding.x_scale, binding.x_zero_point = DTYPES[given.dtype], given.scale, given.zero_point
        binding.relu = wanted.relu
        if wanted.accumulators:
            binding.y_dtype = lib.NQ_S32
        elif wanted.scale is None:
            binding.y_dtype = lib.NQ_F32
        else:
            limits = np.iinfo(wanted.dtype)
            binding.y_dtype, binding.y_scale, binding.y_zero_point = (
                DTYPES[wanted.dtype],
                wanted.scale,
                wanted.zero_point,
            )
            binding.y_min = limits.min if wanted.quant_min is None else wanted.quant_min
            binding.y_max = limits.max if wanted.quant_max is None else wanted.quant_max
        scale = self.scale.reshape(-1)
        binding.per_channel, binding.w_scale = self.scale.ndim, pointer("float[]", scale)
        if self.bias is not None and not wanted.accumulators:
            binding.bias = pointer("float[]", self.bias)
        floats, ints = (np.empty((k, packed.struct.table_length), t) for k, t in ((2, np.float32), (3, np.int32)))
        epilogue.badd, epilogue.mul = (pointer("float[]", table) for table in floats)
        epilogue.init, epilogue.multiplier, epilogue.shift = (pointer("int32_t[]", table) for table in ints)
        status = lib.nq_bind(packed.struct, binding, epilogue, ffi.new("int32_t *"))
        if status != lib.NQ_OK:
            self._explain(packed, given, wanted)
            check(status, "binding scales")
        if len(packed.bound) >= self.BOUND_KEPT:
            packed.bound.clear()
        packed.bound[key] = bound = _Bound(epilogue, (*ints, *floats))
        return bound

    def _explain(self, packed: _Packed, given: Input, wanted: Output) -> None:
        """Raises the error that the specification gives for scales the library refused."""
        magnitude = packed.arrays[2]
        numerics.bind(self.profile, given.scale, self.scale, self.bias, magnitude, wanted.scale)
