"""Dynamic quantization in one call: int8 weights, activations quantized as they come.

Before: `convert`. After: `nanoquant.io`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...kernels.engine import quantized as engine
from ...module import Module
from ...scheme import QDType, qint8
from ..backend_config import backend_config_of, check_qconfig
from ..mappings import DYNAMIC, RECURRENT, Mapping
from ..presets import default_dynamic_qconfig, per_channel_dynamic_qconfig
from ..qconfig import QConfig, QConfigError
from ..qconfig_mapping import QConfigMapping, propagate_qconfig_
from .convert import without_qconfigs
from .prepare import exchange, twins

Spec = set[Any] | dict[Any, QConfig | None] | QConfigMapping


def quantize_dynamic(
    model: Module,
    qconfig_spec: Spec | None = None,
    dtype: QDType = qint8,
    mapping: Mapping | None = None,
    inplace: bool = False,
) -> Module:
    """Exchanges layers for twins with int8 weights; no calibration, no stubs.

    qconfig_spec: types or paths of the modules to exchange, as a set, as a dict to qconfigs (None: not this one), or a
    QConfigMapping; by default every Linear and recurrent layer. Without a qconfig, recurrent layers get
    `per_channel_dynamic_qconfig` (torch: one scale, which costs LSTMs accuracy), the others `default_dynamic_qconfig`. A path
    wins over a type, a module's own `qconfig` over both. dtype: of the weights; qint8. Returns a new model, unless inplace.

    Raises QConfigError for a type without dynamic twin, a path without such a module, and a qconfig that is not dynamic.

    >>> from nanoquant import nn
    >>> quantize_dynamic(nn.Sequential(nn.Linear(2, 3)), {nn.Conv2d})
    Traceback (most recent call last):
    nanoquant.quantization.qconfig.QConfigError: Conv2d has no dynamic twin; these have: Linear, LSTM, GRU, RNN, LSTMCell, \
GRUCell, RNNCell
    """
    if dtype != qint8:
        raise QConfigError(f"dynamic quantization has qint8 weights; got {dtype!r}")
    table = DYNAMIC if mapping is None else mapping
    if not isinstance(qconfig_spec, dict | QConfigMapping):
        kinds = table if qconfig_spec is None else qconfig_spec
        qconfig_spec = {k: per_channel_dynamic_qconfig if k in RECURRENT else default_dynamic_qconfig for k in kinds}
    chosen = QConfigMapping.from_flat(qconfig_spec) if isinstance(qconfig_spec, dict) else qconfig_spec
    chosen.check(model)
    targets = [{kind} for kind, qconfig in chosen.object_type_qconfigs.items() if qconfig is not None]
    targets += [{type(part) for part in model.get_submodule(path).modules()} for path in chosen.module_name_qconfigs]
    for kinds in targets:
        if not any(kind in table or kind in (k.__name__ for k in table) for kind in kinds):
            names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
            raise QConfigError(f"{names} has no dynamic twin; these have: {', '.join(k.__name__ for k in table)}")
    converted = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(converted, chosen)
    backend = backend_config_of(engine.engine)
    for path, module in converted.named_modules():
        if type(module) in table:
            check_qconfig(path, module, module.qconfig, backend, dynamic=True)
    return without_qconfigs(exchange(converted, twins(table, engine.profile)))
