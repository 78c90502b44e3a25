"""Layers whose weights and inputs are fake-quantized, each input by the range it has: training for dynamic layers.

Before: `linear`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.tensor import Tensor
from ...kernels.dynamic import greatest_step
from ...kernels.elementwise import value_range
from ...kernels.engine import quantized as engine
from ...qparams import QParams, choose_dynamic_qparams
from ...scheme import quint8
from ..layer import take_float
from . import linear


class Linear(linear.Linear):
    """`nn.Linear` with fake-quantized weights, of an input that is rounded as `nn.quantized.dynamic.Linear` will round it.

    x' = fake_quantize(x), scale and zero point by the dynamic rule of min x and max x        y = x' fq(W)^T + b
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        value = take_float(self, x)
        if value.array.size:
            greatest = greatest_step(engine.profile)
            low, high = value_range(np.asarray(value.array, np.float32, order="C"))
            scale, zero_point = choose_dynamic_qparams(low, high, 0, greatest)
            value = value.fake_quantize(QParams(np.array(scale, np.float32), np.array(zero_point), quint8, None, 0, greatest))
        return super().forward(value)
