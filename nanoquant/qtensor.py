"""QTensor: integers, and the scale and zero point that say what they mean.

    real = scale * (q - zero_point)

It carries no arithmetic: what an operation does to a scale is the business of the layer that does it. What changes no
scale works on the integers directly: shape, slices, relu, averages.

An image is logically (batch, channels, height, width), like every tensor here, and lies in memory with its channels
last, where the kernels want them: its array is a strided view, and `channels_last` gives the memory back without a
copy.

Before: `affine`, `kernels`. After: `nanoquant.nn`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .affine import dequantize_as, quantize_as
from .autograd.ops import Axis, Op
from .autograd.tensor import Tensor, apply
from .kernels import native
from .kernels.elementwise import Call, clamping
from .kernels.memory import CHANNELS_FIRST, CHANNELS_LAST, InMemory, Order
from .kernels.native import FLOAT, FLOATS, asarray, contiguous, empty, pointer, requested_isa
from .kernels.pooling import Adaptive
from .per_tensor import columns, operation, per_tensor, pooling
from .qparams import QParams
from .scheme import QDType, QScheme, per_channel_affine, per_channel_affine_float_qparams, per_group_affine, per_tensor_affine
from .shaped import Shaped, sizes


class QTensor(InMemory, Shaped):
    """An integer array with its qparams.

    values: integers of `qparams.dtype.storage`, not copied. origin: the tensor it was quantized from, if that wants a
    gradient. Raises TypeError for another dtype, ValueError when per-channel qparams do not fit the shape.

    >>> q = nq.quantize_per_tensor([-1.0, 0.0, 0.3], scale=0.1, zero_point=10, dtype=nq.quint8)
    >>> q
    tensor([-1. ,  0. ,  0.3], size=(3,), dtype=quint8, per_tensor_affine, scale=0.1, zero_point=10)
    >>> q.int_repr()
    tensor([ 0, 10, 13], dtype=uint8)
    """

    is_quantized = True

    def __init__(self, values: NDArray[Any], qparams: QParams, origin: Tensor | None = None) -> None:
        if values.dtype != qparams.dtype.storage:
            raise TypeError(f"{qparams.dtype.name} integers are stored as {qparams.dtype.storage}; got {values.dtype}")
        if qparams.axis is not None:
            qparams.over(values.shape)
        self.values, self.qparams, self.origin = values, qparams, origin

    def __reduce__(self) -> tuple[Any, ...]:
        """What `memory` points to is found again."""
        return QTensor, (self.values, self.qparams, self.origin)

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.values.shape

    @property
    def dtype(self) -> QDType:
        """The quantized dtype."""
        return self.qparams.dtype

    @property
    def requires_grad(self) -> bool:
        """Always False: integers have no gradient."""
        return False

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def qscheme(self) -> QScheme:
        """How the integers are to be read: per_tensor_affine, per_channel_affine and so on."""
        if self.qparams.float_qparams:
            return per_channel_affine_float_qparams
        grouped = self.qparams.group_size is not None
        return per_tensor_affine if self.qparams.axis is None else per_group_affine if grouped else per_channel_affine

    def q_scale(self) -> float:
        """The scale of a per-tensor QTensor."""
        return float(self._per_tensor("q_scale").scale)

    def q_zero_point(self) -> int:
        """The zero point of a per-tensor QTensor."""
        return int(self._per_tensor("q_zero_point").zero_point)

    def q_per_channel_scales(self) -> Tensor:
        """One scale per channel."""
        return Tensor(self._per_channel("q_per_channel_scales").scale)

    def q_per_channel_zero_points(self) -> Tensor:
        """One zero point per channel."""
        return Tensor(self._per_channel("q_per_channel_zero_points").zero_point)

    def q_per_channel_axis(self) -> int:
        """The channels' axis."""
        axis = self._per_channel("q_per_channel_axis").axis
        assert axis is not None
        return axis

    def _per_tensor(self, asked: str) -> QParams:
        if self.qparams.axis is not None:
            raise RuntimeError(f"{asked}: this tensor is quantized per channel; ask for q_per_channel_scales() and the like")
        return self.qparams

    def _per_channel(self, asked: str) -> QParams:
        if self.qparams.axis is None:
            raise RuntimeError(f"{asked}: this tensor is quantized per tensor; ask for q_scale() and q_zero_point()")
        return self.qparams

    # ---- what it means ----------------------------------------------------------------------------------------------

    def int_repr(self) -> Tensor:
        """The integers: a view, not a copy."""
        return Tensor(self.values)

    def dequantize(self) -> Tensor:
        """The floats that the integers mean."""
        q, shape, order = (self.memory or self.find_memory()) if self.qparams.axis is None else self.lying(None)
        affine = _affine(self.qparams, shape, requested_isa())
        if affine is None:
            return without_gradient(dequantize_as(self.values, self.qparams), self.origin)
        x = affine.back(q)
        return without_gradient(x if order is None else x.transpose(order), self.origin)

    def pointwise(self, prepare: Callable[..., Call], qparams: QParams, constants: Any, other: QTensor | None = None) -> QTensor:
        """An operation on these integers, and those of `other`, which has the same shape.

        prepare: makes the call from a shape, an instruction set, both qparams and the constants; keeps what it made.
        """
        x, shape, order = self.memory or self.find_memory()
        call = prepare(shape, requested_isa(), self.qparams, qparams, constants)
        return computed(call, x, order, qparams, self.origin, None if other is None else other.lying(order)[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("a quantized tensor is two things: call dequantize() for its real values or int_repr() for its integers")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a quantized tensor has no {name!r}: in a model, give the layer of that name a qconfig, or call a FloatFunctional; "
            "elsewhere, dequantize() first"
        )

    def __repr__(self) -> str:
        body = np.array2string(self.dequantize().array, separator=", ", prefix="tensor(", precision=4)
        q = self.qparams
        numbers = f"scale={float(q.scale):.6g}, zero_point={int(q.zero_point)}" if q.axis is None else (
            f"scale={np.array2string(q.scale, separator=', ')}, zero_point={q.zero_point.tolist()}, axis={q.axis}"
        )  # fmt: skip
        return f"tensor({body}, size={self.shape}, dtype={self.dtype.name}, {self.qscheme().name}, {numbers})"

    # ---- operations that leave the scale alone ----------------------------------------------------------------------

    def with_values(self, values: NDArray[Any]) -> QTensor:
        """Other integers with the same meaning."""
        return QTensor(values, self._per_tensor("this operation"), self.origin)

    def reshape(self, *shape: Any) -> QTensor:
        """The same elements in another shape, in logical order; one size may be -1."""
        wanted = sizes(shape)
        return self.with_values((self.values if len(wanted) > 2 else self.channels_first()).reshape(wanted))

    def permute(self, *dims: Any) -> QTensor:
        """Axes in another order."""
        return self.with_values(self.values.transpose(sizes(dims)))

    def __getitem__(self, index: Any) -> QTensor:
        return self.with_values(np.asarray(self.values[index]))

    def detach(self) -> QTensor:
        """The same integers, outside the graph."""
        return QTensor(self.values, self.qparams)

    def clone(self) -> QTensor:
        """A copy."""
        return QTensor(self.values.copy(order="K"), self.qparams, self.origin)

    def relu(self) -> QTensor:
        """max(x, 0): integers below the zero point become the zero point."""
        q = self.qparams
        if self.values.itemsize > 1 or q.axis is not None:
            zero_point = self._per_tensor("relu").zero_point
            return self.with_values(np.maximum(self.values, self.values.dtype.type(zero_point)))
        return self.pointwise(operation, q, ("clamp", True, None))

    def clamp(self, min: float | None = None, max: float | None = None) -> QTensor:  # noqa: A002  (torch's names)
        """Integers limited to those that `min` and `max` quantize to."""
        if min is None and max is None:
            raise ValueError("clamp: give min, max or both")
        q = self._per_tensor("clamp")
        if self.values.itemsize > 1:
            return self.with_values(np.clip(self.values, *_ends(q, min, max)))
        return self.pointwise(_clamping, q, (min, max))

    def pool(self, windows: tuple[Any, ...], average: bool, padded: bool = True, divisor: int | None = None) -> QTensor:
        """The greatest element of each window of an image, or the mean, ties to even (`kernels.pooling`).

        windows: a class of `kernels.pooling`, and its arguments. padded: whether a mean counts the padding.
        """
        q, (x, shape, order) = self._per_tensor("pooling"), self.lying(CHANNELS_FIRST[4])
        return computed(pooling(q, shape, requested_isa(), windows, average, padded, divisor), x, order, q, self.origin)

    def mean(self, dim: Axis = None, keepdim: bool = False) -> QTensor:
        """The mean over all axes or over `dim`, in the same scale: rint(mean of q - zero_point) + zero_point."""
        q, axes = self._per_tensor("mean"), (dim,) if dim is None or isinstance(dim, int) else tuple(dim)
        order, column, shape = columns(self.values.shape, axes, keepdim)
        x = np.asarray(self.values.transpose(order), order="C").reshape(column)
        y = pooling(q, column, requested_isa(), (Adaptive, (1, 1)), True).run(x)
        return QTensor(y.reshape(shape), q, self.origin)

    def max(self) -> QTensor:
        """The greatest element."""
        return self.with_values(np.asarray(self.values.max()))

    def _no_arithmetic(self, *_: Any) -> Any:
        raise TypeError(
            "quantized tensors have no + - * / @, since the result needs a scale of its own: in a model, call a FloatFunctional "
            "(add, mul, matmul, add_scalar, mul_scalar), or let prepare_fx place it; elsewhere, dequantize() first"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _no_arithmetic
    __matmul__ = __rmatmul__ = __neg__ = __pow__ = _no_arithmetic


def _ends(qparams: QParams, least: float | None, greatest: float | None) -> NDArray[Any]:
    """The integers that stand for both."""
    return quantize_as((-np.inf if least is None else least, np.inf if greatest is None else greatest), qparams)


@lru_cache(maxsize=256)
def _clamping(shape: tuple[int, ...], isa: Any, x: QParams, y: QParams, ends: tuple[Any, Any]) -> Call:
    """Between the integers that stand for both ends."""
    del isa, y  # part of the key; and x again
    low, high = map(int, _ends(x, *ends))
    return clamping(shape, x.dtype.storage, (low, high))


def computed(call: Any, x: Any, order: Order, qparams: QParams, origin: Tensor | None, z: Any = None) -> QTensor:
    """What a prepared call computes from integers at the C pointer x, and z if it has two inputs.

    order: how its output lies in memory. No check of the constructor's is needed.
    """
    values = empty(call.shape, call.dtype)
    y = pointer(values)
    if z is None:
        call.on(x, y)
    else:
        call.on(x, y, z)
    q = QTensor.__new__(QTensor)
    q.values = values if order is None else values.transpose(order)
    q.qparams, q.origin, q.memory = qparams, origin, (y, call.shape, order)
    return q


def without_gradient(array: NDArray[Any], origin: Tensor | None) -> Tensor:
    """The float result of an integer computation: going backward through it to `origin` is an error that says why."""
    return Tensor(array) if origin is None else apply(Op("int8", lambda _: array, _refuse_gradient), origin)


def _refuse_gradient(*_: Any) -> Any:
    raise RuntimeError(
        "backward through an int8 module: integers have no gradient. Train the float model or its QAT twin and convert it "
        "afterwards; for inference, leave backward out or use nanoquant.no_grad()"
    )


def quantize(x: ArrayLike, qparams: QParams) -> QTensor:
    """Floats to a QTensor with these qparams, by the C kernels; `affine.quantize` is the definition.

    Raises ValueError on NaN. An image (four axes, per tensor) gets channels-last memory.
    """
    origin, order = None, None
    if isinstance(x, Tensor):
        origin, x = x if x.requires_grad else None, x.array
    view = values = asarray(x, FLOAT)
    image = values.ndim == 4 and qparams.axis is None
    if image and not values.flags.c_contiguous:
        view, order = values.transpose(CHANNELS_LAST[4]), CHANNELS_FIRST[4]
    affine = _affine(qparams, view.shape, requested_isa())
    if affine is None:
        return QTensor(quantize_as(values, qparams), qparams, origin)
    q = computed(affine, pointer(FLOATS, contiguous(view)), order, qparams, origin)
    if image and order is None:  # moved as bytes, not as floats
        return q.with_values(q.channels_last().transpose(CHANNELS_FIRST[4]))
    return q


def quantize_per_tensor(x: ArrayLike, scale: float, zero_point: int, dtype: QDType) -> QTensor:
    """q = clamp(rint(x * (1 / scale)) + zero_point), one scale for all.

    x: any shape. Raises ValueError on NaN, on a scale that is not positive, normal and finite, and on a zero point
    outside the dtype.

    >>> nq.quantize_per_tensor([1.0, 2.5], 0.5, -3, nq.quint8)
    Traceback (most recent call last):
    ValueError: zero_point must be an integer in [0, 255]; got -3
    """
    return quantize(x, per_tensor(scale, zero_point, dtype))


def quantize_per_channel(x: ArrayLike, scales: ArrayLike, zero_points: ArrayLike, axis: int, dtype: QDType) -> QTensor:
    """The same with one scale and zero point for each index along `axis`; as in torch, zero points given as floats stay
    floats (`per_channel_affine_float_qparams`).

    >>> nq.quantize_per_channel([[1.0], [2.0]], [0.5, 0.25], [0, 1], 0, nq.quint8).int_repr()
    tensor([[2],
            [9]], dtype=uint8)
    """
    offsets = np.asarray(zero_points)
    return quantize(
        x, QParams(np.asarray(scales), offsets, dtype, axis % max(np.ndim(x), 1), float_qparams=offsets.dtype.kind == "f")
    )


@lru_cache(maxsize=256)
def _affine(qparams: QParams, shape: tuple[int, ...], isa: Any) -> native.Affine | None:
    """The qparams as C takes them, for a C-contiguous array of this shape, which must fit them. isa: `requested_isa()`.

    None where NumPy serves: for 16-bit storage, float zero points and groups.
    """
    del isa  # part of the key
    qparams.over(shape)
    if qparams.dtype.storage not in native.DTYPES or qparams.group_size is not None or qparams.float_qparams:
        return None
    scale, zero_point = qparams.scale.reshape(-1), qparams.zero_point.reshape(-1).astype(np.int32)
    return native.affine(qparams.dtype.storage, shape, qparams.axis, scale, zero_point, *qparams.limits)
