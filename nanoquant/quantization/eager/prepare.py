"""Prepare: observers where convert will need scales.

Before: `nanoquant.quantization.fusion`. After: `convert`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...module import Module
from ..mappings import FLOAT_ONLY, QAT, STATIC, Mapping
from ..qconfig import QConfigError, is_fake_quantizer
from ..stubs import DeQuantStub


def propagate_qconfig_(module: Module, qconfig: Any = None) -> None:
    """Gives every module below the qconfig of its nearest ancestor, unless it has one of its own; None stops it."""
    own = module.__dict__.get("qconfig", qconfig)
    module.qconfig = own
    for child in module.children():
        propagate_qconfig_(child, own)


def prepare(model: Module, inplace: bool = False) -> Module:
    """Attaches an observer to the output of every module that will be quantized. Then run calibration data through it.

    A module is quantized if it, or an ancestor, has a `qconfig`, and `mappings.STATIC` knows it; a module's own qconfig
    wins, and `qconfig = None` leaves it in float. Returns a new model, unless inplace.

    Raises QConfigError when no module would be quantized, or when one cannot be.
    """
    prepared = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(prepared)
    _check(prepared)
    _observe(prepared)
    return prepared


def prepare_qat(model: Module, mapping: Mapping | None = None, inplace: bool = False) -> Module:
    """Exchanges layers for their quantization-aware twins and attaches fake-quantizers to what they put out. Then
    train.

    The model must be in training mode, and its qconfigs must make fake-quantizers (`get_default_qat_qconfig`): plain
    observers would let training see no rounding at all, and are a QConfigError. mapping: `mappings.QAT` by default.
    Returns a new model, unless inplace.
    """
    if not model.training:
        raise RuntimeError("prepare_qat needs training mode: call model.train() first")
    prepared = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(prepared)
    for path, module in prepared.named_modules():
        if type(module) in STATIC and module.qconfig is not None and not isinstance(module, DeQuantStub):
            for role, factory in (("activation", module.qconfig.activation), ("weight", module.qconfig.weight)):
                if not is_fake_quantizer(factory):
                    raise QConfigError(
                        f"{path or 'the model'} ({type(module).__name__}): the {role} of its qconfig is {factory!r}, which only "
                        "observes, so that training would not see quantization: use get_default_qat_qconfig instead of "
                        "get_default_qconfig"
                    )
    _check(prepared)
    prepared = _with_twins(prepared, QAT if mapping is None else mapping)
    _observe(prepared)
    return prepared


def _check(model: Module) -> None:
    if not any(module.qconfig is not None and type(module) in {**STATIC, **QAT} for module in model.modules()):
        raise QConfigError(
            "nothing to quantize: no Linear, Conv2d or QuantStub of this model has a qconfig. Set it before, for example "
            "model.qconfig = get_default_qconfig('x86')"
        )
    fused = {id(part) for module in model.modules() if type(module) in QAT for part in module.modules()}
    for path, module in model.named_modules():
        cure = FLOAT_ONLY.get(type(module))
        if cure and module.qconfig is not None and id(module) not in fused:
            raise QConfigError(
                f"{path} ({type(module).__name__}) has no integer twin: {cure}, or keep it in float with {path}.qconfig = None "
                "between a DeQuantStub and a QuantStub"
            )


def _with_twins(module: Module, table: Mapping) -> Module:
    """The module with every layer that has a qconfig and a QAT twin exchanged for it."""
    if type(module) in table and module.qconfig is not None:
        target: Any = table[type(module)]
        twin: Module = target.from_float(module)
        twin._forward_pre_hooks, twin._forward_hooks = module._forward_pre_hooks, module._forward_hooks
        return twin.train(module.training)
    for name, child in module.named_children():
        module._modules[name] = _with_twins(child, table)
    return module


def observe_output(module: Module, inputs: Any, output: Any) -> Any:
    """The hook that `prepare` registers: what the module puts out goes through its observer."""
    del inputs
    return module.activation_post_process(output)


def _observe(module: Module) -> None:
    """Attaches observers to this module, or, if it will not be exchanged as a whole, to those below it."""
    if type(module) in STATIC:
        if module.qconfig is not None and not isinstance(module, DeQuantStub):
            module.add_module("activation_post_process", module.qconfig.activation())
            module.register_forward_hook(observe_output)
        return
    for child in module.children():
        _observe(child)
