"""Convert: observed layers become integer layers.

Before: `prepare`. After: `dynamic`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...errors import ModuleError
from ...module import Module
from ...nn.linear import Identity
from ...observers import NotCalibratedError
from ..mappings import STATIC, Mapping, integer_twins
from ..stubs import DeQuantStub
from .prepare import custom_classes, exchange, ignore_output, made


def convert(
    module: Module, mapping: Mapping | None = None, inplace: bool = False, remove_qconfig: bool = True,
    is_reference: bool = False, convert_custom_config_dict: dict[str, Any] | None = None,
) -> Module:  # fmt: skip
    """Exchanges every observed layer for its integer twin, which takes on the numerics profile of the current engine.

    Layers whose qconfig leaves activations in float, or their range to run time, need no observer. mapping: by default the
    table that the layer's qconfig asks for (`mappings.integer_twins`), or `STATIC`. Returns a new model, unless inplace.
    convert_custom_config_dict: {"observed_to_quantized_custom_module_class": classes}, which become others by their
    `from_observed`, after the layers in them were converted.

    Raises NotCalibratedError, naming the layer, when an observer has seen no data.
    """

    def integer_twin(layer: Module, path: str) -> Module | None:
        qconfig = getattr(layer, "qconfig", None)
        asked = STATIC if qconfig is None else integer_twins(qconfig)
        table = asked if mapping is None else mapping
        observed = not isinstance(layer._modules.get("activation_post_process"), Identity | None)
        if type(layer) not in table or not (observed or isinstance(layer, DeQuantStub) or asked is not STATIC):
            return None
        try:
            return made(table[type(layer)], layer)
        except NotCalibratedError as error:
            raise NotCalibratedError(f"{path or 'the model'} ({type(layer).__name__}): {error}") from None
        except ModuleError as error:
            error.path = path
            raise

    if is_reference:
        raise NotImplementedError("convert computes in integers; convert_to_reference_fx gives the form by specification")
    custom = custom_classes(convert_custom_config_dict, "observed_to_quantized_custom_module_class")
    converted = exchange(module if inplace else copy.deepcopy(module), integer_twin)
    for part in converted.modules():
        if type(part) not in STATIC and ignore_output(part):
            del part.activation_post_process

    def custom_twin(layer: Module, path: str) -> Module | None:
        del path
        kind: Any = custom.get(type(layer))
        return None if kind is None else kind.from_observed(layer)

    converted = exchange(converted, custom_twin)
    return without_qconfigs(converted) if remove_qconfig else converted


def without_qconfigs(model: Module) -> Module:
    """The model, its qconfigs removed."""
    for module in model.modules():
        module.__dict__.pop("qconfig", None)
    return model
