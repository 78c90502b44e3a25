"""Steps downhill.

Before: `nanoquant.nn`. After: `lr_scheduler`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd.tensor import Tensor

Array = NDArray[Any]


class Optimizer:
    """Base class: parameters in groups with options of their own, and a memory for each parameter.

    params: parameters, or dicts {"params": parameters, option: value, ...}. Subclasses define `update`.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__} got no parameters")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[dict[str, Any]] = [{**defaults, **g, "params": list(g["params"])} for g in groups]
        self.state: dict[int, dict[str, Any]] = {}
        for group in self.param_groups:
            if group["lr"] < 0:
                raise ValueError(f"lr must not be negative; got {group['lr']}")

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Moves every parameter that has a gradient, in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad.array, self.state.setdefault(id(parameter), {}), group)

    def update(self, parameter: Tensor, gradient: Array, memory: dict[str, Any], options: dict[str, Any]) -> None:
        """Moves one parameter."""
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent.

        g = gradient + weight_decay p
        v = momentum v + (1 - dampening) g            (the first v is g)
        p = p - lr v                                  (nesterov: lr (g + momentum v))

    >>> from nanoquant.nn import Parameter
    >>> p = Parameter(np.ones(1, np.float32))
    >>> (p * p).sum().backward()
    >>> SGD([p], lr=0.25).step(); p.array
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("nesterov needs momentum and no dampening")
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, options)

    def update(self, parameter: Tensor, gradient: Array, memory: dict[str, Any], options: dict[str, Any]) -> None:
        """See the class."""
        momentum = options["momentum"]
        g = gradient + options["weight_decay"] * parameter.array if options["weight_decay"] else gradient
        step = g
        if momentum:
            if "velocity" in memory:
                memory["velocity"] *= momentum
                memory["velocity"] += (1 - options["dampening"]) * g
            else:
                memory["velocity"] = g.copy()
            step = g + momentum * memory["velocity"] if options["nesterov"] else memory["velocity"]
        parameter.array -= options["lr"] * step


class Adam(Optimizer):
    """Adam: steps of the size of lr, whatever the gradient's scale.

        m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g^2,    t = steps so far
        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    weight_decay is added to the gradient. Source: Kingma and Ba, "Adam", 2015.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, gradient: Array, memory: dict[str, Any], options: dict[str, Any]) -> None:
        """See the class."""
        (beta1, beta2), lr, decay = options["betas"], options["lr"], options["weight_decay"]
        if not memory:
            memory.update(t=0, m=np.zeros_like(parameter.array), v=np.zeros_like(parameter.array))
        if decay and self.decoupled:
            parameter.array *= 1 - lr * decay
        g = gradient + decay * parameter.array if decay and not self.decoupled else gradient
        memory["t"] += 1
        m, v, t = memory["m"], memory["v"], memory["t"]
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g * g - v)
        parameter.array -= (lr / (1 - beta1**t)) * m / (np.sqrt(v / (1 - beta2**t)) + options["eps"])


class AdamW(Adam):
    """Adam with decoupled weight decay: p = (1 - lr weight_decay) p before the step.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
