"""Learning rates over time: call `step()` after each epoch.

Before: `optimizers`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

import math

from .optimizers import Optimizer


class CosineAnnealingLR:
    """From the initial rate down to eta_min along half a cosine.

        lr(t) = eta_min + (lr(0) - eta_min) (1 + cos(pi t / T_max)) / 2

    Source: Loshchilov and Hutter, "SGDR", 2017.

    >>> from nanoquant.nn import Linear
    >>> from nanoquant.optim import SGD
    >>> optimizer = SGD(Linear(1, 1).parameters(), lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step(); round(schedule.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.optimizer, self.T_max, self.eta_min = optimizer, T_max, eta_min
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.last_epoch = 0

    def step(self) -> None:
        """One epoch further."""
        self.last_epoch += 1
        fraction = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.eta_min + (base - self.eta_min) * fraction

    def get_last_lr(self) -> list[float]:
        """The current rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]
