"""Pooling. Two axes take float and quantized images alike.

Before: `norm`. After: `container`.
"""

from __future__ import annotations

from typing import Any

from ..autograd.tensor import apply
from ..kernels.pooling import Adaptive, Sliding
from ..qtensor import QTensor
from . import spatial
from .conv import AXES, Size
from .layer import Layer, as_tensor, layer, per_axes, sizes
from .windows import Sizes


def _image(axes: int, x: Any) -> Any:
    """x as a tensor (batch, channels, *size), quantized only if it is an image."""
    value = as_tensor(x)
    if value.ndim != 2 + axes:
        raise ValueError(f"the layer takes images of shape (batch, channels, {AXES[axes]}); got {value.shape}")
    if axes != 2 and isinstance(value, QTensor):
        raise ValueError(f"quantized tensors are pooled as images, with two axes; got {axes}: dequantize() first")
    return value


def _max_pool(
    axes: int, input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
    ceil_mode: bool = False,
) -> Any:  # fmt: skip
    """The greatest element of each window; stride defaults to kernel_size. ceil_mode: a last window may pass the end."""
    x, kernel = _image(axes, input), sizes(kernel_size, "kernel_size", axes)
    steps = kernel if stride is None else sizes(stride, "stride", axes)
    border, gaps = sizes(padding, "padding", axes), sizes(dilation, "dilation", axes)
    if isinstance(x, QTensor):
        return x.pool((Sliding, kernel, steps, border, gaps, ceil_mode), False)
    options = {"kernel": kernel, "stride": steps, "padding": border, "dilation": gaps, "ceil_mode": ceil_mode}
    return apply(spatial.MAX_POOL, x, **options)


def _avg_pool(
    axes: int, input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window; stride defaults to kernel_size. Integers: exact, rounded half to even, in their scale.

    count_include_pad: padding counts, as zeros. ceil_mode: a last window may pass the end. divisor_override: divides the
    sum instead of the count.
    """
    x, kernel = _image(axes, input), sizes(kernel_size, "kernel_size", axes)
    steps = kernel if stride is None else sizes(stride, "stride", axes)
    border = sizes(padding, "padding", axes)
    if isinstance(x, QTensor):
        windows = (Sliding, kernel, steps, border, (1, 1), ceil_mode)
        return x.pool(windows, True, count_include_pad, divisor_override)
    counted = {"include_padding": count_include_pad, "divisor": divisor_override, "ceil_mode": ceil_mode}
    return apply(spatial.AVG_POOL, x, kernel=kernel, stride=steps, padding=border, **counted)


def _wanted(axes: int, x: Any, output_size: Any) -> Sizes:
    """output_size for each axis; None keeps a size."""
    given = (output_size,) * axes if output_size is None or isinstance(output_size, int) else tuple(output_size)
    return tuple(size if out is None else out for size, out in zip(x.shape[2:], given, strict=True))


def _adaptive_avg_pool(axes: int, input: Any, output_size: Any) -> Any:
    """The means of output_size windows that cover the image; None keeps a size. Integers as in `avg_pool2d`."""
    x = _image(axes, input)
    out = _wanted(axes, x, output_size)
    return x.pool((Adaptive, out), True) if isinstance(x, QTensor) else apply(spatial.ADAPTIVE_AVG_POOL, x, out=out)


def _adaptive_max_pool(axes: int, input: Any, output_size: Any) -> Any:
    """The greatest elements of output_size windows that cover the image; None keeps a size."""
    x = _image(axes, input)
    out = _wanted(axes, x, output_size)
    return x.pool((Adaptive, out), False) if isinstance(x, QTensor) else apply(spatial.ADAPTIVE_MAX_POOL, x, out=out)


MAX, AVG = per_axes(_max_pool), per_axes(_avg_pool)
ADAPTIVE_AVG, ADAPTIVE_MAX = per_axes(_adaptive_avg_pool), per_axes(_adaptive_max_pool)
max_pool1d, max_pool2d, max_pool3d = MAX
avg_pool1d, avg_pool2d, avg_pool3d = AVG
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = ADAPTIVE_AVG
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = ADAPTIVE_MAX


SLIDING = "kernel_size stride padding"


class _Pool(Layer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if vars(self)["stride"] is None:
            self.stride = self.kernel_size
        if type(self).function is avg_pool1d:  # as torch prints it
            for name in SLIDING.split():
                setattr(self, name, sizes(getattr(self, name), name, 1))


_DOC = """{0}

    (batch, channels, {1}) to the same with other sizes; the arguments are those of `{2}`.

    >>> {3}(2)(nq.ones(2, 3{4})).shape
    (2, 3{5})
    """


def _layers(name: str, functions: Any, doc: str, shown: str, base: type[Layer] = Layer) -> list[type[Any]]:
    """The layers of a family, for 1, 2 and 3 axes."""
    made = []
    for n, function in enumerate(functions, 1):
        text = _DOC.format(doc, AXES[n], function.__name__, f"{name}{n}d", ", 4" * n, ", 2" * n)
        made.append(layer(f"{name}{n}d", function, text, base, shown=shown, integers=True))
    return made


MaxPool1d, MaxPool2d, MaxPool3d = _layers(
    "MaxPool", MAX, "The greatest element of each window.", f"{SLIDING} dilation ceil_mode", _Pool
)
AvgPool1d, AvgPool2d, AvgPool3d = _layers("AvgPool", AVG, "The mean of each window.", SLIDING, _Pool)
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = _layers(
    "AdaptiveAvgPool", ADAPTIVE_AVG, "The means of output_size windows that cover the input.", "output_size"
)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = _layers(
    "AdaptiveMaxPool", ADAPTIVE_MAX, "The greatest elements of output_size windows that cover the input.", "output_size"
)
