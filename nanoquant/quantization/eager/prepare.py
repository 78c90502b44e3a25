"""Prepare: observers where convert will need scales.

Before: `nanoquant.quantization.backend_config`. After: `convert`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection
from typing import Any

from ...kernels.engine import quantized as engine
from ...module import Module
from ...nn.quantized import FloatFunctional
from ...nn.quantized.weighted import Weighted
from ..backend_config import backend_config_of, check_qconfig
from ..calibrate import warn_of_noise
from ..mappings import CUSTOM, DYNAMIC, FIXED, QAT, QAT_DYNAMIC, STATIC, Mapping, integer_twins
from ..qconfig import QConfig, QConfigError, is_fake_quantizer
from ..qconfig_mapping import QConfigMapping, propagate_qconfig_
from ..stubs import DeQuantStub, QuantStub

Classes = Collection[type[Any]]
Exchange = Callable[[Module, str], "Module | None"]  # (module, its path) -> what takes its place, or None


def prepare(
    model: Module, inplace: bool = False, allow_list: Classes | None = None,
    observer_non_leaf_module_list: Classes | None = None, prepare_custom_config_dict: dict[str, Any] | None = None, *,
    qconfig_mapping: QConfigMapping | None = None,
) -> Module:  # fmt: skip
    """Attaches an observer to the output of every module that will be quantized. Then run calibration data through it.

    A module is quantized if `propagate_qconfig_` gives it a qconfig, and `mappings.STATIC` knows it: a module's own
    `qconfig` attribute wins over `qconfig_mapping`, and None leaves it in float. Returns a new model, unless inplace.
    allow_list: the only classes of layers to quantize, besides stubs. observer_non_leaf_module_list: classes that are not
    layers, but observed, too, until convert. prepare_custom_config_dict: {"float_to_observed_custom_module_class": classes},
    which become others by their `from_float`.

    Raises QConfigError when no module would be quantized, or when one cannot be as its qconfig says.
    """
    prepared = model if inplace else copy.deepcopy(model)
    custom = custom_classes(prepare_custom_config_dict, "float_to_observed_custom_module_class")
    prepared = take_apart(prepared, qconfig_mapping, allow_list, custom)
    _check(prepared, training=False)
    _observe(prepared, tuple(observer_non_leaf_module_list or ()))
    return prepared


def custom_classes(config: dict[str, Any] | None, key: str) -> Mapping:
    """What a dict of custom classes says under its one key; QConfigError for another."""
    if config and set(config) != {key}:
        raise QConfigError(f"the custom config must be {{{key!r}: classes}}; got the keys {sorted(config)}")
    return config[key] if config else {}


def prepare_qat(
    model: Module, mapping: Mapping | None = None, inplace: bool = False, *, qconfig_mapping: QConfigMapping | None = None
) -> Module:  # fmt: skip
    """Exchanges layers for their quantization-aware twins and attaches fake-quantizers to what they put out. Then
    train.

    The model must be in training mode, and its qconfigs must make fake-quantizers (`get_default_qat_qconfig`): plain
    observers would let training see no rounding at all, and are a QConfigError. mapping: `mappings.QAT` by default.
    qconfig_mapping: see `prepare`. Returns a new model, unless inplace.
    """
    if not model.training:
        raise RuntimeError("prepare_qat needs training mode: call model.train() first")
    prepared = model if inplace else copy.deepcopy(model)
    prepared = take_apart(prepared, qconfig_mapping)
    _check(prepared, training=True)
    prepared = exchange(prepared, twins(mapping or (lambda qconfig: QAT_DYNAMIC if integer_twins(qconfig) is DYNAMIC else QAT)))
    _observe(prepared)
    return prepared


def take_apart(
    model: Module, qconfig_mapping: QConfigMapping | None, allowed: Classes | None = None, custom: Mapping | None = None
) -> Module:  # fmt: skip
    """The model with a qconfig at every module, None at layers that are not allowed, after those of `mappings.CUSTOM`, and
    custom ones, that have one became their parts."""
    propagate_qconfig_(model, qconfig_mapping)
    others = set() if allowed is None else {*STATIC, *CUSTOM} - {QuantStub, DeQuantStub, *allowed}
    for module in model.modules():
        if type(module) in others:
            module.qconfig = None
    table = {**CUSTOM, **(custom or {})}
    model = exchange(model, twins(lambda qconfig: table if integer_twins(qconfig) is STATIC else {}))
    for module in model.modules():
        if type(module) in table.values():
            propagate_qconfig_(module)
    return model


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


def made(target: Any, layer: Module) -> Module:
    """The layer's twin of class `target`; with the profile of the current engine, if it computes in integers."""
    takes_profile = "profile" in inspect.signature(target.from_float).parameters
    return inherit(target.from_float(layer, *([engine.profile] if takes_profile else [])), layer)


