"""QConfig: which observer a layer's output and its weights get.

Before: `fake_quantize`. After: `presets`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..module import Module
from ..observers import Partial
from .fake_quantize import FakeQuantizeBase

Factory = Callable[[], Any]


class QConfigError(ValueError):
    """A qconfig cannot be honoured where it was put."""


class _Factories(NamedTuple):
    activation: Factory
    weight: Factory


class QConfig(_Factories):
    """Factories of observers (or fake-quantizers): `activation` for a layer's output, `weight` for its weights.

    Both are called once for each layer; a Module instance, which all layers would share, is a ValueError.

    >>> from nanoquant.observers import MinMaxObserver
    >>> QConfig(activation=MinMaxObserver(), weight=MinMaxObserver)
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


def is_fake_quantizer(factory: Factory) -> bool:
    """Whether a factory makes fake-quantizers."""
    kind = factory.cls if isinstance(factory, Partial) else factory
    return isinstance(kind, type) and issubclass(kind, FakeQuantizeBase)
