"""The numbers that are multiplied, the same for everybody, and how we multiply them.

Weights lie in [-63, 63] by default: then no pair of products leaves int16 (2 * 255 * 63 = 32130), so that engines whose
multiply saturates are right, too. `--full-range` takes [-127, 127], where they are not.

Before: `shapes`. After: `peers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import functional as F
from ..ops import quantized
from ..qparams import QParams
from ..qtensor import QTensor, quantize_per_tensor
from ..scheme import qint8, quint8
from .shapes import Shape

X_SCALE, X_ZERO_POINT, Y_ZERO_POINT = 0.02, 120, 128


@dataclass(frozen=True)
class Runner:
    """run: one call, through a library's Python operator. integers: what it returned, as bytes in our layout."""

    run: Callable[[], Any]
    integers: Callable[[Any], NDArray[Any]]


class Data:
    """The arrays of a row. x: uint8, of the shape's image; weights: (out_channels, channels / groups, kernel, kernel)."""

    def __init__(self, shape: Shape, full_range: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.shape = shape
        self.x = rng.integers(0, 256, shape.image, dtype=np.uint8)
        if shape.macs:
            limit, depth, out = 127 if full_range else 63, shape.K // shape.kernel**2, shape.out[3]
            self.weights = rng.integers(-limit, limit + 1, (out, depth, shape.kernel, shape.kernel), dtype=np.int8)
            self.w_scale = rng.uniform(0.005, 0.015, out).astype(np.float32)
            self.bias_integers = rng.integers(-2000, 2000, out, dtype=np.int32)
            self.bias = (self.bias_integers * (np.float32(X_SCALE) * self.w_scale)).astype(np.float32)
            self.y_scale = X_SCALE * 0.01 * limit * float(np.sqrt(shape.K))  # so that outputs fill the bytes


def ours(data: Data) -> Runner:
    """This library's operator."""
    s, q = data.shape, QParams(np.asarray(X_SCALE), np.asarray(X_ZERO_POINT), quint8)
    if not s.macs:
        return _elementwise(data, q)
    linear = s.operation == "linear"
    w = QTensor(
        data.weights[:, :, 0, 0] if linear else data.weights,
        QParams(data.w_scale, np.zeros(s.out[3], np.int64), qint8, 0),
    )
    if linear:
        packed, x = quantized.linear_prepack(w, data.bias), QTensor(data.x[0, 0], q)
        return Runner(lambda: quantized.linear(x, packed, data.y_scale, Y_ZERO_POINT), lambda y: y.values)
    packed = quantized.conv2d_prepack(w, data.bias, s.stride, s.padding, 1, s.groups)
    x = QTensor(data.x.transpose(0, 3, 1, 2), q)
    return Runner(lambda: quantized.conv2d(x, packed, data.y_scale, Y_ZERO_POINT), QTensor.channels_last)


def _elementwise(data: Data, q: QParams) -> Runner:
    x = QTensor(data.x.transpose(0, 3, 1, 2), q)
    real = (data.x.reshape(-1).astype(np.float32) - X_ZERO_POINT) * np.float32(X_SCALE)
    flat = QTensor(data.x.reshape(-1), q)
    table: dict[str, tuple[Callable[[], Any], Callable[[Any], NDArray[Any]]]] = {
        "quantize": (lambda: quantize_per_tensor(real, X_SCALE, X_ZERO_POINT, quint8), lambda y: y.values),
        "dequantize": (flat.dequantize, lambda y: np.rint(y.array / X_SCALE)),
        "relu": (flat.relu, lambda y: y.values),
        "max_pool2d": (lambda: F.max_pool2d(x, 2), QTensor.channels_last),
        "avg_pool2d": (lambda: F.avg_pool2d(x, 2), QTensor.channels_last),
    }
    return Runner(*table[data.shape.operation])