def twins(tables: Mapping | Callable[[QConfig], Mapping]) -> Exchange:
    """Exchanges every layer that has a qconfig, and a class in its table, for that class's `from_float`.

    tables: one for all, or what tells a qconfig's.
    """

    def twin_of(layer: Module, path: str) -> Module | None:
        del path
        if layer.qconfig is None:
            return None
        table = tables(layer.qconfig) if callable(tables) else tables
        if type(layer) not in table:
            return None
        twin = made(table[type(layer)], layer)
        twin.qconfig = layer.qconfig
        return twin

    return twin_of


def inherit(twin: Module, layer: Module) -> Module:
    """Gives a twin its layer's mode and hooks, but for the observer's."""
    twin._forward_pre_hooks, twin._forward_hooks = layer._forward_pre_hooks, layer._forward_hooks
    ignore_output(twin)
    return twin.train(layer.training)


def ignore_output(module: Module) -> bool:
    """Removes the observer's hook; whether there was one."""
    keys = [key for key, hook in module._forward_hooks.items() if hook is observe_output]
    for key in keys:
        del module._forward_hooks[key]
    return bool(keys)


def _check(model: Module, training: bool) -> None:
    """Raises QConfigError for the first module that cannot be what its qconfig says, and if there is none to quantize."""
    backend, table = backend_config_of(engine.engine), {**STATIC, **QAT} if training else STATIC
    parts = {id(part) for module in model.modules() if type(module) in table for part in module.children()}
    wanted = [(p, m) for p, m in model.named_modules() if m.qconfig is not None and id(m) not in parts]
    tables = {id(module): integer_twins(module.qconfig) for _, module in wanted}
    if not any(type(module) in {**table, **tables[id(module)]} for _, module in wanted):
        raise QConfigError(
            "nothing to quantize: no Linear, Conv2d or QuantStub of this model has a qconfig. Set it before, for example "
            "model.qconfig = get_default_qconfig('x86')"
        )
    for path, module in wanted:
        static = tables[id(module)] is STATIC
        if static or type(module) in tables[id(module)] or _weighs(module):
            check_qconfig(path, module, module.qconfig, backend, dynamic=tables[id(module)] is DYNAMIC)
        if training and tables[id(module)] is DYNAMIC and type(module) in DYNAMIC and type(module) not in QAT_DYNAMIC:
            raise QConfigError(
                f"{path or 'the model'} ({type(module).__name__}) has no twin for training with dynamic activations; these "
                f"have: {', '.join(kind.__name__ for kind in QAT_DYNAMIC)}. Keep it in float with {path}.qconfig = None"
            )
        if type(module) in (table if static else tables[id(module)]) and not isinstance(module, DeQuantStub):
            _check_kind(path, module, training, module.qconfig._fields if static else ("weight",))


def _weighs(module: Module) -> bool:
    """Whether a module has weights that a static qconfig would quantize."""
    return issubclass(STATIC.get(type(module), Module), Weighted)


def _check_kind(path: str, module: Module, training: bool, roles: tuple[str, ...]) -> None:
    """Raises QConfigError for fake-quantizers where nothing is trained, and for plain observers where it is."""
    for role in roles:
        factory = getattr(module.qconfig, role)
        if is_fake_quantizer(factory) != training:
            problem = (
                "only observes, so that training would not see quantization: use get_default_qat_qconfig instead of "
                "get_default_qconfig"
                if training
                else "rounds what it observes, for training: use get_default_qconfig, or prepare_qat instead of prepare"
            )
            raise QConfigError(
                f"{path or 'the model'} ({type(module).__name__}): the {role} of its qconfig is {factory!r}, which {problem}"
            )


def observe_output(module: Module, inputs: Any, output: Any) -> Any:
    """The hook that `prepare` registers: what the module puts out goes through its observer."""
    del inputs
    if isinstance(module, QuantStub) and not getattr(module.activation_post_process, "calibrated", True):
        warn_of_noise(output)
    return module.activation_post_process(output)


def _observe(module: Module, more: tuple[type[Any], ...] = ()) -> None:
    """Attaches observers to this module, or, if it will not be exchanged as a whole, to those below it. more: classes that
    get both."""
    if type(module) in (*STATIC, *more):
        wanted = module.qconfig is not None and integer_twins(module.qconfig) is STATIC
        if wanted and not isinstance(module, DeQuantStub):
            factory = module.qconfig.activation
            if type(module) in FIXED:
                factory = FIXED[type(module)][is_fake_quantizer(factory)]
            module.add_module("activation_post_process", factory())
            if not isinstance(module, FloatFunctional):  # whose methods call it
                module.register_forward_hook(observe_output)
    if type(module) not in STATIC:
        for child in module.children():
            _observe(child, more)
