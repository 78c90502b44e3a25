"""Layers without weights: pooling, flatten, dropout. They take float and quantized tensors alike.

Before: `activation`. After: `container`.
"""

from __future__ import annotations

from typing import Any

from ..module import Module
from ..qtensor import QTensor
from . import functional as F
from .functional import Pair
from .linear import as_tensor


class MaxPool2d(Module):
    """The greatest element of each window; stride defaults to kernel_size.

    >>> MaxPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).shape
    (1, 1, 1, 1)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Any) -> Any:
        """(batch, channels, height, width) to (batch, channels, out_height, out_width)."""
        return F.max_pool2d(as_tensor(x), self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"


class AvgPool2d(Module):
    """The mean of each window, padding counted as zeros; stride defaults to kernel_size."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Any) -> Any:
        """(batch, channels, height, width) to (batch, channels, out_height, out_width)."""
        return F.avg_pool2d(as_tensor(x), self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The means of output_size windows that cover the image; None keeps a size.

    >>> AdaptiveAvgPool2d(1)(nq.ones(2, 3, 5, 5)).shape
    (2, 3, 1, 1)
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        """(batch, channels, height, width) to (batch, channels, *output_size)."""
        return F.adaptive_avg_pool2d(as_tensor(x), self.output_size)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"output_size={self.output_size}"


class Flatten(Module):
    """Axes start_dim..end_dim merged into one; by default all but the batch's."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """(batch, ...) to (batch, product of the rest)."""
        return F.flatten(as_tensor(x), self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """In training, zeroes each element with probability p and scales the others by 1 / (1 - p); else returns its input."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability; got {p}")
        self.p = p

    def forward(self, x: Any) -> Any:
        """See the class."""
        value = as_tensor(x)
        return value if isinstance(value, QTensor) else F.dropout(value, self.p, self.training)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"p={self.p}"
