"""Hypothesis strategies: those of `nanoquant.testing.strategies`, and integer layers for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nanoquant.scheme import qint8, quint8
from nanoquant.testing.strategies import arrays as arrays
from nanoquant.testing.strategies import everyday_scales as everyday_scales
from nanoquant.testing.strategies import finite_floats as finite_floats
from nanoquant.testing.strategies import scales as scales
from nanoquant.testing.strategies import seeds as seeds
from nanoquant.testing.strategies import strided_arrays as strided_arrays
from nanoquant.testing.strategies import zero_points as zero_points

dtypes = st.sampled_from([quint8, qint8])


@dataclass(frozen=True)
class Layer:
    """An integer layer and an input for it; arrays are drawn from `seed`."""

    seed: int
    batch: int
    size: tuple[int, ...]
    groups: int
    inputs: int  # per group
    outputs: int  # per group
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    extreme: bool  # integers from the ends of their ranges only
    signed: bool  # int8 activations
    asymmetric: bool
    per_channel: bool
    bias: bool
    relu: bool
    transposed: bool = False
    output_padding: tuple[int, ...] | int = 0

    @property
    def geometry(self) -> dict[str, Any]:
        """The arguments of a convolution."""
        names = ("stride", "padding", "dilation", "groups", "transposed", "output_padding")
        return {name: getattr(self, name) for name in names}

    def arrays(self) -> dict[str, Any]:
        """Input, weights, zero points, scales, bias."""
        g = np.random.default_rng(self.seed)
        outputs = self.groups * self.outputs
        dtype = np.dtype(np.int8 if self.signed else np.uint8)
        low = np.iinfo(dtype).min
        x_shape = (self.batch, *self.size, self.groups * self.inputs)
        w_shape = (outputs, self.inputs, *self.kernel)
        if self.extreme:
            x, w = g.choice([low, low + 255], x_shape), g.choice([-128, 127], w_shape)
        else:
            x, w = g.integers(low, low + 256, x_shape), g.integers(-128, 128, w_shape)
        channels = (outputs,) if self.per_channel else ()
        return {
            "x": x.astype(dtype),
            "x_zero_point": int(g.choice([low, low + 255, low + 128, int(g.integers(low, low + 256))])),
            "w": w.astype(np.int8),
            "w_scale": np.asarray(g.uniform(0.001, 0.1, channels), np.float32),
            "w_zero_point": np.asarray(g.integers(-128, 128, channels) if self.asymmetric else np.zeros(channels, int)),
            "bias": (g.standard_normal(outputs) * 50).astype(np.float32) if self.bias else None,
        }


@st.composite
def depthwise_layers(draw: Any) -> Layer:
    """Layers whose groups have one input channel each: every kernel up to 7 x 7, around every multiple of a vector."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    square = st.sampled_from([(3, 3), (3, 3), (5, 5)])
    kernel = draw(st.one_of(square, st.tuples(st.integers(1, 7), st.integers(1, 7))))
    stride, dilation = (draw(st.sampled_from([(1, 1), (1, 1), (2, 2), draw(pair)])), draw(st.sampled_from([(1, 1), draw(pair)])))
    padding = draw(st.sampled_from([(kernel[0] // 2, kernel[1] // 2), draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))]))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    lanes = draw(st.sampled_from([8, 16, 32, 64, 96, 128, 144]))
    flags = {name: draw(st.booleans()) for name in ("extreme", "signed", "asymmetric", "per_channel", "bias", "relu")}
    return Layer(
        seed=draw(seeds),
        batch=draw(st.integers(0, 2)),
        size=(draw(st.integers(least[0], least[0] + 5)), draw(st.integers(least[1], least[1] + 12))),
        groups=lanes + draw(st.integers(-1, 1)),
        inputs=1,
        outputs=draw(st.sampled_from([1, 1, 1, 1, 2, 3])),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        **flags,
    )


@st.composite
def layers(draw: Any, linear: bool = False) -> Layer:
    """Layers small enough for an oracle, over every argument and one to three axes; `linear`: kernels of one pixel."""
    axes = 1 if linear else draw(st.integers(1, 3))
    most = 2 if axes == 3 else 3
    sizes = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * axes))  # noqa: E731
    one = (1,) * axes
    kernel, dilation, stride = (one if linear else sizes(1, most) for _ in range(3))
    padding = (0,) * axes if linear else sizes(0, 2)
    transposed = not linear and draw(st.booleans())
    output_padding = sizes(0, 2) if transposed else 0
    spans = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    if transposed:  # (size - 1) * stride + span - 2 * padding + output_padding > 0
        least = [1 + max(0, -(-(1 - o - e) // s)) for o, e, s in zip(spans, output_padding, stride, strict=True)]
    else:
        least = [max(1, span) for span in spans]
    groups = 1 if linear else draw(st.sampled_from([1, 1, 2, 3, 4, 6, 16, 17]))
    wide = 40 if groups == 1 else 16 if groups < 10 else 6
    channels = st.integers(1, wide) if groups == 1 else st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16][: 6 + wide // 4])
    flags = {name: draw(st.booleans()) for name in ("extreme", "signed", "asymmetric", "per_channel", "bias", "relu")}
    return Layer(
        seed=draw(seeds),
        batch=1 if linear else draw(st.integers(0, 2)),
        size=sizes(0, 20) if linear else tuple(draw(st.integers(n, n + 8 // axes)) for n in least),
        groups=groups,
        inputs=draw(st.integers(1, 200) if linear else channels),
        outputs=draw(st.integers(1, 150) if linear else channels),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        transposed=transposed,
        output_padding=output_padding,
        **flags,
    )
