"""Presets: the observers, fake-quantizers and qconfigs that torch gives a name, and the defaults of each engine.

All are factories. Numbers are torch's, but for one: observers of weights that train are memoryless (averaging_constant
1), so that ranges follow the weights at once; torch's comments say so, but its presets average with 0.01.

Source: torch.ao.quantization 2.13, `observer`, `fake_quantize`, `qconfig`. Before: `qconfig`. After: `qconfig_mapping`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..calibration.group import MovingAveragePerGroupMinMaxObserver
from ..numerics import ENGINES
from ..observers import (
    FixedQParamsObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    NoopObserver,
    Partial,
    PerChannelMinMaxObserver,
    PerGroupMinMaxObserver,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
)
from ..scheme import (
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_group_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
    qint4,
    qint8,
    quint4,
    quint8,
)
from .fake_quantize import FakeQuantize, FixedQParamsFakeQuantize, FusedMovingAvgObsFakeQuantize
from .qconfig import QConfig

# What several presets share. XNNPACK, behind torch's QNNPACK, wants scales of 2^-12 or more, and weights without -128.
_PER_TENSOR: dict[str, Any] = {"dtype": qint8, "qscheme": per_tensor_symmetric}
_PER_CHANNEL: dict[str, Any] = {"dtype": qint8, "qscheme": per_channel_symmetric}
_XNNPACK: dict[str, Any] = {"quant_min": -127, "quant_max": 127, "eps": 2**-12}
_PER_GROUP: dict[str, Any] = {"dtype": qint4, "qscheme": per_group_symmetric, "group_size": 32}
_EMBEDDING: dict[str, Any] = {"qscheme": per_channel_affine_float_qparams, "ch_axis": 0}

# ---- observers -------------------------------------------------------------------------------------------------------

default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
default_placeholder_observer = PlaceholderObserver.with_args(dtype=np.float32)
default_debug_observer = RecordingObserver.with_args()
default_reuse_input_observer = ReuseInputObserver.with_args()
default_dynamic_quant_observer = PlaceholderObserver.with_args(dtype=quint8, quant_min=0, quant_max=255, is_dynamic=True)
default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(scale=1 / 256, zero_point=0)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(scale=2 / 256, zero_point=128)

default_weight_observer = MinMaxObserver.with_args(**_PER_TENSOR)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(**_PER_CHANNEL)
weight_observer_range_neg_127_to_127 = default_weight_observer.with_args(**_XNNPACK)
per_channel_weight_observer_range_neg_127_to_127 = default_per_channel_weight_observer.with_args(**_XNNPACK)
int4_group_observer = PerGroupMinMaxObserver.with_args(**_PER_GROUP)
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(dtype=quint8, **_EMBEDDING)
default_float_qparams_observer_4bit = PerChannelMinMaxObserver.with_args(dtype=quint4, **_EMBEDDING)

# ---- fake-quantizers -------------------------------------------------------------------------------------------------

_uint8 = FakeQuantize.with_args(quant_min=0, quant_max=255, dtype=quint8)
default_fake_quant = _uint8.with_args(observer=MovingAverageMinMaxObserver, qscheme=per_tensor_affine, reduce_range=True)
default_histogram_fake_quant = default_fake_quant.with_args(observer=HistogramObserver)
default_dynamic_fake_quant = _uint8.with_args(observer=MovingAverageMinMaxObserver, is_dynamic=True, averaging_constant=1)
default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=quint8
)
default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_0to1_observer
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)


def _of_weights(fake_quantizer: type[FakeQuantize], **arguments: Any) -> Partial:
    """A memoryless fake-quantizer, with a range per tensor, channel or group as its qscheme says."""
    kinds = {"tensor": MovingAverageMinMaxObserver, "group": MovingAveragePerGroupMinMaxObserver}
    observer = kinds.get(arguments["qscheme"].granularity, MovingAveragePerChannelMinMaxObserver)
    return fake_quantizer.with_args(**{"observer": observer, "averaging_constant": 1, **arguments})


_INT8 = {"quant_min": -128, "quant_max": 127}
default_weight_fake_quant = _of_weights(FakeQuantize, **_INT8, **_PER_TENSOR)
default_per_channel_weight_fake_quant = _of_weights(FakeQuantize, **_INT8, **_PER_CHANNEL)
default_fused_wt_fake_quant = _of_weights(FusedMovingAvgObsFakeQuantize, **_INT8, **_PER_TENSOR)
default_fused_per_channel_wt_fake_quant = _of_weights(FusedMovingAvgObsFakeQuantize, **_INT8, **_PER_CHANNEL)
fused_wt_fake_quant_range_neg_127_to_127 = default_fused_wt_fake_quant.with_args(**_XNNPACK)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = default_fused_per_channel_wt_fake_quant.with_args(**_XNNPACK)
int4_group_fake_quant = _of_weights(FakeQuantize, **_PER_GROUP)
default_embedding_fake_quant = _of_weights(FakeQuantize, dtype=quint8, **_EMBEDDING)
default_embedding_fake_quant_4bit = _of_weights(FakeQuantize, dtype=quint4, **_EMBEDDING)

# ---- qconfigs --------------------------------------------------------------------------------------------------------

_int8_histogram = HistogramObserver.with_args(dtype=qint8, eps=2**-12)
_int8_fused = default_fused_act_fake_quant.with_args(dtype=qint8, **_INT8, eps=2**-12)
_float16, _float16_dynamic = (PlaceholderObserver.with_args(dtype=np.float16, is_dynamic=dynamic) for dynamic in (False, True))
_float32 = NoopObserver.with_args(dtype=np.float32)

default_qconfig = QConfig(default_observer, default_weight_observer)
default_per_channel_qconfig = QConfig(default_observer, default_per_channel_weight_observer)
default_debug_qconfig = QConfig(default_debug_observer, default_weight_observer)
default_reuse_input_qconfig = QConfig(default_reuse_input_observer, NoopObserver)
default_quint8_weight_qconfig = QConfig(HistogramObserver, MinMaxObserver)
default_dynamic_qconfig = QConfig(default_dynamic_quant_observer, default_weight_observer)
per_channel_dynamic_qconfig = QConfig(default_dynamic_quant_observer, default_per_channel_weight_observer)
float16_dynamic_qconfig = QConfig(_float16_dynamic, _float16)
float16_static_qconfig = QConfig(_float16, _float16)
float_qparams_weight_only_qconfig = QConfig(default_placeholder_observer, default_float_qparams_observer)
float_qparams_weight_only_qconfig_4bit = QConfig(default_placeholder_observer, default_float_qparams_observer_4bit)
int8_weight_only_qconfig = QConfig(default_placeholder_observer, default_per_channel_weight_observer)
int4_weight_only_qconfig = QConfig(default_placeholder_observer, int4_group_observer)
default_symmetric_qnnpack_qconfig = QConfig(_int8_histogram, weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(_int8_histogram, per_channel_weight_observer_range_neg_127_to_127)

default_qat_qconfig = QConfig(default_fake_quant, default_weight_fake_quant)
default_qat_qconfig_v2 = QConfig(default_fused_act_fake_quant, default_fused_wt_fake_quant)
default_dynamic_qat_qconfig = QConfig(default_dynamic_fake_quant, default_weight_fake_quant)
default_weight_only_qconfig = QConfig(nn.Identity, default_weight_fake_quant)
int8_weight_only_qat_qconfig = QConfig(_float32, default_per_channel_weight_fake_quant)
int4_weight_only_qat_qconfig = QConfig(_float32, int4_group_fake_quant)
default_activation_only_qconfig = QConfig(default_fake_quant, nn.Identity)
default_embedding_qat_qconfig = QConfig(_float32, default_embedding_fake_quant)
default_embedding_qat_qconfig_4bit = QConfig(_float32, default_embedding_fake_quant_4bit)
default_symmetric_qnnpack_qat_qconfig = QConfig(_int8_fused, fused_wt_fake_quant_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(_int8_fused, fused_per_channel_wt_fake_quant_range_neg_127_to_127)


class _Defaults(NamedTuple):
    """What an engine's defaults differ in."""

    reduce_range: bool  # activations in 0..127: torch's guard against CPUs whose 8-bit multiply saturates
    per_channel: bool  # weights


