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

from ...nn import functional as F
from ...nn.quantized.arguments import check_axes, check_input
from ...nn.quantized.functional import max_pool1d as max_pool1d
from ...qtensor import QTensor


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


def mean(input: QTensor, dim: Any = None, keepdim: bool = False) -> QTensor:  # noqa: A002
    """The mean over all axes or over `dim`.

    >>> mean(nq.quantize_per_tensor([[1.0, 2.0], [2.0, 4.0]], 1.0, 0, nq.quint8), 1).int_repr()
    tensor([2, 3], dtype=uint8)
    """
    return check_input("mean", input).mean(dim, keepdim)
