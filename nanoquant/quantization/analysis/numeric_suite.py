"""The numeric suite: a float model and its quantized twin, layer by layer. Names and results are torch.ao.ns._numeric_suite's.

    compare_weights          what both have as weights
    compare_model_outputs    what their layers put out for the same data: errors add up on the way
    compare_model_stub       a layer's own error: the float layer runs as a shadow, on what the quantized one is given

        integers --+--> quantized layer ----------------------> on through the model
                   |                     `--> logger
                   +--> dequantize --> float layer --^

Before: `compare`.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from functools import partialmethod
from typing import Any

import numpy as np

from ...affine import dequantize_as
from ...autograd.tape import no_grad
from ...autograd.tensor import Tensor
from ...module import Module
from ...nn import Identity
from ...nn.layer import as_tensor
from ...nn.quantized.functionals import METHODS
from ...nn.quantized.quantize import DeQuantize
from ...qparams import QParams
from ...qtensor import QTensor
from ...scheme import qint8
from .profile import watch, watched_layers

Pairs = dict[str, dict[str, Any]]


class Logger(Module):
    """Keeps in `stats` what it is called with; the base of loggers of your own."""

    def __init__(self) -> None:
        super().__init__()
        self.stats: dict[str, list[Any]] = {}

    def keep(self, name: str, value: Any) -> None:
        """Adds to a list of `stats`: of a recurrent layer's results, the first."""
        self.stats.setdefault(name, []).append(as_tensor(value[0] if isinstance(value, tuple) else value).detach())

    def see(self, *call: Any) -> None:
        """A forward hook: calls this logger with the layer's output."""
        self(call[-1])


class OutputLogger(Logger):
    """Keeps a layer's outputs as stats["tensor_val"]."""

    def forward(self, x: Any) -> Any:
        """x."""
        self.keep("tensor_val", x)
        return x


class ShadowLogger(Logger):
    """Keeps a quantized layer's outputs as stats["quantized"], and its shadow's as stats["float"]."""

    def forward(self, x: Any, y: Any) -> None:
        """x: of the quantized layer; y: of its shadow."""
        self.keep("quantized", x)
        self.keep("float", y)


class Shadow(Module):
    """A quantized layer, whose result it returns, and its float twin beside it."""

    def __init__(self, q_module: Module, float_module: Module, logger_cls: type[Logger] = ShadowLogger) -> None:
        super().__init__()
        self.orig_module, self.shadow_module, self.logger = q_module, float_module, logger_cls()

    def _both(self, name: str, *x: Any) -> Any:
        y = getattr(self.orig_module, name)(*x)
        floats = [v.dequantize() if isinstance(v, QTensor) else v for v in x]
        self.logger(y, getattr(self.shadow_module, name)(*floats))
        return y

    forward = partialmethod(_both, "__call__")


for _name in METHODS:  # a functional's
    setattr(Shadow, _name, partialmethod(Shadow._both, _name))


def compare_weights(float_dict: Mapping[str, Any], quantized_dict: Mapping[str, Any]) -> Pairs:
    """Of two state dicts, the weights that both have: {"conv1.weight": {"float": ..., "quantized": a QTensor}, ...}.

    A fused layer's weights are found in its first part, an LSTM's ("lstm.ih_l0.weight") as torch calls them in float.

    >>> from nanoquant import nn, quantization
    >>> model = nn.Sequential(nn.Linear(4, 2))
    >>> twin = quantization.quantize_dynamic(model)
    >>> pair = compare_weights(model.state_dict(), twin.state_dict())["0.weight"]
    >>> bool(abs(pair["float"] - pair["quantized"].dequantize()).max() < 0.01)
    True
    """
    found = {}
    for key, values in quantized_dict.items():
        path, _, name = key.rpartition(".")
        above, _, last = path.rpartition(".")
        names = (f"{path}.weight", f"{path}.0.weight", f"{above}.weight_{last}".removeprefix("."))
        match = next((own for own in names if own in float_dict), None)
        if name == "weight_values" and match is not None:
            scale, zero_point = (np.asarray(quantized_dict[f"{path}.weight_{part}"]) for part in ("scale", "zero_point"))
            weight, integers = Tensor(np.asarray(float_dict[match])), np.asarray(values)
            axes = [axis for axis in (0, 1) if integers.shape[axis] == scale.size] if scale.ndim else [None]
            grids = [QParams(scale, zero_point, qint8, axis) for axis in axes]  # the axis is not in the dict
            best = min(grids, key=lambda grid: float(np.abs(dequantize_as(integers, grid) - weight.array).sum()))
            found[f"{path}.weight"] = {"float": weight, "quantized": QTensor(integers, best)}
    return found


