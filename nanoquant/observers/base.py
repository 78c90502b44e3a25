"""What an observer is.

    observer(x)                     looks at x, returns it unchanged; any number of times
    observer.calculate_qparams()    the scale and zero point for what it has seen

Before: `qparams`. After: `minmax`.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..module import Module
from ..qparams import EPS, AbsMaxRule, QParams, choose_qparams
from ..scheme import QDType, QScheme, check_dtype, check_qscheme, check_quant_range, quint8

Floats = NDArray[np.float32]


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
        unknown = set(arguments) - argument_names(cls)
        if unknown and issubclass(cls, Observer):
            raise TypeError(f"{cls.__name__} takes no argument {min(unknown)!r}")
        for name, checker in (("dtype", check_dtype), ("qscheme", check_qscheme)):
            if name in arguments and not (name == "dtype" and getattr(cls, "may_stay_float", False)):
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

    dtype, qscheme: what is asked for (`scheme`); the default qscheme is the affine one of the class's granularity.
    reduce_range: halve the integer range of an 8-bit dtype (torch's guard against CPUs whose 8-bit multiply saturates;
    nanoquant's never does). quant_min, quant_max: an integer range of one's own. factory_kwargs: accepted as torch has
    it, and must ask for nothing but the CPU. eps: the smallest scale. rule, power_of_two: see `choose_qparams`.

    Subclasses define `observe`, which takes a float32 array, and keep the range in the buffers `min_val` and `max_val`.
    Those that take more arguments take them first, then these in this order.

    Data that is too much for one process is split: each worker observes its part, numbering its batches with `at` where
    order matters, and the observers `merge`. Their state travels as plain arrays (`state_dict`, `load_state_dict`).
    """

    min_val: Floats
    max_val: Floats
    granularity: Any = "tensor"  # of the schemes that a class serves
    may_be_dynamic = True
    may_stay_float = False  # whether `dtype` may be a NumPy float dtype
    progress = frozenset({"batch", "training"})  # attributes that say how far an observer is, not how it is set up
    resizable_buffers = frozenset({"min_val", "max_val"})

    def __init__(
        self, dtype: QDType = quint8, qscheme: QScheme | None = None, reduce_range: bool = False,
        quant_min: int | None = None, quant_max: int | None = None, factory_kwargs: dict[str, Any] | None = None,
        eps: float = EPS, is_dynamic: bool = False, rule: AbsMaxRule = AbsMaxRule.half_range,
        power_of_two: bool = False, *, ch_axis: int | None = None, group_size: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.ch_axis, self.group_size = ch_axis, group_size
        if (ch_axis is None) != (self.granularity == "tensor") or (group_size and self.granularity != "group"):
            raise TypeError(f"{type(self).__name__} has a range per {self.granularity}; got {ch_axis=}, {group_size=}")
        self.dtype = check_dtype(dtype)
        self.qscheme = qscheme = check_qscheme(qscheme or QScheme[f"per_{self.granularity}_affine"])
        if qscheme.granularity != self.granularity:
            raise NotImplementedError(
                f"{type(self).__name__} has a range per {self.granularity}; for {qscheme.name} use an observer with a "
                f"range per {qscheme.granularity}"
            )
        if is_dynamic and not self.may_be_dynamic:
            raise NotImplementedError(
                f"{type(self).__name__}: a dynamic range is that of one batch and one tensor; use MinMaxObserver"
            )
        self.reduce_range, self.eps, self.is_dynamic = reduce_range, eps, is_dynamic
        self.rule, self.power_of_two = AbsMaxRule(rule), power_of_two
        self.batch: int | None = None
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        self.quant_min, self.quant_max = check_quant_range(dtype, quant_min, quant_max)
        if reduce_range and (self.has_customized_qrange or dtype.bits == 8):
            if qscheme.symmetric and not dtype.signed and not self.has_customized_qrange:
                raise NotImplementedError(
                    f"reduce_range with {qscheme.name} and {dtype.name} has no middle; give quant_min and quant_max"
                )
            self.quant_min, self.quant_max = self.quant_min // 2, self.quant_max // 2
        for name, value in (factory_kwargs or {}).items():
            if value is not None and str(value) not in ("cpu", "float32", str(np.float32)):
                raise ValueError(f"nanoquant computes on 'cpu' in float32; got factory_kwargs {name}={value!r}")
        self.qparams_of(np.zeros(1, np.float32), np.zeros(1, np.float32))  # a combination that cannot be fails here
        self.reset_min_max_vals()

    @classmethod
    def with_args(cls, **arguments: Any) -> Partial:
        """This class with some of its arguments: a factory for a QConfig."""
        return Partial(cls, arguments)

    def reset_min_max_vals(self) -> None:
        """Forgets all data."""
        empty = () if self.granularity == "tensor" else (0,)
        self.register_buffer("min_val", np.full(empty, np.inf, np.float32))
        self.register_buffer("max_val", np.full(empty, -np.inf, np.float32))

    @property
    def calibrated(self) -> bool:
        """Whether any data has been seen."""
        low = self.min_val
        return math.isfinite(low) if low.ndim == 0 else bool(low.size and np.isfinite(low).all())

    @property
    def wants_second_pass(self) -> bool:
        """Whether numbered batches must pass once more, now that all of them are known."""
        return False

    def at(self, batch: int | None) -> Observer:
        """Numbers the next batch within the whole stream (from 0): what a worker that sees a part of it says.

        >>> from nanoquant.observers import MovingAverageMinMaxObserver
        >>> first, second = MovingAverageMinMaxObserver(0.5), MovingAverageMinMaxObserver(0.5)
        >>> _ = second.at(1)([8.0]), first.at(0)([4.0])
        >>> float(second.merge(first).max_val)
        6.0
        """
        self.batch = batch
        return self

    def forward(self, x: Any) -> Any:
        """Observes x, and returns it. An empty x changes nothing; NaN and infinity raise ValueError."""
        values = np.asarray(x, dtype=np.float32)
        if values.size:
            self.observe(values)
        return x

    @abstractmethod
    def observe(self, x: Floats) -> None:
        """Takes note of a non-empty array."""

    def merge(self, other: Observer) -> Observer:
        """Makes this observer what it would be, had it seen the other's data too; returns it.

        Raises ValueError when the two are set up differently, or when order matters and the batches have no numbers.
        """
        mine, theirs = (
            {k: v for k, v in vars(o).items() if not k.startswith("_") and k not in self.progress} for o in (self, other)
        )
        if type(self) is not type(other) or mine != theirs:
            raise ValueError(f"observers must be set up alike to merge; got {self!r} {mine} and {other!r} {theirs}")
        if other.calibrated:
            self.absorb(other)
        return self

    def absorb(self, other: Any) -> None:
        """`merge`, once the two are known to be alike and the other to have seen data."""
        raise NotImplementedError(f"{type(self).__name__} cannot be merged")

    def range(self) -> tuple[Floats, Floats]:
        """The [min, max] that the scale shall cover; scalars, or one entry per channel or group."""
        return self.min_val, np.maximum(self.min_val, self.max_val)  # averaging constant data, rounding may cross them

    def qparams_of(self, low: Floats, high: Floats) -> tuple[Floats, NDArray[Any]]:
        """The observer rule for a range, with this observer's dtype, scheme and options."""
        own = self.has_customized_qrange or self.quant_max != self.dtype.quant_max
        q_low, q_high = (self.quant_min, self.quant_max) if own else (None, None)
        return choose_qparams(low, high, self.dtype, self.qscheme, q_low, q_high, self.eps, self.rule, self.power_of_two)

    def calculate_qparams(self) -> tuple[Floats, NDArray[Any]]:
        """(scale, zero_point) by the observer rule: of length 1 per tensor, else one entry per channel or group.

        Raises NotCalibratedError if no data has been seen.
        """
        if not self.calibrated:
            raise NotCalibratedError(
                f"{type(self).__name__} has seen no data: run calibration data through the prepared model before convert"
            )
        scale, zero_point = self.qparams_of(*self.range())
        return (scale.reshape(1), zero_point.reshape(1)) if self.ch_axis is None else (scale, zero_point)

    def qparams(self) -> QParams:
        """The same as a value: what quantize and convert take."""
        return self.as_qparams(*self.calculate_qparams())

    def as_qparams(self, scale: Floats, zero_point: NDArray[Any]) -> QParams:
        """Numbers of `calculate_qparams` as a value."""
        floating = self.qscheme.float_qparams
        limits = self.quant_min, self.quant_max
        return QParams(scale, zero_point, self.dtype, self.ch_axis, *limits, self.group_size, floating)

    def extra_repr(self) -> str:
        if not self.calibrated:
            return "no data seen"
        if self.ch_axis is None:
            return f"min_val={float(self.min_val):.6g}, max_val={float(self.max_val):.6g}"
        kind = "channels" if self.group_size is None else f"groups of {self.group_size}"
        return f"{self.min_val.size} {kind}, min_val={self.min_val.min():.6g}, max_val={self.max_val.max():.6g}"

    def extremes(self, x: Floats) -> tuple[Floats, Floats]:
        """Minimum and maximum of x: of everything, or of each channel or group along `ch_axis`.

        Raises ValueError on NaN and infinity: a range that contains one has no scale.
        """
        axes: Any = None
        if self.ch_axis is not None:
            if not -x.ndim <= self.ch_axis < x.ndim:
                raise ValueError(f"ch_axis={self.ch_axis} is out of range for data of shape {x.shape}")
            axis = self.ch_axis % x.ndim
            axes = tuple(i for i in range(x.ndim) if i != axis)
            if self.group_size is not None:
                if x.shape[axis] % self.group_size:
                    raise ValueError(f"axis {axis} of data of shape {x.shape} has no whole groups of {self.group_size}")
                x, axes = x.reshape(*x.shape[:axis], -1, self.group_size, *x.shape[axis + 1 :]), axis + 1
        low, high = x.min(axis=axes), x.max(axis=axes)
        if not np.isfinite(low + high if axes is not None else float(low) + float(high)).all():
            raise ValueError(
                f"{type(self).__name__} observed NaN or infinity in data of shape {x.shape}: no scale can represent it"
            )
        return np.asarray(low), np.asarray(high)

    def check_shape(self, low: Floats) -> None:
        """Raises ValueError when ranges of other shapes than `low`'s were seen before."""
        if self.calibrated and self.min_val.shape != low.shape:
            raise ValueError(
                f"{type(self).__name__} has seen ranges of shape {self.min_val.shape}, one per {self.granularity}; "
                f"got {low.shape}"
            )


def argument_names(cls: type[Any]) -> set[str]:
    """All arguments of a class: its own, and those it hands on to its bases."""
    constructors = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
    parameters = [p for f in constructors for p in inspect.signature(f).parameters.values()]
    return {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD} - {"self"}
