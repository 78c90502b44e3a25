"""Activations.

Before: `norm`. After: `pool`.
"""

from __future__ import annotations

from typing import Any

from ..module import Module
from .linear import as_tensor


class ReLU(Module):
    """max(x, 0), of a float or a quantized tensor. inplace is accepted and changes nothing.

    >>> ReLU()([-1.0, 2.0])
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """See the class."""
        return as_tensor(x).relu()
