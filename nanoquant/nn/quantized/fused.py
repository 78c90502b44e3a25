"""Layers with weights whose sums go through a function, or get another tensor added, before they are rounded.

    float32 sums (`numerics`, form D) --> leaky ReLU | tanh | + z, perhaps ReLU --> rounded once, to the output's grid

In torch these exist for oneDNN. Before: `norm`. After: `functional`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.memory import CHANNELS_FIRST
from ...kernels.packed import Output
from ...per_tensor import grid
from ...qparams import QParams
from ...qtensor import QTensor, quantize
from ..conv import check_image
from .conv import Conv2d
from .linear import Linear

Floats = NDArray[np.float32]


def tanh_thresholds(qparams: QParams) -> NDArray[np.float64]:
    """Where tanh x goes from one integer to the next: atanh((k + 1/2) scale) for each step k of the grid but the last.

    Computed in decimal, so that every machine has the same.

    >>> tanh_thresholds(QParams(0.5, 0, quant_min=0, quant_max=2)).round(6)
    array([0.255413, 0.972955])
    """
    low, high = qparams.limits
    scale, found = Decimal(float(qparams.scale)), []
    for k in range(low - int(qparams.zero_point), high - int(qparams.zero_point)):
        middle = (Decimal(k) + Decimal("0.5")) * scale
        inside = -1 < middle < 1
        found.append(
            float(((1 + middle) / (1 - middle)).ln() / 2) if inside else float("inf") * (1 if middle > 0 else -1)
        )
    return np.array(found)


def _rounded(y: Floats, qparams: QParams, x: QTensor) -> QTensor:
    """y on a grid; it goes back to where x came from."""
    return QTensor(quantize(y, qparams).values, qparams, x.origin)


class LinearLeakyReLU(Linear):
    """y where y > 0, else negative_slope y, of y = x W^T + b, from integers to integers."""

    negative_slope = 0.01

    def filled(self, module: Any) -> Any:
        """See `Weighted`."""
        self.negative_slope = float(module[1].negative_slope)
        return super().filled(module)

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        q = self.take(x)
        y = self.packed().linear(np.ascontiguousarray(q.values), grid(q.qparams), Output())
        return self.rounded(y, q)

    def rounded(self, y: Floats, q: QTensor) -> QTensor:
        """The function of float sums, as integers."""
        return _rounded(np.where(y > 0, y, y * np.float32(self.negative_slope)), self.output(), q)


class LinearTanh(LinearLeakyReLU):
    """tanh of x W^T + b, from integers to integers: each sum is looked up among the 255 places where the result changes."""

    def filled(self, module: Any) -> Any:
        """See `Weighted`."""
        return super(LinearLeakyReLU, self).filled(module)

    def rounded(self, y: Floats, q: QTensor) -> QTensor:
        """See `LinearLeakyReLU`."""
        low, _ = self.output().limits
        steps = np.searchsorted(tanh_thresholds(self.output()), y.astype(np.float64)) + low
        return QTensor(steps.astype(self.dtype.storage), self.output(), q.origin)


class ConvAdd2d(Conv2d):
    """A convolution of x, and z added, rounded once. z: quantized, of the shape of the result."""

    def forward(self, x: Any, z: Any = None) -> QTensor:
        """See the class."""
        q, other = self.take(x), self.take(z)
        check_image(q.shape, self.in_channels, self.axes)
        q, _ = self.split_padding(q)
        y = self.packed().conv(q.channels_last(), grid(q.qparams), Output()).transpose(CHANNELS_FIRST[4])
        if other.shape != y.shape:
            raise ValueError(
                f"what is added must have the shape {y.shape} of the convolution's result; got {other.shape}"
            )
        total = y + other.dequantize().array
        return _rounded(np.maximum(total, 0) if self.relu else total, self.output(), q)


class ConvAddReLU2d(ConvAdd2d):
    """`ConvAdd2d`, at least zero."""

    relu = True
