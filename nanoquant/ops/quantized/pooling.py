"""Pooling and means: the scale stays, means are rounded half to even.

>>> x = nq.quantize_per_tensor([[[[1.0, 2.0, 3.0]]]], 1.0, 0, nq.quint8)
>>> max_pool2d(x, (1, 2)).int_repr().tolist(), max_pool2d(x, (1, 2), ceil_mode=True).int_repr().tolist()
([[[[2]]]], [[[[2, 3]]]])

Before: `convolution`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...kernels.memory import CHANNELS_FIRST
from ...kernels.native import requested_isa
from ...kernels.pooling import Sliding
from ...nn import functional as F
from ...nn.quantized.arguments import check_axes, check_input
from ...per_tensor import pooling
from ...qtensor import QTensor, computed


def _of_images(function: Callable[..., Any]) -> Callable[..., QTensor]:
    """A function of nn.functional, for quantized images alone."""

    @functools.wraps(function)
    def pool(input: QTensor, *args: Any, **options: Any) -> QTensor:  # noqa: A002
        x: QTensor = check_input(function.__name__, input)
        check_axes(function.__name__, x, "(batch, channels, height, width)", 4)
        y: QTensor = function(x, *args, **options)
        return y

    return pool


max_pool2d, avg_pool2d = _of_images(F.max_pool2d), _of_images(F.avg_pool2d)
adaptive_avg_pool2d = _of_images(F.adaptive_avg_pool2d)


def max_pool1d(
    qx: QTensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> QTensor:
    """`max_pool2d` over signals: (batch, channels, length)."""
    x = check_input("max_pool1d", qx)
    check_axes("max_pool1d", x, "(batch, channels, length)", 3)
    sizes = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    kernel, steps, border, gaps = (v if type(v) is int else v[0] if isinstance(v, list | tuple) else v for v in sizes)
    memory, (batch, *line), _ = x.lying(CHANNELS_FIRST[3])
    windows = (Sliding, (1, kernel), (1, steps), (0, border), (1, gaps), ceil_mode)
    call = pooling(x.qparams, (batch, 1, *line), requested_isa(), windows, False)
    y = computed(call, memory, CHANNELS_FIRST[4], x.qparams, x.origin)
    return y.with_values(y.values[:, :, 0])


def mean(input: QTensor, dim: Any = None, keepdim: bool = False) -> QTensor:  # noqa: A002
    """The mean over all axes or over `dim`.

    >>> mean(nq.quantize_per_tensor([[1.0, 2.0], [2.0, 4.0]], 1.0, 0, nq.quint8), 1).int_repr()
    tensor([2, 3], dtype=uint8)
    """
    return check_input("mean", input).mean(dim, keepdim)
