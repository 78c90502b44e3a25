"""FakeQuantize: an observer, and the rounding that its range will cause.

    x --observer--> scale, zero_point --> y = scale * (clamp(rint(x / scale) + zero_point) - zero_point)

Before: `nanoquant.observers`, `nanoquant.autograd.fake_quant`. After: `qconfig`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..module import Module
from ..nn.linear import as_tensor
from ..observers import (
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    NotCalibratedError,
    Observer,
    Partial,
)
from ..qparams import QParams
from ..scheme import per_channel_symmetric, per_tensor_affine, per_tensor_symmetric, qint8, quint8


class FakeQuantize(Module):
    """Observes what passes, and rounds it to what quantization would make of it, with a straight-through gradient.

    observer: an observer class. quant_min, quant_max, **observer_kwargs: its arguments. The buffers `scale` and
    `zero_point` hold the qparams in use; `observer_enabled` and `fake_quant_enabled` (uint8) switch the two halves,
    so that ranges can be frozen, or watched without rounding.

    Source: Jacob et al. 2018, section 3; the derivative: `nanoquant.autograd.fake_quant`.

    >>> fake = FakeQuantize(quant_min=0, quant_max=3)
    >>> fake([0.0, 1.4, 3.0])
    tensor([0., 1., 3.])
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    resizable_buffers = frozenset({"scale", "zero_point"})

    def __init__(
        self,
        observer: type[Observer] = MovingAverageMinMaxObserver,
        quant_min: int | None = None,
        quant_max: int | None = None,
        is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__()
        if is_dynamic:
            observer_kwargs["is_dynamic"] = True
        if quant_min is not None or quant_max is not None:
            observer_kwargs.update(quant_min=quant_min, quant_max=quant_max)
        self.activation_post_process: Observer = observer.with_args(**observer_kwargs)()
        self.register_buffer("fake_quant_enabled", np.ones(1, np.uint8))
        self.register_buffer("observer_enabled", np.ones(1, np.uint8))
        self.register_buffer("scale", np.ones(1, np.float32))
        self.register_buffer("zero_point", np.zeros(1, np.int64))
        self.is_dynamic = is_dynamic

    @classmethod
    def with_args(cls, **arguments: Any) -> Partial:
        """This class with some of its arguments: a factory for a QConfig."""
        return Partial(cls, arguments)

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "qscheme", "quant_min", "quant_max", "ch_axis"):
            return getattr(self.activation_post_process, name)
        return super().__getattr__(name)

    def forward(self, x: Any) -> Any:
        """Observes x (if enabled), then rounds it (if enabled)."""
        value = as_tensor(x)
        if self.observer_enabled[0] and value.numel():
            self.activation_post_process(value.detach())
            self.scale, self.zero_point = self.activation_post_process.calculate_qparams()
        if not self.fake_quant_enabled[0] or not value.numel():
            return value
        return value.fake_quantize(self.qparams())

    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(scale, zero_point) in use."""
        if not self.activation_post_process.calibrated:
            raise NotCalibratedError(
                "FakeQuantize has seen no data: run data through the prepared model (observers enabled) before convert"
            )
        return self.scale, self.zero_point

    def qparams(self) -> QParams:
        """The qparams in use, as a value."""
        scale, zero_point = self.calculate_qparams()
        observer = self.activation_post_process
        shape = () if observer.ch_axis is None else (-1,)
        return QParams(
            scale.reshape(shape),
            zero_point.reshape(shape),
            observer.dtype,
            observer.ch_axis,
            observer.quant_min,
            observer.quant_max,
        )

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

    def extra_repr(self) -> str:
        """Switches and qparams."""
        switches = f"fake_quant_enabled={self.fake_quant_enabled[0]}, observer_enabled={self.observer_enabled[0]}"
        if not self.activation_post_process.calibrated or self.scale.size != 1:
            return f"{switches}, quant_min={self.quant_min}, quant_max={self.quant_max}, dtype={self.dtype.name}"
        return f"{switches}, scale={float(self.scale[0]):.6g}, zero_point={int(self.zero_point[0])}, dtype={self.dtype.name}"


def enable_fake_quant(module: Module) -> None:
    """For `model.apply`: rounds."""
    if isinstance(module, FakeQuantize):
        module.enable_fake_quant()


def disable_fake_quant(module: Module) -> None:
    """For `model.apply`: lets values pass unrounded."""
    if isinstance(module, FakeQuantize):
        module.disable_fake_quant()


def enable_observer(module: Module) -> None:
    """For `model.apply`: ranges follow the data."""
    if isinstance(module, FakeQuantize):
        module.enable_observer()


def disable_observer(module: Module) -> None:
    """For `model.apply`: freezes ranges."""
    if isinstance(module, FakeQuantize):
        module.disable_observer()


default_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=0,
    quant_max=255,
    dtype=quint8,
    qscheme=per_tensor_affine,
    reduce_range=True,
)

# Weights are known in full at every step: their observers are memoryless (averaging_constant 1), so that ranges
# follow the weights at once. torch's comments say so, but its presets average with 0.01.
default_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=qint8,
    qscheme=per_tensor_symmetric,
    reduce_range=False,
    averaging_constant=1,
)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=qint8,
    qscheme=per_channel_symmetric,
    reduce_range=False,
    ch_axis=0,
    averaging_constant=1,
)
