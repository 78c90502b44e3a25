"""Graph mode: torch's functions, each a row of passes.

    prepare_fx    trace -> functions to layers -> fuse -> match -> observe
    convert_fx    lower
    convert_to_reference_fx    lower -> reference

Source: torch.ao.quantization.quantize_fx. Before: `custom_config`. After: `nanoquant.quantization.quantize_fx`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...module import Module
from ..backend_config import BackendConfig, check_qconfig
from ..qconfig import QConfigError
from ..qconfig_mapping import QConfigMapping, propagate_qconfig_
from .custom_config import ConvertCustomConfig, FuseCustomConfig, PrepareCustomConfig, made
from .explain import mark, rule_of, rules_of
from .functions import functions_to_layers
from .fuse import fuse
from .lower import lower
from .module import GraphModule
from .observe import observe
from .reference import to_reference
from .trace import Tracer

Mapping = QConfigMapping | dict[Any, Any]


def prepare_fx(
    model: Module,
    qconfig_mapping: Mapping,
    example_inputs: Any = None,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    _equalization_config: Any = None,
    backend_config: BackendConfig | None = None,
) -> GraphModule:
    """A copy of a model in evaluation mode, traced, fused and observed. Then run calibration data through it.

    qconfig_mapping: a QConfigMapping, or the dict of 2021: {"": qconfig, "object_type": [...], "module_name": [...],
    "module_name_regex": [...]}. example_inputs: not used; torch asks for it. Stubs are placed by the tool; x + y, cat, matmul and
    functions of `nn.functional` need no module. backend_config: checked beside the engine's own.

    Raises TraceError for control flow that depends on values, with the line; QConfigError for what cannot be honoured.

    >>> from nanoquant import nn
    >>> from nanoquant.quantization import convert_fx, get_default_qconfig_mapping, prepare_fx
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    >>> prepared = prepare_fx(model, get_default_qconfig_mapping())
    >>> _ = prepared(np.ones((8, 4), np.float32))
    >>> print(convert_fx(prepared).code)
    def forward(self, input):
        input_quantize = self.input_quantize(input);  input = None
        _0 = getattr(self, "0")(input_quantize);  input_quantize = None
        _0_dequantize = self._0_dequantize(_0);  _0 = None
        return _0_dequantize
    <BLANKLINE>
    """
    del example_inputs
    return _prepare(model, qconfig_mapping, prepare_custom_config, backend_config, _equalization_config, training=False)


def prepare_qat_fx(
    model: Module, qconfig_mapping: Mapping, example_inputs: Any = None,
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None, backend_config: BackendConfig | None = None,
) -> GraphModule:  # fmt: skip
    """`prepare_fx` for training: of a model in training mode, with fake-quantizers. Then train."""
    del example_inputs
    if not model.training:
        raise RuntimeError("prepare_qat_fx needs training mode: call model.train() first, or use prepare_fx")
    return _prepare(model, qconfig_mapping, prepare_custom_config, backend_config, None, training=True)


def _prepare(
    model: Module, qconfig_mapping: Mapping, custom: Any, backend: BackendConfig | None, equalization: Any, training: bool
) -> GraphModule:  # fmt: skip
    if equalization is not None:
        raise NotImplementedError("_equalization_config is not supported: pass None")
    config = made(custom, PrepareCustomConfig)
    mapping = QConfigMapping.from_dict(qconfig_mapping) if isinstance(qconfig_mapping, dict) else qconfig_mapping
    if not isinstance(mapping, QConfigMapping):
        raise QConfigError(f"qconfig_mapping must be a QConfigMapping or a dict; got {type(mapping).__name__}")
    root = copy.deepcopy(model)
    rules = rules_of(root, mapping)
    propagate_qconfig_(root, mapping)
    leaves, classes = _keep_whole(root, config, mapping, backend, training)
    gm = _traced(root, leaves, classes, config)
    places: dict[str, Any] = {}
    functions_to_layers(gm, root, mapping, places)
    rules |= {path: rule_of(mapping, *place) for path, place in places.items()}
    fuse(gm, training)
    mark(gm, rules)
    if backend is not None:
        for path, module in gm.named_modules():
            check_qconfig(path, module, getattr(module, "qconfig", None), backend)
    return observe(gm, config, training)


def _keep_whole(
    root: Module, config: PrepareCustomConfig, mapping: Mapping, backend: BackendConfig | None, training: bool
) -> tuple[list[str], tuple[type[Any], ...]]:
    """Prepares standalone and custom modules, takes the qconfigs of those that are not traced; names and classes of all."""
    observed = config.float_to_observed_mapping.get("static", {})
    names = [*config.non_traceable_module_names]
    for path, module in list(root.named_modules()):
        parent, _, name = path.rpartition(".")
        how = config.standalone(path, module) if path else None
        if how is not None:
            own, _, custom, its_backend = how
            for part in module.modules():
                part.__dict__.pop("qconfig", None)
            inner = _prepare(module, own or _global(mapping), custom, its_backend or backend, None, training)
            root.get_submodule(parent)._modules[name] = inner
            names.append(path)
        elif type(module) in observed and getattr(module, "qconfig", None) is not None:
            twin = observed[type(module)].from_float(module)
            twin.qconfig = module.qconfig
            root.get_submodule(parent)._modules[name] = twin
        elif path in config.non_traceable_module_names or type(module) in config.non_traceable_module_classes:
            for part in module.modules():
                part.qconfig = None
    for path in config.non_traceable_module_names:
        root.get_submodule(path)
    return names, (*config.non_traceable_module_classes, *observed.values())


def _global(mapping: Mapping) -> QConfigMapping:
    """What a mapping says of everything and of types: paths are the outer model's."""
    assert isinstance(mapping, QConfigMapping)
    return QConfigMapping(mapping.global_qconfig, dict(mapping.object_type_qconfigs))


