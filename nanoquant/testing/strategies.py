"""Hypothesis strategies for everything that is quantized, over the widest legal domain, built rather than filtered.

Before: the library. After: `oracles`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from .. import nn
from ..autograd.tensor import Tensor
from ..qparams import QParams
from ..qtensor import QTensor
from ..scheme import QDTYPES, QDType

Shape = tuple[int, ...]

_F32 = np.finfo(np.float32)

dtypes = st.sampled_from(list(QDTYPES.values()))
scales = st.floats(float(_F32.tiny), float(_F32.max), width=32, allow_subnormal=False)
everyday_scales = st.floats(2.0**-20, 2.0**10, width=32)
finite_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)  # -0.0 and subnormal ones too
seeds = st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 12) -> st.SearchStrategy[Shape]:
    """Shapes of arrays, empty ones included."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def arrays(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    elements: st.SearchStrategy[float] = finite_floats,
    infinity: bool = False,
) -> st.SearchStrategy[NDArray[np.float32]]:
    """Float32 arrays of a shape, of any if None; `infinity` lets +-inf occur among the elements."""
    values = elements | st.sampled_from([np.inf, -np.inf]) if infinity else elements
    return hnp.arrays(np.float32, shapes() if shape is None else shape, elements=values)


@st.composite
def strided_arrays(draw: st.DrawFn) -> NDArray[np.float32]:
    """Float32 arrays that are not contiguous: reversed, sliced, transposed."""
    array = draw(arrays(shapes(max_side=8)))
    steps = tuple(slice(None, None, draw(st.sampled_from([1, -1, 2, -2]))) for _ in array.shape)
    return np.asarray(array[steps]).transpose(draw(st.permutations(range(array.ndim))))


def zero_points(dtype: QDType, low: int | None = None, high: int | None = None) -> st.SearchStrategy[int]:
    """Any integer of the dtype, or of low..high (0 for qint32, whose every other choice only narrows the range)."""
    ends = dtype.quant_min if low is None else low, dtype.quant_max if high is None else high
    return st.just(0) if dtype.bits == 32 else st.integers(*ends)


@st.composite
def quant_ranges(draw: st.DrawFn, dtype: QDType) -> tuple[int | None, int | None]:
    """(None, None), or a narrower (quant_min, quant_max) that holds 0."""
    if draw(st.booleans()):
        return None, None
    low = draw(st.integers(dtype.quant_min, 0))
    return low, draw(st.integers(max(low + 1, 0), dtype.quant_max))


@st.composite
def qparams(
    draw: st.DrawFn,
    shape: Shape | None = None,
    dtypes: st.SearchStrategy[QDType] = dtypes,
    scales: st.SearchStrategy[float] = everyday_scales,
    float_qparams: bool = True,
) -> QParams:
    """QParams for an array of `shape` (of any, if None): per tensor, channel, group or token, over all dtypes and ranges.

    Tokens are groups as long as the last axis. float_qparams: let float zero points occur, in [-1000, 1000].
    """
    if shape is None:
        shape = draw(shapes(min_side=1))
    dtype = draw(dtypes)
    limits = draw(quant_ranges(dtype))
    low, high = (dtype.quant_min, dtype.quant_max) if limits[0] is None else limits
    axis = draw(st.none() | st.integers(0, len(shape) - 1)) if shape else None
    size: Shape = () if axis is None else (shape[axis],)
    group = None
    if axis is not None and draw(st.booleans()):
        group = draw(st.sampled_from([n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0] or [1]))
        size = tuple(n // group if i == axis else n for i, n in enumerate(shape))
    floating = float_qparams and axis is not None and group is None and draw(st.booleans())
    scale = draw(hnp.arrays(np.float32, size, elements=scales))
    if floating:
        zero_point: NDArray[Any] = draw(hnp.arrays(np.float32, size, elements=st.floats(-1000, 1000, width=32)))
    else:
        zero_point = draw(hnp.arrays(np.int64, size, elements=zero_points(dtype, low, high)))
    return QParams(scale, zero_point, dtype, axis, *limits, group, floating)


@st.composite
def quantized_tensors(draw: st.DrawFn, shape: Shape | None = None, dtypes: st.SearchStrategy[QDType] = dtypes) -> QTensor:
    """QTensors whose integers fill their range."""
    if shape is None:
        shape = draw(shapes())
    given = draw(qparams(shape, dtypes))
    integers = draw(hnp.arrays(np.int64, shape, elements=st.integers(*given.limits)))
    return QTensor(integers.astype(given.dtype.storage), given)


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Linear | nn.Conv2d, Tensor]:
    """A float Linear or Conv2d, over its arguments, with normal weights, and a normal input that it takes."""
    g, bias = np.random.default_rng(draw(seeds)), draw(st.booleans())
    batch, inputs, outputs = (draw(st.integers(1, 8)) for _ in range(3))
    layer: nn.Linear | nn.Conv2d
    shape: Shape
    if draw(st.booleans()):
        layer, shape = nn.Linear(inputs, outputs, bias), (batch, inputs)
    else:
        pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
        kernel, stride, dilation, groups = draw(pair), draw(pair), draw(pair), draw(st.integers(1, 3))
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        layer = nn.Conv2d(inputs * groups, outputs * groups, kernel, stride, padding, dilation, groups, bias)
        extra = draw(pair)
        sides = (d * (k - 1) + e for d, k, e in zip(dilation, kernel, extra, strict=True))
        shape = (batch, inputs * groups, *sides)
    for parameter in layer.parameters():
        parameter.array[...] = g.standard_normal(parameter.shape)
    return layer, Tensor(g.standard_normal(shape).astype(np.float32))


def observer_streams(
    shape: Shape = (4, 8), max_batches: int = 4, largest: float = 2.0**100
) -> st.SearchStrategy[list[NDArray[np.float32]]]:
    """One batch or more of one shape, for an observer; magnitudes up to `largest`, some batches constant."""
    values = st.floats(-largest, largest, width=32)
    constant = values.map(lambda v: np.full(shape, v, np.float32))
    return st.lists(arrays(shape, values) | constant, min_size=1, max_size=max_batches)
