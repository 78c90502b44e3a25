"""Convert: observed layers become integer layers.

Before: `prepare`. After: `dynamic`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ...errors import ModuleError
from ...kernels.engine import quantized as engine
from ...module import Module
from ...observers import NotCalibratedError
from ..mappings import STATIC, Mapping
from ..stubs import DeQuantStub, QuantStub
from .prepare import observe_output

Exchange = Callable[[Module, str], "Module | None"]  # (module, its path) -> what takes its place, or None


def convert(
    module: Module, mapping: Mapping | None = None, inplace: bool = False, remove_qconfig: bool = True
) -> Module:
    """Exchanges every observed layer for its integer twin, which takes on the numerics profile of the current engine.

    mapping: `mappings.STATIC` by default. Returns a new model, unless inplace. Raises NotCalibratedError, naming the
    layer, when an observer has seen no data.
    """
    table = STATIC if mapping is None else mapping

    def integer_twin(layer: Module, path: str) -> Module | None:
        observed = "activation_post_process" in layer._modules
        if type(layer) not in table or not (observed or isinstance(layer, DeQuantStub)):
            return None
        target: Any = table[type(layer)]
        try:
            return inherit(
                target.from_float(layer)
                if isinstance(layer, QuantStub | DeQuantStub)
                else target.from_float(layer, engine.profile),
                layer,
            )
        except NotCalibratedError as error:
            raise NotCalibratedError(f"{path or 'the model'} ({type(layer).__name__}): {error}") from None
        except ModuleError as error:
            error.path = path
            raise

    converted = exchange(module if inplace else copy.deepcopy(module), integer_twin)
    return without_qconfigs(converted) if remove_qconfig else converted


def exchange(module: Module, twin_of: Exchange, path: str = "") -> Module:
    """The module with everything exchanged for which `twin_of` has a twin; a module used twice is exchanged once."""
    twin = twin_of(module, path)
    if twin is not None:
        return twin
    done: dict[int, Module] = {}
    for name, child in module._modules.items():
        if child is not None:
            if id(child) not in done:
                done[id(child)] = exchange(child, twin_of, f"{path}.{name}" if path else name)
            module._modules[name] = done[id(child)]
    return module


def inherit(twin: Module, layer: Module) -> Module:
    """Gives a twin its layer's mode and hooks, but for the observer's."""
    twin.training = layer.training
    twin._forward_pre_hooks = layer._forward_pre_hooks
    for hook in layer._forward_hooks.values():
        if hook is not observe_output:
            twin.register_forward_hook(hook)
    return twin


def without_qconfigs(model: Module) -> Module:
    """The model, its qconfigs removed."""
    for module in model.modules():
        module.__dict__.pop("qconfig", None)
    return model
