"""QConfig: which observer a layer's output and its weights get, and the defaults of each engine.

Before: `fake_quantize`. After: `mappings`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..module import Module
from ..numerics import ENGINES
from ..observers import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    Partial,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from ..scheme import per_channel_symmetric, per_tensor_symmetric, qint8, quint8
from .fake_quantize import (
    FakeQuantize,
    default_fake_quant,
    default_per_channel_weight_fake_quant,
    default_weight_fake_quant,
)

Factory = Callable[[], Any]

default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
default_weight_observer = MinMaxObserver.with_args(dtype=qint8, qscheme=per_tensor_symmetric)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(dtype=qint8, qscheme=per_channel_symmetric)
default_dynamic_quant_observer = PlaceholderObserver.with_args(
    dtype=quint8, quant_min=0, quant_max=255, is_dynamic=True
)


class QConfigError(ValueError):
    """A qconfig cannot be honoured where it was put."""


class _Factories(NamedTuple):
    activation: Factory
    weight: Factory


class QConfig(_Factories):
    """Factories of observers (or fake-quantizers): `activation` for a layer's output, `weight` for its weights.

    Both are called once for each layer; a Module instance, which all layers would share, is a ValueError.

    >>> QConfig(activation=MinMaxObserver(), weight=default_weight_observer)
    Traceback (most recent call last):
    ValueError: QConfig takes factories, which make an observer for each layer; activation is an instance of \
MinMaxObserver: pass the class, or MinMaxObserver.with_args(...)
    """

    __slots__ = ()

    def __new__(cls, activation: Factory, weight: Factory) -> QConfig:
        for name, factory in (("activation", activation), ("weight", weight)):
            if isinstance(factory, Module):
                kind = type(factory).__name__
                raise ValueError(
                    f"QConfig takes factories, which make an observer for each layer; {name} is an instance of {kind}: "
                    f"pass the class, or {kind}.with_args(...)"
                )
        return super().__new__(cls, activation, weight)


default_qconfig = QConfig(activation=default_observer, weight=default_weight_observer)
default_per_channel_qconfig = QConfig(activation=default_observer, weight=default_per_channel_weight_observer)
default_dynamic_qconfig = QConfig(activation=default_dynamic_quant_observer, weight=default_weight_observer)
per_channel_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_per_channel_weight_observer
)
default_qat_qconfig = QConfig(activation=default_fake_quant, weight=default_weight_fake_quant)


class _Defaults(NamedTuple):
    """What an engine's defaults differ in."""

    reduce_range: bool  # activations in 0..127: torch's guard against CPUs whose 8-bit multiply saturates
    per_channel: bool  # weights


_DEFAULTS = {
    "fbgemm": _Defaults(reduce_range=True, per_channel=True),
    "x86": _Defaults(reduce_range=True, per_channel=True),
    "qnnpack": _Defaults(reduce_range=False, per_channel=False),
    "onednn": _Defaults(reduce_range=False, per_channel=True),
}


def _defaults(backend: str) -> _Defaults:
    if backend not in _DEFAULTS:
        raise ValueError(f"unknown backend {backend!r}; supported: {', '.join(ENGINES)}")
    return _DEFAULTS[backend]


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The post-training qconfig of an engine: histogram observers for activations, min-max observers for weights.

    fbgemm, x86: activations quint8 in 0..127, weights qint8 symmetric per channel. qnnpack: 0..255, per tensor. onednn:
    0..255, per channel. Source: torch.ao.quantization.get_default_qconfig.

    >>> get_default_qconfig("qnnpack").activation
    HistogramObserver.with_args(reduce_range=False)
    """
    _check_version(version, (0,))
    chosen = _defaults(backend)
    weight = default_per_channel_weight_observer if chosen.per_channel else default_weight_observer
    return QConfig(HistogramObserver.with_args(reduce_range=chosen.reduce_range), weight)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """The qconfig of an engine for quantization-aware training: fake-quantizers with moving averages for activations.

    Ranges and granularity as in `get_default_qconfig`; weight ranges are memoryless. torch's versions 0 and 1 differ in
    whether observing and rounding are one kernel, and give the same here.
    """
    _check_version(version, (0, 1))
    chosen = _defaults(backend)
    activation = FakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=chosen.reduce_range
    )
    return QConfig(
        activation, default_per_channel_weight_fake_quant if chosen.per_channel else default_weight_fake_quant
    )


def _check_version(version: int, known: tuple[int, ...]) -> None:
    if version not in known:
        raise ValueError(f"version must be one of {known}; got {version}")


def is_fake_quantizer(factory: Factory) -> bool:
    """Whether a factory makes fake-quantizers."""
    kind = factory.cls if isinstance(factory, Partial) else factory
    return isinstance(kind, type) and issubclass(kind, FakeQuantize)