_DEFAULTS = {
    "fbgemm": _Defaults(reduce_range=True, per_channel=True),
    "x86": _Defaults(reduce_range=True, per_channel=True),
    "qnnpack": _Defaults(reduce_range=False, per_channel=False),
    "onednn": _Defaults(reduce_range=False, per_channel=True),
}


def _defaults(backend: str, version: int, versions: tuple[int, ...]) -> _Defaults:
    if version not in versions:
        raise ValueError(f"version must be one of {versions}; got {version}")
    if backend not in _DEFAULTS:
        raise ValueError(f"unknown backend {backend!r}; supported: {', '.join(ENGINES)}")
    return _DEFAULTS[backend]


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The post-training qconfig of an engine: histogram observers for activations, min-max observers for weights.

    fbgemm, x86: activations quint8 in 0..127, weights qint8 symmetric per channel. qnnpack: 0..255, per tensor. onednn:
    0..255, per channel. Source: torch.ao.quantization.get_default_qconfig.

    >>> get_default_qconfig("qnnpack").activation
    HistogramObserver.with_args(reduce_range=False)
    """
    chosen = _defaults(backend, version, (0,))
    weight = default_per_channel_weight_observer if chosen.per_channel else default_weight_observer
    return QConfig(HistogramObserver.with_args(reduce_range=chosen.reduce_range), weight)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """The qconfig of an engine for quantization-aware training: fake-quantizers with moving averages for activations.

    Ranges and granularity as in `get_default_qconfig`; weight ranges are memoryless. Versions 0 (FakeQuantize) and 1
    (FusedMovingAvgObsFakeQuantize) differ in torch's speed and rule, and here in name only.
    """
    chosen = _defaults(backend, version, (0, 1))
    kind = FusedMovingAvgObsFakeQuantize if version else FakeQuantize
    activation = kind.with_args(
        observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=chosen.reduce_range
    )
    return QConfig(activation, _of_weights(kind, **_INT8, **(_PER_CHANNEL if chosen.per_channel else _PER_TENSOR)))
