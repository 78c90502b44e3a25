"""Learning rates over time: call `step()` after each epoch (`OneCycleLR`: after each batch).

Before: `optimizers`. After: `nanoquant.quantization`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any

from .optimizers import Optimizer


class LRScheduler:
    """Base class. rate(base, t): what becomes of a group's initial rate in epoch t."""

    def __init__(self, optimizer: Optimizer, rate: Callable[[float, int], float]) -> None:
        self.optimizer, self.rate, self.last_epoch = optimizer, rate, 0
        self.base_lrs = [float(group.setdefault("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self._set()

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(base, self.last_epoch)

    def step(self) -> None:
        """One epoch further."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The current rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions."""
        return {name: value for name, value in vars(self).items() if name not in ("optimizer", "rate")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        vars(self).update(state)


class LambdaLR(LRScheduler):
    """lr(t) = lr(0) lr_lambda(t).

    >>> from nanoquant.nn import Linear
    >>> from nanoquant.optim import SGD
    >>> optimizer = SGD(Linear(1, 1).parameters(), lr=1.0)
    >>> schedule = LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> schedule.step(); schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        super().__init__(optimizer, lambda base, t: base * lr_lambda(t))


class StepLR(LambdaLR):
    """lr(t) = lr(0) gamma^floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, lambda t: gamma ** (t // step_size))


class MultiStepLR(LambdaLR):
    """lr(t) = lr(0) gamma^(number of milestones up to t)."""

    def __init__(self, optimizer: Optimizer, milestones: list[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer, lambda t: gamma ** bisect.bisect_right(sorted(milestones), t))


class ExponentialLR(LambdaLR):
    """lr(t) = lr(0) gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer, lambda t: gamma**t)


class CosineAnnealingLR(LRScheduler):
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
        super().__init__(optimizer, lambda base, t: _along("cos", base, eta_min, t / T_max))


def _along(strategy: str, start: float, end: float, fraction: float) -> float:
    """From start to end, along half a cosine or a line."""
    left = (1 + math.cos(math.pi * fraction)) / 2 if strategy == "cos" else 1 - fraction
    return end + (start - end) * left


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in pct_start of all steps, then down to 1 / final_div_factor of where it began.

    Momentum (beta1 of Adam) moves between max_momentum and base_momentum the other way. Raises ValueError without
    total_steps, or epochs and steps_per_epoch. Source: Smith and Topin, "Super-Convergence", 2018.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float, total_steps: int | None = None, epochs: int = 0, steps_per_epoch: int = 0,
        pct_start: float = 0.3, anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
        max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
    ) -> None:  # fmt: skip
        self.total_steps = total_steps or epochs * steps_per_epoch
        if self.total_steps <= 0 or anneal_strategy not in ("cos", "linear"):
            raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch, and 'cos' or 'linear'")
        self.top, self.strategy, self.cycle_momentum = pct_start * self.total_steps - 1, anneal_strategy, cycle_momentum
        self.momenta = (max_momentum, base_momentum, max_momentum)
        first = max_lr / div_factor
        super().__init__(optimizer, lambda _, t: self._at(t, first, max_lr, first / final_div_factor))

    def _at(self, t: int, first: float, middle: float, last: float) -> float:
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR is over after {self.total_steps} steps")
        if t <= self.top:
            return _along(self.strategy, first, middle, t / self.top)
        return _along(self.strategy, middle, last, (t - self.top) / (self.total_steps - 1 - self.top))

    def _set(self) -> None:
        super()._set()
        for group in self.optimizer.param_groups if self.cycle_momentum else ():
            momentum = self._at(self.last_epoch, *self.momenta)
            group.update({"betas": (momentum, group["betas"][1])} if "betas" in group else {"momentum": momentum})


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by factor, not below min_lr, when `step(metric)` has seen no better metric for `patience` epochs.

    Better: by the fraction `threshold` of the best so far ("rel") or by itself ("abs"). After a reduction, `cooldown`
    epochs pass before it counts again.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.sign, self.relative = (1 if mode == "min" else -1), threshold_mode == "rel"
        self.factor, self.patience, self.threshold, self.cooldown = factor, patience, threshold, cooldown
        self.min_lr, self.eps, self.best = min_lr, eps, math.inf * self.sign
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer, lambda base, _: base)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """One epoch further, whose metric this was."""
        self.last_epoch += 1
        metric, margin = float(metrics), self.threshold
        limit = self.best * (1 - self.sign * margin) if self.relative else self.best - self.sign * margin
        if self.sign * (metric - limit) < 0:
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                reduced = max(group["lr"] * self.factor, self.min_lr)
                group["lr"] = reduced if group["lr"] - reduced > self.eps else group["lr"]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
