"""What an observer is.

    observer(x)                     looks at x, returns it unchanged; any number of times
    observer.calculate_qparams()    the scale and zero point for what it has seen

Before: `qparams`. After: `minmax`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..module import Module
from ..qparams import EPS, QParams, choose_qparams
from ..scheme import QDType, QScheme, check_dtype, check_qscheme, check_quant_range, per_tensor_affine, quint8


class NotCalibratedError(RuntimeError):
    """An observer was asked for its result before it saw any data."""


class Partial:
    """A class and some of its arguments: what a QConfig holds, so that every layer makes an observer of its own.

    Calling it makes an instance; `with_args` adds arguments. Unknown arguments, and a dtype where a qscheme belongs,
    are errors at once, not when the instance is made.

    >>> from nanoquant.observers import MinMaxObserver
    >>> make = MinMaxObserver.with_args(quant_min=0).with_args(quant_max=127)
    >>> make().quant_max
    127
    >>> MinMaxObserver.with_args(bits=4)
    Traceback (most recent call last):
    TypeError: MinMaxObserver takes no argument 'bits'
    """

    def __init__(self, cls: type[Any], arguments: dict[str, Any]) -> None:
        parameters = inspect.signature(cls).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            for name in arguments:
                if name not in parameters:
                    raise TypeError(f"{cls.__name__} takes no argument {name!r}")
        for name, checker in (("dtype", check_dtype), ("qscheme", check_qscheme)):
            if name in arguments:
                checker(arguments[name])
        self.cls, self.arguments = cls, dict(arguments)

    def __call__(self, **arguments: Any) -> Any:
        return self.cls(**{**self.arguments, **arguments})

    def with_args(self, **arguments: Any) -> Partial:
        """The same with more, or other, arguments."""
        return Partial(self.cls, {**self.arguments, **arguments})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partial) and (self.cls, self.arguments) == (other.cls, other.arguments)

    def __hash__(self) -> int:
        return hash((self.cls, tuple(sorted(self.arguments))))

    def __repr__(self) -> str:
        return f"{self.cls.__name__}.with_args({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


class Observer(Module, ABC):
    """Base class of all observers: they differ in what they remember of the data.

    dtype, qscheme: what is asked for (`scheme`). reduce_range: halve the integer range (torch's guard against CPUs
    whose 8-bit multiply saturates; nanoquant's never does). quant_min, quant_max: an integer range of one's own. eps:
    the smallest scale. factory_kwargs: accepted as torch has it, and must ask for nothing but the CPU.

    Subclasses define `observe`, which takes a float32 array without NaN or infinity, and keep the range in the buffers
    `min_val` and `max_val`.
    """

    min_val: NDArray[np.float32]
    max_val: NDArray[np.float32]
    ch_axis: int | None = None
    resizable_buffers = frozenset({"min_val", "max_val"})

    def __init__(
        self,
        dtype: QDType = quint8,
        qscheme: QScheme = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__()
        self.dtype, self.qscheme = check_dtype(dtype), check_qscheme(qscheme)
        self.reduce_range, self.eps, self.is_dynamic = reduce_range, eps, is_dynamic
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        self.quant_min, self.quant_max = check_quant_range(dtype, quant_min, quant_max)
        if reduce_range:
            if qscheme.symmetric and not dtype.signed and not self.has_customized_qrange:
                raise NotImplementedError(
                    f"reduce_range with {qscheme.name} and {dtype.name} has no middle; give quant_min and quant_max"
                )
            self.quant_min, self.quant_max = self.quant_min // 2, self.quant_max // 2
        for name, value in (factory_kwargs or {}).items():
            if value is not None and str(value) not in ("cpu", "float32", str(np.float32)):
                raise ValueError(f"nanoquant computes on 'cpu' in float32; got factory_kwargs {name}={value!r}")
        self.reset_min_max_vals()

    @classmethod
    def with_args(cls, **arguments: Any) -> Partial:
        """This class with some of its arguments: a factory for a QConfig."""
        return Partial(cls, arguments)

    def reset_min_max_vals(self) -> None:
        """Forgets all data."""
        empty = (0,) if self.ch_axis is not None else ()
        self.register_buffer("min_val", np.full(empty, np.inf, np.float32))
        self.register_buffer("max_val", np.full(empty, -np.inf, np.float32))

    @property
    def calibrated(self) -> bool:
        """Whether any data has been seen."""
        return bool(self.min_val.size and np.isfinite(self.min_val).all())

    def forward(self, x: Any) -> Any:
        """Observes x, and returns it. An empty x changes nothing; NaN and infinity raise ValueError."""
        values = np.asarray(x, dtype=np.float32)
        if values.size:
            self.observe(values)
        return x

    @abstractmethod
    def observe(self, x: NDArray[np.float32]) -> None:
        """Takes note of a non-empty array."""

    def range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The [min, max] that the scale shall cover; scalars, or one entry per channel."""
        return self.min_val, np.maximum(self.min_val, self.max_val)  # averaging constant data, rounding may cross them

    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(scale, zero_point) by the observer rule, as vectors: of length 1 per tensor, else one entry per channel.

        Raises NotCalibratedError if no data has been seen.
        """
        if not self.calibrated:
            raise NotCalibratedError(
                f"{type(self).__name__} has seen no data: run calibration data through the prepared model before convert"
            )
        own = self.reduce_range or self.has_customized_qrange
        low, high = (self.quant_min, self.quant_max) if own else (None, None)
        scale, zero_point = choose_qparams(*self.range(), self.dtype, self.qscheme, low, high, self.eps)
        return scale.reshape(-1), zero_point.reshape(-1)

    def qparams(self) -> QParams:
        """The same as a value: what quantize and convert take."""
        scale, zero_point = self.calculate_qparams()
        shape = (-1,) if self.ch_axis is not None else ()
        return QParams(
            scale.reshape(shape), zero_point.reshape(shape), self.dtype, self.ch_axis, self.quant_min, self.quant_max
        )

    def extra_repr(self) -> str:
        """The range seen so far."""
        if not self.calibrated:
            return "no data seen"
        if self.ch_axis is None:
            return f"min_val={float(self.min_val):.6g}, max_val={float(self.max_val):.6g}"
        return f"{self.min_val.size} channels, min_val={self.min_val.min():.6g}, max_val={self.max_val.max():.6g}"


def extremes(x: ArrayLike, observer: Observer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimum and maximum of x: of everything, or of each channel of the observer's `ch_axis`.

    Raises ValueError on NaN and infinity: a range that contains one has no scale.
    """
    values = np.asarray(x, dtype=np.float32)
    axes = None
    if observer.ch_axis is not None:
        if not -values.ndim <= observer.ch_axis < values.ndim:
            raise ValueError(f"ch_axis={observer.ch_axis} is out of range for data of shape {values.shape}")
        axes = tuple(i for i in range(values.ndim) if i != observer.ch_axis % values.ndim)
    low, high = values.min(axis=axes), values.max(axis=axes)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(
            f"{type(observer).__name__} observed NaN or infinity in data of shape {values.shape}: no scale can represent it"
        )
    if observer.min_val.size and observer.ch_axis is not None and observer.min_val.shape != low.shape:
        raise ValueError(f"{type(observer).__name__} has seen {observer.min_val.size} channels before; got {low.size}")
    return np.asarray(low), np.asarray(high)
