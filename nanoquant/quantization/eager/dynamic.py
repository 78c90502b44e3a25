"""Dynamic quantization in one call: int8 weights, activations quantized as they come.

Before: `convert`. After: `nanoquant.io`.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ...kernels.engine import quantized as engine
from ...module import Module
from ...nn.quantized.dynamic import Dynamic
from ...scheme import QDType, qint8, quint4, quint8
from ..backend_config import backend_config_of, check_qconfig
from ..mappings import DYNAMIC, DYNAMIC_UNASKED, EMBEDDINGS, RECURRENT, WEIGHT_ONLY, Mapping, integer_twins
from ..presets import (
    default_dynamic_qconfig,
    float16_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
    per_channel_dynamic_qconfig,
)
from ..qconfig import QConfig, QConfigError
from ..qconfig_mapping import QConfigMapping, propagate_qconfig_
from .convert import without_qconfigs
from .prepare import exchange, twins

Spec = set[Any] | dict[Any, QConfig | None] | QConfigMapping
_BY_DTYPE: dict[Any, tuple[Mapping, QConfig]] = {
    qint8: (DYNAMIC_UNASKED, default_dynamic_qconfig),
    np.dtype(np.float16): (DYNAMIC_UNASKED, float16_dynamic_qconfig),
    quint8: (EMBEDDINGS, float_qparams_weight_only_qconfig),
    quint4: (EMBEDDINGS, float_qparams_weight_only_qconfig_4bit),
}


def quantize_dynamic(
    model: Module, qconfig_spec: Spec | None = None, dtype: QDType | np.dtype[Any] | type[np.float16] = qint8,
    mapping: Mapping | None = None, inplace: bool = False, *, per_row: bool = False,
) -> Module:  # fmt: skip
    """Exchanges layers for twins with quantized weights; no calibration, no stubs.

    qconfig_spec: types or paths of the modules to exchange, as a set, as a dict to qconfigs (None: not this one), or a
    QConfigMapping; by default every layer that the dtype is usual for. Without a qconfig, recurrent layers get
    `per_channel_dynamic_qconfig` (torch: one scale, which costs LSTMs accuracy), the others `default_dynamic_qconfig`. A path
    wins over a type, a module's own `qconfig` over both.

    dtype: of the weights, where no qconfig says it: qint8 or float16, of linear and recurrent layers (the products of float16
    weights are float32's), quint8 or quint4, of embeddings. per_row: each row of a batch is quantized by its own range, so
    that its result is the same in any batch; torch, and the default, take the range of all. Returns a new model, unless
    inplace.

    Raises QConfigError for a type without such a twin, a path without such a module, a qconfig that wants calibration, and
    per_row where no layer has ranges.

    >>> from nanoquant import nn
    >>> quantize_dynamic(nn.Sequential(nn.Linear(2, 3)), {nn.ReLU})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    nanoquant.quantization.qconfig.QConfigError: ReLU has no dynamic twin; these have: Linear, LSTM, GRU, RNN, LSTMCell, \
GRUCell, RNNCell, ...
    """
    known = {np.dtype(dtype) if dtype is np.float16 else dtype} & _BY_DTYPE.keys()
    if not known:
        raise QConfigError(f"weights are qint8, float16, quint8 or quint4; got {dtype!r}")
    usual, default = _BY_DTYPE[known.pop()]
    if not isinstance(qconfig_spec, dict | QConfigMapping):
        kinds = (usual if mapping is None else mapping) if qconfig_spec is None else qconfig_spec
        of_recurrent = per_channel_dynamic_qconfig if default is default_dynamic_qconfig else default
        qconfig_spec = {kind: of_recurrent if kind in RECURRENT else default for kind in kinds}
    chosen = QConfigMapping.from_flat(qconfig_spec) if isinstance(qconfig_spec, dict) else qconfig_spec
    named = qconfig_spec if isinstance(qconfig_spec, dict) else qconfig_spec.object_type_qconfigs
    everything = {**DYNAMIC, **WEIGHT_ONLY}
    table = {k: v for k, v in everything.items() if k in {**DYNAMIC_UNASKED, **EMBEDDINGS} or k in named}
    _check(model, chosen, everything if mapping is None else mapping)
    converted = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(converted, chosen)
    backend = backend_config_of(engine.engine)

    def asked(qconfig: QConfig) -> Mapping:
        own = WEIGHT_ONLY if integer_twins(qconfig) is WEIGHT_ONLY else DYNAMIC
        return {k: own[k] for k in table if k in own} if mapping is None else mapping

    for path, module in converted.named_modules():
        if module.qconfig is not None and type(module) in (table if mapping is None else mapping):
            check_qconfig(path, module, module.qconfig, backend, dynamic=integer_twins(module.qconfig) is not WEIGHT_ONLY)
    converted = without_qconfigs(exchange(converted, twins(asked)))
    return _with_ranges_per_row(converted) if per_row else converted


def _with_ranges_per_row(model: Module) -> Module:
    """The model, changed in place; QConfigError if none of its layers has ranges."""
    layers = [module for module in model.modules() if isinstance(module, Dynamic)]
    if not layers:
        raise QConfigError("per_row=True, but no layer's activations are quantized: only int8 dynamic layers have ranges")
    for layer in layers:
        layer.per_row = True
    return model


def _check(model: Module, chosen: QConfigMapping, table: Mapping) -> None:
    """Raises QConfigError for what is named and not there, and for what has no twin."""
    chosen.check(model)
    targets = [{kind} for kind, qconfig in chosen.object_type_qconfigs.items() if qconfig is not None]
    targets += [{type(part) for part in model.get_submodule(path).modules()} for path in chosen.module_name_qconfigs]
    for kinds in targets:
        if not any(kind in table or kind in (k.__name__ for k in table) for kind in kinds):
            names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
            raise QConfigError(f"{names} has no dynamic twin; these have: {', '.join(k.__name__ for k in table)}")
