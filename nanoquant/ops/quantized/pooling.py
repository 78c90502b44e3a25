"""Pooling and means: the scale stays, means are rounded half to even.

Before: `activation`. After: `normalization`.
"""

from __future__ import annotations

from typing import Any

from ...kernels.pooling import Adaptive, Sliding
from ...nn.functional import pair
from ...qtensor import QTensor
from .arguments import check_axes, check_input

Pair = int | tuple[int, int]


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
    sizes = [v[0] if isinstance(v, list | tuple) else v for v in (kernel_size, stride, padding, dilation)]
    kernel, steps, border, gaps = (sizes[0], sizes[0] if sizes[1] is None else sizes[1], *sizes[2:])
    image = x.reshape(*x.shape[:2], 1, x.shape[2])
    y = image.max_pool(Sliding((1, kernel), (1, steps), (0, border), (1, gaps), ceil_mode))
    return y.reshape(*y.shape[:2], y.shape[3])


def max_pool2d(
    qx: QTensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> QTensor:
    """The greatest element of each window; stride defaults to kernel_size. ceil_mode: windows may pass the end.

    >>> x = nq.quantize_per_tensor([[[[1.0, 2.0, 3.0]]]], 1.0, 0, nq.quint8)
    >>> max_pool2d(x, (1, 2)).int_repr().tolist(), max_pool2d(x, (1, 2), ceil_mode=True).int_repr().tolist()
    ([[[[2]]]], [[[[2, 3]]]])
    """
    x = check_input("max_pool2d", qx)
    check_axes("max_pool2d", x, "(batch, channels, height, width)", 4)
    return x.max_pool(_windows(kernel_size, stride, padding, dilation, ceil_mode))


def avg_pool2d(
    input: QTensor,  # noqa: A002
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> QTensor:
    """The mean of each window, as torch.nn.functional.avg_pool2d takes it; padding is worth zero.

    count_include_pad: whether padding counts among the divisor; divisor_override: the divisor.
    """
    x = check_input("avg_pool2d", input)
    check_axes("avg_pool2d", x, "(batch, channels, height, width)", 4)
    return x.mean_pool(_windows(kernel_size, stride, padding, 1, ceil_mode), count_include_pad, divisor_override)


def adaptive_avg_pool2d(input: QTensor, output_size: int | tuple[int | None, int | None]) -> QTensor:  # noqa: A002
    """The means of output_size windows that cover the image; None keeps a size."""
    x = check_input("adaptive_avg_pool2d", input)
    check_axes("adaptive_avg_pool2d", x, "(batch, channels, height, width)", 4)
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    return x.mean_pool(Adaptive((x.shape[2] if rows is None else rows, x.shape[3] if columns is None else columns)))


def mean(input: QTensor, dim: Any = None, keepdim: bool = False) -> QTensor:  # noqa: A002
    """The mean over all axes or over `dim`.

    >>> mean(nq.quantize_per_tensor([[1.0, 2.0], [2.0, 4.0]], 1.0, 0, nq.quint8), 1).int_repr()
    tensor([2, 3], dtype=uint8)
    """
    return check_input("mean", input).mean(dim, keepdim)


def _windows(kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool) -> Sliding:
    steps = pair(kernel_size if stride is None else stride, "stride")
    return Sliding(
        pair(kernel_size, "kernel_size"), steps, pair(padding, "padding"), pair(dilation, "dilation"), ceil_mode
    )
