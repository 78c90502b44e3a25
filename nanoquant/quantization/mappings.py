"""Which class takes the place of which: the tables that prepare, prepare_qat, convert and quantize_dynamic read.

Before: `stubs`. After: `fusion`.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..nn import intrinsic, qat, quantizable, quantized
from .presets import (
    default_fixed_qparams_range_0to1_fake_quant,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_fake_quant,
    default_fixed_qparams_range_neg1to1_observer,
)
from .qconfig import QConfig
from .stubs import DeQuantStub, QuantStub

Mapping = dict[type[Any], type[Any]]

_AXES = (1, 2, 3)


def _twins(names: str, source: Any, target: Any, to: str = "") -> Mapping:
    """The classes of `source` and of `target` by the same name, or by another; `#` stands for 1, 2 and 3."""
    expanded = [(name.replace("#", str(n)), (to or name).replace("#", str(n))) for name in names.split() for n in _AXES]
    return {getattr(source, a): getattr(target, b) for a, b in expanded}


# float or fused or QAT module -> the layer that computes it in integers
STATIC: Mapping = {
    QuantStub: quantized.Quantize,
    DeQuantStub: quantized.DeQuantize,
    **_twins("Linear Conv#d ConvTranspose#d", nn, quantized),
    **_twins("LinearReLU ConvReLU#d LinearLeakyReLU LinearTanh ConvAdd2d ConvAddReLU2d", intrinsic, quantized),
    **_twins("Conv2dReLU6 Conv2dHardswish", intrinsic, quantized),
    **_twins("Linear LinearReLU Conv#d ConvReLU#d", qat, quantized),
    **_twins("LinearBn1d", qat, quantized, "Linear"),
    **_twins("LinearBnReLU1d", qat, quantized, "LinearReLU"),
    **_twins("ConvBn#d", qat, quantized, "Conv#d"),
    **_twins("ConvBnReLU#d", qat, quantized, "ConvReLU#d"),
}

# the same, of modules without weights; what is in no table (pools, ReLU, Flatten, Dropout, Identity) takes integers as they are
_WITHOUT_WEIGHTS: Mapping = {
    quantized.FloatFunctional: quantized.QFunctional,
    quantizable.Quant: quantized.Quantize,
    **_twins("Sigmoid Tanh Hardsigmoid Hardswish LeakyReLU ELU PReLU Softmax", nn, quantized),
    **_twins("LayerNorm GroupNorm BatchNorm#d InstanceNorm#d", nn, quantized),
    **_twins("BNReLU2d BNReLU3d", intrinsic, quantized),
}
STATIC |= _WITHOUT_WEIGHTS

# modules whose output has a known range -> the observer and the fake-quantizer that their qconfig's place is taken by
_UNIT = default_fixed_qparams_range_0to1_observer, default_fixed_qparams_range_0to1_fake_quant
_SYMMETRIC = default_fixed_qparams_range_neg1to1_observer, default_fixed_qparams_range_neg1to1_fake_quant
FIXED = {nn.Sigmoid: _UNIT, nn.Hardsigmoid: _UNIT, nn.Softmax: _UNIT, nn.Tanh: _SYMMETRIC}

# modules that prepare takes apart, so that they are observed inside
CUSTOM: Mapping = {nn.LSTM: quantizable.LSTM, nn.MultiheadAttention: quantizable.MultiheadAttention}

# float or fused module -> its twin with fake-quantized weights
QAT: Mapping = {
    **_twins("Linear Conv#d Embedding EmbeddingBag", nn, qat),
    **_twins("LinearReLU LinearBn1d LinearBnReLU1d ConvReLU#d ConvBn#d ConvBnReLU#d", intrinsic, qat),
}

# float module -> its twin with int8 weights and float activations; the first two are what quantize_dynamic looks for unasked
RECURRENT = _twins("LSTM GRU RNN LSTMCell GRUCell RNNCell", nn, quantized.dynamic)
DYNAMIC_UNASKED = _twins("Linear", nn, quantized.dynamic) | RECURRENT
DYNAMIC: Mapping = {
    **DYNAMIC_UNASKED,
    **_twins("Conv#d ConvTranspose#d", nn, quantized.dynamic),
    **_twins("LinearReLU", intrinsic, quantized.dynamic),
    qat.dynamic.Linear: quantized.dynamic.Linear,
}

# float module -> its twin for training, if its activations are quantized at run time
QAT_DYNAMIC: Mapping = {nn.Linear: qat.dynamic.Linear}

# float module -> its twin with quantized weights, whose activations stay float
EMBEDDINGS = _twins("Embedding EmbeddingBag", nn, quantized)
WEIGHT_ONLY: Mapping = {
    nn.Linear: quantized.WeightOnlyLinear,
    qat.Linear: quantized.WeightOnlyLinear,
    **EMBEDDINGS,
    **_twins("Embedding EmbeddingBag", qat, quantized),
}


def integer_twins(qconfig: QConfig) -> Mapping:
    """The table that a qconfig's activation asks for: its range is known beforehand, at run time, or not wanted.

    >>> integer_twins(nq.quantization.default_dynamic_qconfig) is DYNAMIC
    True
    """
    activation = qconfig.activation()
    observer = getattr(activation, "activation_post_process", activation)
    if getattr(observer, "is_dynamic", False):
        return DYNAMIC
    stays_float = isinstance(observer, nn.Identity) or getattr(observer, "float_dtype", None) == "float32"
    return WEIGHT_ONLY if stays_float else STATIC
