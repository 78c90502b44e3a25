"""The numbers that go in, the same for everybody, and the operators of libraries with torch's names: torch, and ours.

Weights lie in [-63, 63] by default: then no pair of products leaves int16 (2 * 255 * 63 = 32130), so that engines whose
multiply saturates are right, too. `--full-range` takes [-127, 127], where they are not.

Before: `shapes`. After: `peers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn, ops
from ..qparams import QParams
from ..qtensor import QTensor, quantize_per_tensor
from ..scheme import qint8, quint8
from .shapes import Shape

SCALE, ZERO_POINT = 0.02, 120  # of activations
OURS = SimpleNamespace(ops=ops, nn=nn, quantize_per_tensor=quantize_per_tensor, quint8=quint8)


class Data:
    """The arrays of a row. x: uint8, of the shape's image; weights: (out_channels, channels / groups, kernel, kernel)."""

    def __init__(self, shape: Shape, full_range: bool = False) -> None:
        rng, channels = np.random.default_rng(0), shape.out[3]
        self.shape, self.x = shape, rng.integers(0, 256, shape.image, dtype=np.uint8)
        if shape.macs:
            limit, depth = 127 if full_range else 63, shape.K // shape.kernel**2
            kernel = () if shape.operation == "linear" else (shape.kernel, shape.kernel)
            self.weights = rng.integers(-limit, limit + 1, (channels, depth, *kernel), dtype=np.int8)
            self.w_scale = rng.uniform(0.005, 0.015, channels).astype(np.float32)
            self.bias_integers = rng.integers(-2000, 2000, channels, dtype=np.int32)
            self.bias = (self.bias_integers * (np.float32(SCALE) * self.w_scale)).astype(np.float32)
            self.y_scale = SCALE * 0.01 * limit * float(np.sqrt(shape.K))  # so that outputs fill the bytes


@dataclass(frozen=True)
class Runner:
    """run: one call, through a library's Python operator. integers: what it returned, as numbers in NHWC order."""

    run: Callable[[], Any]
    integers: Callable[[Any], NDArray[Any]] = lambda y: np.asarray(y.int_repr())


def ours(data: Data) -> Runner:
    """This library's operator."""
    activations = lambda x: QTensor(x, QParams(np.asarray(SCALE), np.asarray(ZERO_POINT), quint8))  # noqa: E731
    zero_points = np.zeros(data.shape.out[3], np.int64)
    weights = lambda: QTensor(data.weights, QParams(data.w_scale, zero_points, qint8, 0))  # noqa: E731
    return operator(OURS, data, activations, weights, np.asarray)


def operator(
    library: Any, data: Data, activations: Callable[[Any], Any], weights: Callable[[], Any], tensor: Callable[[Any], Any]
) -> Runner:
    """The row's operator in a library with torch's names. activations, weights and tensor make its tensors of arrays."""
    s, quantized, functional = data.shape, library.ops.quantized, library.nn.functional
    channels_last = lambda y: np.asarray(y.int_repr()).transpose(0, 2, 3, 1)  # noqa: E731
    if s.operation == "linear":
        x, packed = activations(data.x[0, 0]), quantized.linear_prepack(weights(), tensor(data.bias))
        return Runner(lambda: quantized.linear(x, packed, data.y_scale, 128))
    image = activations(data.x).permute(0, 3, 1, 2)
    if s.operation == "conv2d":
        pairs = ((n, n) for n in (s.stride, s.padding, 1))
        packed = quantized.conv2d_prepack(weights(), tensor(data.bias), *pairs, s.groups)
        return Runner(lambda: quantized.conv2d(image, packed, data.y_scale, 128), channels_last)
    if "pool" in s.operation:
        pool = getattr(functional, s.operation)
        return Runner(lambda: pool(image, 2), channels_last)
    x = activations(data.x.reshape(-1))
    if s.operation == "quantize":
        real = tensor((data.x.reshape(-1).astype(np.float32) - ZERO_POINT) * np.float32(SCALE))
        return Runner(lambda: library.quantize_per_tensor(real, SCALE, ZERO_POINT, library.quint8))
    if s.operation == "dequantize":
        return Runner(x.dequantize, lambda y: np.asarray(y) / SCALE)
    if s.operation == "relu":
        return Runner(x.relu)
    other = [activations(data.x.reshape(-1)[::-1].copy())] if s.operation in ("add", "mul") else []
    call, operands = getattr(quantized, s.operation), [x, *other]
    return Runner(lambda: call(*operands, SCALE, ZERO_POINT))
