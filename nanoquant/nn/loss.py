"""What training makes small.

Before: `container`. After: `nanoquant.optim`.
"""

from __future__ import annotations

from typing import Any

from ..autograd.tensor import Tensor
from ..module import Module
from . import functional as F


class CrossEntropyLoss(Module):
    """Mean over the batch of -log softmax(logits)[target]. logits: (batch, classes); target: (batch,) integers.

    >>> round(CrossEntropyLoss()(nq.zeros(1, 4), nq.tensor([2])).item(), 4)
    1.3863
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """See the class."""
        return F.cross_entropy(x, target)


class MSELoss(Module):
    """Mean of (x - target)^2."""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """See the class."""
        return F.mse_loss(x, target)
