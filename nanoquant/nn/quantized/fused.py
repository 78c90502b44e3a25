"""Layers with weights whose sums go through a function, or get another tensor added, before they are rounded.

    float32 sums (`numerics`, form D) --> leaky ReLU | tanh | hardswish | + z, perhaps ReLU --> rounded once, to the output's grid

In torch these exist for oneDNN, but for hardswish and ReLU6. Before: `norm`. After: `functional`.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...affine import quantize_as
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
        found.append(float(((1 + middle) / (1 - middle)).ln() / 2) if inside else float("inf") * (1 if middle > 0 else -1))
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


def _sums(layer: Any, q: QTensor) -> Any:
    """What a convolution would round, as an image of floats."""
    check_image(q.shape, layer.in_channels, layer.axes)
    q, _ = layer.split_padding(q)
    return layer.packed().conv(q.channels_last(), grid(q.qparams), Output()).transpose(CHANNELS_FIRST[4])


class Conv2dHardswish(Conv2d):
    """A convolution, then y min(max(y + 3, 0), 6) / 6 of its sums."""

    def forward(self, x: Any) -> QTensor:
        """See the class."""
        q = self.take(x)
        y = _sums(self, q)
        return _rounded(y * np.clip(y + np.float32(3), 0, 6) / np.float32(6), self.output(), q)


class Conv2dReLU6(Conv2d):
    """A convolution and ReLU6 in one: the limits of the output are the integers of 0 and 6."""

    relu = True

    def set_output(self, qparams: QParams) -> None:
        """Says what the output's integers mean; none means more than 6."""
        super().set_output(at_most_six(qparams))


def at_most_six(qparams: QParams) -> QParams:
    """A grid without the integers that mean more than 6.

    >>> at_most_six(QParams(0.1, 10)).limits
    (0, 70)
    """
    return replace(qparams, quant_min=qparams.limits[0], quant_max=int(quantize_as(6.0, qparams)))


class ConvAdd2d(Conv2d):
    """A convolution of x, and z added, rounded once. z: quantized, of the shape of the result."""

    def forward(self, x: Any, z: Any = None) -> QTensor:
        """See the class."""
        q, other = self.take(x), self.take(z)
        y = _sums(self, q)
        if other.shape != y.shape:
            raise ValueError(f"what is added must have the shape {y.shape} of the convolution's result; got {other.shape}")
        total = y + other.dequantize().array
        return _rounded(np.maximum(total, 0) if self.relu else total, self.output(), q)


class ConvAddReLU2d(ConvAdd2d):
    """`ConvAdd2d`, at least zero."""

    relu = True