def get_logger_dict(mod: Module, prefix: str = "") -> dict[str, dict[str, list[Any]]]:
    """What the loggers in a model have kept: {"conv1.stats": {"tensor_val": [...]}, ...}."""
    found = {}
    for path, module in mod.named_modules():
        if isinstance(logger := module._modules.get("logger"), Logger):
            found[".".join(filter(None, (prefix, path, "stats")))] = logger.stats
    return found


def prepare_model_outputs(
    float_module: Module, q_module: Module, logger_cls: type[Logger] = OutputLogger, allow_list: Collection[type] | None = None
) -> None:
    """Gives loggers to the layers that two models have at the same path. allow_list: types of either's layers."""
    twins = dict(float_module.named_modules())
    for path, layer in watched_layers(q_module).items():
        twin = twins.get(path) if path and not isinstance(layer, (Identity, DeQuantize)) else None
        if twin is not None and (allow_list is None or type(layer) in allow_list or type(twin) in allow_list):
            for each in (layer, twin):
                each.logger = logger = logger_cls()
                watch(each, lambda *_: None, logger.see)


def get_matching_activations(float_module: Module, q_module: Module) -> Pairs:
    """What the loggers of `prepare_model_outputs` have kept: {"conv1.stats": {"float": [...], "quantized": [...]}, ...}."""
    floats, integers = get_logger_dict(float_module), get_logger_dict(q_module)
    return {
        key: {"float": floats[key]["tensor_val"], "quantized": stats["tensor_val"]}
        for key, stats in integers.items()
        if key in floats and "tensor_val" in stats
    }


def compare_model_outputs(
    float_model: Module, q_model: Module, *data: Any, logger_cls: type[Logger] = OutputLogger,
    allow_list: Collection[type] | None = None,
) -> Pairs:  # fmt: skip
    """Runs copies of both on the same data: `get_matching_activations` of `prepare_model_outputs`."""
    pair = copy.deepcopy(float_model), copy.deepcopy(q_model)
    prepare_model_outputs(*pair, logger_cls, allow_list)
    with no_grad():
        for model in pair:
            model(*data)
    return get_matching_activations(*pair)


def prepare_model_with_stubs(
    float_module: Module, q_module: Module, module_swap_list: Collection[type], logger_cls: type[Logger] = ShadowLogger
) -> None:
    """Puts a `Shadow` in the place of every quantized layer or block whose float twin is of a type in the list."""
    for name, layer in list(q_module._modules.items()):
        twin = float_module._modules.get(name)
        if layer is not None and twin is not None:
            if type(twin) in module_swap_list and list(map(type, layer.modules())) != list(map(type, twin.modules())):
                setattr(q_module, name, Shadow(layer, twin, logger_cls))
            else:
                prepare_model_with_stubs(twin, layer, module_swap_list, logger_cls)


def compare_model_stub(
    float_model: Module, q_model: Module, module_swap_list: Collection[type], *data: Any, logger_cls: type[Logger] = ShadowLogger
) -> Pairs:
    """Runs a copy of the quantized model with shadows: {"conv1.stats": {"float": [...], "quantized": [...]}, ...}."""
    model = copy.deepcopy(q_model)
    prepare_model_with_stubs(float_model, model, module_swap_list, logger_cls)
    with no_grad():
        model(*data)
    return get_logger_dict(model)
