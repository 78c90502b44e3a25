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
from .stubs import DeQuantStub, QuantStub

Mapping = dict[type[Any], type[Any]]

# float or fused or QAT module -> the layer that computes it in integers
STATIC: Mapping = {
    QuantStub: quantized.Quantize,
    DeQuantStub: quantized.DeQuantize,
    nn.Linear: quantized.Linear,
    nn.Conv2d: quantized.Conv2d,
    intrinsic.LinearReLU: quantized.LinearReLU,
    intrinsic.ConvReLU2d: quantized.ConvReLU2d,
    qat.Linear: quantized.Linear,
    qat.LinearReLU: quantized.LinearReLU,
    qat.LinearBn1d: quantized.Linear,
    qat.Conv2d: quantized.Conv2d,
    qat.ConvReLU2d: quantized.ConvReLU2d,
    qat.ConvBn2d: quantized.Conv2d,
    qat.ConvBnReLU2d: quantized.ConvReLU2d,
}

# the same, of modules without weights
STATIC |= {
    quantized.FloatFunctional: quantized.QFunctional,
    **{getattr(nn, kind): getattr(quantized, kind)
       for kind in ("Sigmoid", "Tanh", "Hardsigmoid", "Hardswish", "LeakyReLU", "ELU")},
}  # fmt: skip

# modules whose output has a known range -> the observer and the fake-quantizer that their qconfig's place is taken by
_UNIT = default_fixed_qparams_range_0to1_observer, default_fixed_qparams_range_0to1_fake_quant
_SYMMETRIC = default_fixed_qparams_range_neg1to1_observer, default_fixed_qparams_range_neg1to1_fake_quant
FIXED = {nn.Sigmoid: _UNIT, nn.Hardsigmoid: _UNIT, nn.Tanh: _SYMMETRIC}

# modules that prepare takes apart, so that they are observed inside
CUSTOM: Mapping = {nn.LSTM: quantizable.LSTM}

# float or fused module -> its twin with fake-quantized weights
QAT: Mapping = {
    nn.Linear: qat.Linear,
    nn.Conv2d: qat.Conv2d,
    intrinsic.LinearReLU: qat.LinearReLU,
    intrinsic.LinearBn1d: qat.LinearBn1d,
    intrinsic.ConvReLU2d: qat.ConvReLU2d,
    intrinsic.ConvBn2d: qat.ConvBn2d,
    intrinsic.ConvBnReLU2d: qat.ConvBnReLU2d,
}

# float module -> its twin with int8 weights and float activations
DYNAMIC: Mapping = {nn.Linear: quantized.dynamic.Linear}

# Modules that compute in float only: with a qconfig of their own they cannot be honoured. What is in no table (pools,
# ReLU, Flatten, Dropout, Identity) takes integers as they are.
FLOAT_ONLY: dict[type[Any], str] = {
    nn.BatchNorm1d: "fuse it with the layer before it (fuse_modules)",
    nn.BatchNorm2d: "fuse it with the convolution before it (fuse_modules)",
}
