"""Convert: observed layers become integer layers.

Before: `prepare`. After: `dynamic`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...errors import ModuleError
from ...kernels.engine import quantized as engine
from ...module import Module
from ...nn.linear import Identity
from ...nn.quantized.weighted import Weighted
from ...observers import NotCalibratedError
from ..mappings import STATIC, Mapping
from ..stubs import DeQuantStub
from .prepare import exchange, inherit


def convert(
    module: Module, mapping: Mapping | None = None, inplace: bool = False, remove_qconfig: bool = True
) -> Module:
    """Exchanges every observed layer for its integer twin, which takes on the numerics profile of the current engine.

    mapping: `mappings.STATIC` by default. Returns a new model, unless inplace. Raises NotCalibratedError, naming the
    layer, when an observer has seen no data.
    """
    table = STATIC if mapping is None else mapping

    def integer_twin(layer: Module, path: str) -> Module | None:
        observed = not isinstance(layer._modules.get("activation_post_process"), Identity | None)
        if type(layer) not in table or not (observed or isinstance(layer, DeQuantStub)):
            return None
        target: Any = table[type(layer)]
        try:
            arithmetic = (engine.profile,) if issubclass(target, Weighted) else ()
            return inherit(target.from_float(layer, *arithmetic), layer)
        except NotCalibratedError as error:
            raise NotCalibratedError(f"{path or 'the model'} ({type(layer).__name__}): {error}") from None
        except ModuleError as error:
            error.path = path
            raise

    converted = exchange(module if inplace else copy.deepcopy(module), integer_twin)
    return without_qconfigs(converted) if remove_qconfig else converted


def without_qconfigs(model: Module) -> Module:
    """The model, its qconfigs removed."""
    for module in model.modules():
        module.__dict__.pop("qconfig", None)
    return model
