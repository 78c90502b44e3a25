"""FakeQuantize: an observer, and the rounding that its range will cause.

    x --observer--> scale, zero_point --> y = scale * (clamp(rint(x / scale) + zero_point) - zero_point)

Before: `nanoquant.observers`, `nanoquant.autograd.fake_quant`. After: `qconfig`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd.ops import Op
from ..autograd.tensor import Tensor, apply
from ..kernels.fake_quantize import Rounding
from ..kernels.native import requested_isa
from ..kernels.sliding import in_vectors
from ..module import Module
from ..nn.layer import as_tensor
from ..observers import FixedQParamsObserver, MovingAverageMinMaxObserver, NotCalibratedError, Observer, Partial
from ..qparams import QParams


def rounded(x: Tensor, qparams: QParams) -> Tensor:
    """`Tensor.fake_quantize`, in C where that has code for it: for float32 on 8-bit grids, per tensor or on axis 0."""
    per_axis = qparams.group_size is None and qparams.axis in (None, 0) and not qparams.float_qparams
    if x.dtype != np.float32 or qparams.dtype.bits > 8 or not per_axis or not in_vectors(requested_isa()):
        return x.fake_quantize(qparams)
    qparams.over(x.shape)
    low, high = qparams.limits
    rounding = Rounding(qparams.scale, low - qparams.zero_point, high - qparams.zero_point)
    y = apply(Op("fake_quantize", rounding, lambda g, y, x: (rounding(x, g),)), x)
    y.grid = qparams if qparams.axis is None else None
    return y


class FakeQuantizeBase(Module, ABC):
    """Base class of all fake-quantizers: two switches, and what is switched is the subclass's affair.

    The buffers `observer_enabled` and `fake_quant_enabled` (uint8) switch the two halves, so that ranges can be frozen,
    or watched without rounding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", np.ones(1, np.uint8))
        self.register_buffer("observer_enabled", np.ones(1, np.uint8))

    @classmethod
    def with_args(cls, **arguments: Any) -> Partial:
        """This class with some of its arguments: a factory for a QConfig."""
        return Partial(cls, arguments)

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """Observes x (if enabled), then rounds it (if enabled)."""

    @abstractmethod
    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """(scale, zero_point) in use."""

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Rounds (or not)."""
        self.fake_quant_enabled[0] = enabled

    def disable_fake_quant(self) -> None:
        """Lets values pass unrounded."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Follows the data (or not)."""
        self.observer_enabled[0] = enabled

    def disable_observer(self) -> None:
        """Freezes scale and zero point."""
        self.enable_observer(False)


class FakeQuantize(FakeQuantizeBase):
    """Observes what passes, and rounds it to what quantization would make of it, with a straight-through gradient.

    observer: an observer class. quant_min, quant_max, **observer_kwargs: its arguments. The buffers `scale` and
    `zero_point` hold the qparams in use, in the shapes that the observer gives them.

    Source: Jacob et al. 2018, section 3; the derivative: `nanoquant.autograd.fake_quant`.

    >>> fake = FakeQuantize(quant_min=0, quant_max=3)
    >>> fake([0.0, 1.4, 3.0])
    tensor([0., 1., 3.])
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    resizable_buffers = frozenset({"scale", "zero_point"})

    def __init__(
        self, observer: type[Observer] | Partial = MovingAverageMinMaxObserver, quant_min: int | None = None,
        quant_max: int | None = None, is_dynamic: bool = False, **observer_kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if is_dynamic:
            observer_kwargs["is_dynamic"] = True
        if quant_min is not None or quant_max is not None:
            observer_kwargs.update(quant_min=quant_min, quant_max=quant_max)
        self.activation_post_process: Observer = observer.with_args(**observer_kwargs)()
        floating = self.activation_post_process.qscheme.float_qparams
        self.register_buffer("scale", np.ones(1, np.float32))
        self.register_buffer("zero_point", np.zeros(1, np.float32 if floating else np.int64))
        self.is_dynamic = is_dynamic

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "qscheme", "quant_min", "quant_max", "ch_axis"):
            return getattr(self.activation_post_process, name)
        return super().__getattr__(name)

    def forward(self, x: Any) -> Any:
        value, observer = as_tensor(x), self.activation_post_process
        if not value.array.size:
            return value
        if self.observer_enabled[0]:
            observer(value.array)
            in_use = observer.calculate_qparams()
            self._buffers["scale"], self._buffers["zero_point"] = in_use
        elif self.fake_quant_enabled[0]:
            in_use = self.calculate_qparams()
        return rounded(value, observer.as_qparams(*in_use)) if self.fake_quant_enabled[0] else value

    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        if not self.activation_post_process.calibrated:
            raise NotCalibratedError(
                "FakeQuantize has seen no data: run data through the prepared model (observers enabled) before convert"
            )
        return self.scale, self.zero_point

    def qparams(self) -> QParams:
        """The qparams in use, as a value."""
        return self.activation_post_process.as_qparams(*self.calculate_qparams())

    def extra_repr(self) -> str:
        switches = f"fake_quant_enabled={self.fake_quant_enabled[0]}, observer_enabled={self.observer_enabled[0]}"
        if not self.activation_post_process.calibrated or self.scale.size != 1:
            return f"{switches}, quant_min={self.quant_min}, quant_max={self.quant_max}, dtype={self.dtype.name}"
        return f"{switches}, scale={self.scale.item():.6g}, zero_point={self.zero_point.item()}, dtype={self.dtype.name}"


class FixedQParamsFakeQuantize(FakeQuantize):
    """Rounds with constants: for outputs whose range is known beforehand, such as a sigmoid's [0, 1].

    observer: a factory of FixedQParamsObservers, which hold the constants; any other is a TypeError.

    >>> half_steps = FixedQParamsObserver.with_args(scale=0.5, zero_point=0)
    >>> FixedQParamsFakeQuantize(half_steps)([0.4, 1.7])
    tensor([0.5, 1.5])
    """

    def __init__(self, observer: Partial) -> None:
        super().__init__(observer)
        constants = self.activation_post_process
        if not isinstance(constants, FixedQParamsObserver):
            raise TypeError(f"FixedQParamsFakeQuantize needs a FixedQParamsObserver; got {type(constants).__name__}")
        self.scale, self.zero_point = constants.calculate_qparams()


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """`FakeQuantize` under the name of torch's fused kernel, whose other qparams rule it does not share.

    >>> FusedMovingAvgObsFakeQuantize().quant_max
    255
    """

    def __init__(
        self,
        observer: type[Observer] | Partial = MovingAverageMinMaxObserver,
        quant_min: int = 0,
        quant_max: int = 255,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)


def enable_fake_quant(module: Module) -> None:
    """For `model.apply`: rounds."""
    if isinstance(module, FakeQuantizeBase):
        module.enable_fake_quant()


def disable_fake_quant(module: Module) -> None:
    """For `model.apply`: lets values pass unrounded."""
    if isinstance(module, FakeQuantizeBase):
        module.disable_fake_quant()


def enable_observer(module: Module) -> None:
    """For `model.apply`: ranges follow the data."""
    if isinstance(module, FakeQuantizeBase):
        module.enable_observer()


def disable_observer(module: Module) -> None:
    """For `model.apply`: freezes ranges."""
    if isinstance(module, FakeQuantizeBase):
        module.disable_observer()