def _traced(root: Module, names: Any, classes: Any, config: FuseCustomConfig) -> GraphModule:
    gm = GraphModule(root, Tracer(root, names, classes).trace())
    preserve(gm, root, config)
    return gm


def preserve(gm: GraphModule, model: Module, config: FuseCustomConfig) -> None:
    """Gives the graph the attributes that the config names; AttributeError for one that the model has not."""
    gm.notes["preserved"] = [*gm.notes.get("preserved", ()), *config.preserved_attributes]
    for name in config.preserved_attributes:
        setattr(gm, name, getattr(model, name))


def fuse_fx(
    model: Module, fuse_custom_config: FuseCustomConfig | dict[str, Any] | None = None, backend_config: Any = None
) -> GraphModule:
    """A copy of a model in evaluation mode, traced, with every pattern fused."""
    del backend_config
    if model.training:
        raise RuntimeError("fuse_fx needs evaluation mode: call model.eval() first")
    root = copy.deepcopy(model)
    gm = _traced(root, (), (), made(fuse_custom_config, FuseCustomConfig))
    fuse(gm, training=False)
    return gm


def convert_fx(
    graph_module: GraphModule,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: Any = None,
    backend_config: BackendConfig | None = None,
) -> GraphModule:
    """What prepare_fx or prepare_qat_fx returned, calibrated or trained, in integers: a copy.

    Raises NotCalibratedError, naming the layer, when an observer has seen no data; TypeError for what is no graph.
    """
    del qconfig_mapping, backend_config
    if not isinstance(graph_module, GraphModule) or "ends" not in graph_module.notes:
        raise TypeError(f"convert_fx takes what prepare_fx returned; got {type(graph_module).__name__}")
    config = made(convert_custom_config, ConvertCustomConfig)
    lowered = lower(graph_module, config.observed_to_quantized_mapping.get("static", {}), _remove_qconfig)
    preserve(lowered, graph_module, config)
    return lowered


def convert_to_reference_fx(graph_module: GraphModule, *args: Any, **options: Any) -> GraphModule:
    """`convert_fx`, computed by the NumPy specification: the same integers, bit for bit, slowly."""
    return to_reference(convert_fx(graph_module, *args, **options))
