"""The whole workflow in one call, and stubs put around modules.

Before: `dynamic`. After: `nanoquant.io`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...autograd.tape import no_grad
from ...module import Module
from ..mappings import STATIC, Mapping
from ..stubs import DeQuantStub, QuantStub
from .convert import convert
from .prepare import exchange, made, prepare, prepare_qat

Run = Callable[..., Any]


class QuantWrapper(Module):
    """A module between a QuantStub and a DeQuantStub of its own.

    >>> from nanoquant import nn
    >>> QuantWrapper(nn.Linear(2, 3))
    QuantWrapper(
      (quant): QuantStub()
      (dequant): DeQuantStub()
      (module): Linear(in_features=2, out_features=3, bias=True)
    )
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        qconfig = getattr(module, "qconfig", None)
        self.quant, self.dequant, self.module = QuantStub(qconfig), DeQuantStub(), module
        if qconfig is not None:
            self.qconfig = qconfig
        self.train(module.training)

    def forward(self, *inputs: Any) -> Any:
        """The module, of quantized inputs; its output in floats."""
        return self.dequant(self.module(*(self.quant(x) for x in inputs)))


def add_quant_dequant(module: Module) -> Module:
    """Wraps every module below that has a qconfig of its own, and a twin in integers, in a QuantWrapper. In place, but for
    the module itself, which is returned, perhaps wrapped. Call `propagate_qconfig_` before.
    """

    def wrapped(layer: Module, path: str) -> Module | None:
        del path
        wanted = getattr(layer, "qconfig", None) is not None and type(layer) in STATIC
        return QuantWrapper(layer) if wanted and not isinstance(layer, QuantStub | DeQuantStub) else None

    return exchange(module, wrapped)


def swap_module(mod: Module, mapping: Mapping, custom_module_class_mapping: Mapping | None = None) -> Module:
    """The module's twin of a table, if it has a qconfig and a class that the table knows; else the module."""
    table = {**mapping, **(custom_module_class_mapping or {})}
    return made(table[type(mod)], mod) if getattr(mod, "qconfig", None) is not None and type(mod) in table else mod


def default_eval_fn(model: Module, calib_data: Iterable[Any]) -> None:
    """Runs (input, target) pairs through the model, without gradients: what `quantize` may be given to calibrate with."""
    with no_grad():
        for data, _ in calib_data:
            model(data)


def quantize(
    model: Module, run_fn: Run, run_args: Sequence[Any], mapping: Mapping | None = None, inplace: bool = False
) -> Module:
    """prepare, run_fn(model, *run_args), convert: post-training quantization of a model with qconfigs and stubs.

    >>> from nanoquant import nn, quantization
    >>> model = QuantWrapper(nn.Linear(2, 3))
    >>> model.qconfig = quantization.default_qconfig
    >>> type(quantize(model, default_eval_fn, [[(nq.ones(4, 2), None)]]).module).__module__
    'nanoquant.nn.quantized.linear'
    """
    prepared = prepare((model if inplace else copy.deepcopy(model)).eval(), inplace=True)
    run_fn(prepared, *run_args)
    return convert(prepared, mapping, inplace=True)


def quantize_qat(model: Module, run_fn: Run, run_args: Sequence[Any], inplace: bool = False) -> Module:
    """prepare_qat, run_fn(model, *run_args), which trains, convert."""
    prepared = prepare_qat((model if inplace else copy.deepcopy(model)).train(), inplace=True)
    run_fn(prepared, *run_args)
    return convert(prepared.eval(), inplace=True)
