"""Dynamic quantization in one call: int8 weights, activations quantized as they come.

Before: `convert`. After: `nanoquant.io`.
"""

from __future__ import annotations

import copy
from typing import Any

from ...kernels.engine import quantized as engine
from ...module import Module
from ...scheme import QDType, qint8
from ..mappings import DYNAMIC, Mapping
from ..presets import default_dynamic_qconfig
from ..qconfig import QConfig, QConfigError
from .convert import exchange, inherit

Spec = set[Any] | dict[Any, QConfig | None]


def quantize_dynamic(
    model: Module,
    qconfig_spec: Spec | None = None,
    dtype: QDType = qint8,
    mapping: Mapping | None = None,
    inplace: bool = False,
) -> Module:
    """Exchanges layers for twins with int8 weights; no calibration, no stubs.

    qconfig_spec: types or paths of the modules to exchange, as a set, or as a dict to qconfigs (None: not this one);
    by default every Linear, with `default_dynamic_qconfig`. A path wins over a type. dtype: of the weights; qint8.
    Returns a new model, unless inplace.

    Raises QConfigError for a type without dynamic twin and for a path that names no such module.

    >>> from nanoquant import nn
    >>> quantize_dynamic(nn.Sequential(nn.Linear(2, 3)), {nn.Conv2d})
    Traceback (most recent call last):
    nanoquant.quantization.qconfig.QConfigError: Conv2d has no dynamic twin; these have: Linear
    """
    if dtype != qint8:
        raise QConfigError(f"dynamic quantization has qint8 weights; got {dtype!r}")
    table = DYNAMIC if mapping is None else mapping
    chosen: dict[Any, QConfig | None]
    if isinstance(qconfig_spec, dict):
        chosen = qconfig_spec
    else:
        chosen = dict.fromkeys(table if qconfig_spec is None else qconfig_spec, default_dynamic_qconfig)
    for key in chosen:
        target = key if isinstance(key, type) else type(model.get_submodule(key))
        if target not in table:
            raise QConfigError(
                f"{target.__name__} has no dynamic twin; these have: {', '.join(k.__name__ for k in table)}"
            )

    def dynamic_twin(layer: Module, path: str) -> Module | None:
        layer_qconfig = chosen.get(path, chosen.get(type(layer)))
        if type(layer) not in table or layer_qconfig is None:
            return None
        layer.qconfig = layer_qconfig
        target: Any = table[type(layer)]
        return inherit(target.from_float(layer, engine.profile), layer)

    return exchange(model if inplace else copy.deepcopy(model), dynamic_twin)
