"""Steps downhill.

They work in place, in memory that they keep: a step allocates nothing.

Before: `nanoquant.nn`. After: `lr_scheduler`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..autograd.tape import changed
from ..autograd.tensor import Tensor

Array = NDArray[Any]
Options = dict[str, Any]


class Optimizer:
    """Base class: parameters in groups with options of their own, and a memory for each parameter.

    params: parameters, or dicts {"params": parameters, option: value, ...}. A subclass lists its options with their
    defaults, and defines `_remembers(options)`, the names (torch's) of the arrays it keeps for a parameter, zeros at
    first, and `_update(p, g, kept, a, b, options, t)`: it moves the numbers p, whose gradient is g, and what is kept
    for them, in the t-th step; a and b are free to use.
    """

    options: ClassVar[Mapping[str, Any]] = {"lr": 1e-3}
    _remembers: Callable[..., tuple[str, ...]]
    _update: Callable[..., None]

    def __init__(self, params: Iterable[Any], *values: Any, **options: Any) -> None:
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__} got no parameters")
        self.defaults = {**self.options, **dict(zip(self.options, values, strict=False)), **options}
        unknown = [*(self.defaults.keys() - self.options.keys()), *map(str, values[len(self.options) :])]
        if unknown:
            raise TypeError(f"{type(self).__name__} has the options {', '.join(self.options)}; got {', '.join(unknown)}")
        self.state: dict[int, dict[str, Any]] = {}
        self._room = np.empty((2, 0), np.float32)
        self.param_groups: list[dict[str, Any]] = []
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """More parameters: {"params": parameters, option: value, ...}."""
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        whole = {**self.defaults, **group, "params": params}
        if whole["lr"] < 0:
            raise ValueError(f"lr must not be negative; got {whole['lr']}")
        if whole.get("nesterov") and (whole["momentum"] <= 0 or whole["dampening"] != 0):
            raise ValueError("nesterov needs momentum and no dampening")
        self.param_groups.append(whole)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients, or sets them to 0."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None if set_to_none or parameter.grad is None else parameter.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves every parameter that has a gradient, in place. A closure is called first, and its loss returned."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, options: dict[str, Any]) -> None:
        assert parameter.grad is not None
        p, memory, names = parameter.array, self.state.setdefault(id(parameter), {"step": 0}), self._remembers(options)
        memory["step"] += 1
        for name in names:
            if name not in memory:
                memory[name] = np.zeros_like(p)
        if self._room.shape[1] < p.size or self._room.dtype != p.dtype:
            self._room = np.empty((2, p.size), p.dtype)
        a, b = (row.reshape(p.shape) for row in self._room[:, : p.size])
        self._update(p, parameter.grad.array, [memory[name] for name in names], a, b, options, memory["step"])
        changed(p)

    def state_dict(self) -> dict[str, Any]:
        """Groups and memories, as torch lays them out: parameters are numbered. The arrays are not copied."""
        number = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [number[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": {number[key]: dict(memory) for key, memory in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave, here or in torch. Raises ValueError if the groups differ in size."""
        own, other = ([len(group["params"]) for group in groups] for groups in (self.param_groups, state["param_groups"]))
        if own != other:
            raise ValueError(f"the optimizer has groups of {own} parameters; the state is for {other}")
        for group, loaded in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({key: value for key, value in loaded.items() if key in group and key != "params"})
        for i, parameter in enumerate(p for group in self.param_groups for p in group["params"]):
            if i in state["state"]:
                kept = {key: np.asarray(v).copy() for key, v in state["state"][i].items() if v is not None}
                self.state[id(parameter)] = {**kept, "step": int(kept.get("step", 1))}


def _decayed(p: Array, g: Array, options: dict[str, Any], out: Array) -> Array:
    """g + weight_decay p."""
    decay = options["weight_decay"]
    return np.add(g, np.multiply(p, decay, out=out), out=out) if decay else g


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

    options: ClassVar = {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}

    def _remembers(self, options: Options) -> tuple[str, ...]:
        return ("momentum_buffer",) if options["momentum"] else ()

    def _update(self, p: Array, g: Array, kept: list[Array], a: Array, b: Array, options: Options, t: int) -> None:
        g = _decayed(p, g, options, a)
        for v in kept:
            v *= options["momentum"]
            v += np.multiply(g, 1 - options["dampening"], out=b) if options["dampening"] and t > 1 else g
            g = np.add(g, np.multiply(v, options["momentum"], out=b), out=b) if options["nesterov"] else v
        p -= np.multiply(g, options["lr"], out=b)


class Adam(Optimizer):
    """Adam: steps of the size of lr, whatever the gradient's scale.

        m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g^2,    t = steps so far
        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    weight_decay is added to the gradient. amsgrad: the greatest v so far stands for v (Reddi et al., 2018). Source: Kingma
    and Ba, "Adam", 2015.
    """

    options: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}
    decoupled = False

    def _remembers(self, options: Options) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if options["amsgrad"] else 2]

    def _update(self, p: Array, g: Array, kept: list[Array], a: Array, b: Array, options: Options, t: int) -> None:
        (m, v, *greatest), (beta1, beta2), lr = kept, options["betas"], options["lr"]
        if self.decoupled:
            p *= 1 - lr * options["weight_decay"]
        else:
            g = _decayed(p, g, options, b)
        m += np.multiply(np.subtract(g, m, out=a), 1 - beta1, out=a)
        v *= beta2
        v += np.multiply(np.multiply(g, g, out=a), 1 - beta2, out=a)
        for most in greatest:
            v = np.maximum(v, most, out=most)
        np.multiply(np.sqrt(v, out=a), 1 / math.sqrt(1 - beta2**t), out=a)
        a += options["eps"]
        p -= np.multiply(np.divide(m, a, out=a), lr / (1 - beta1**t), out=a)


class AdamW(Adam):
    """Adam with decoupled weight decay: p = (1 - lr weight_decay) p before the step.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    options: ClassVar = {**Adam.options, "weight_decay": 1e-2}
    decoupled = True


class RMSprop(Optimizer):
    """Steps over the root of the mean square of recent gradients.

        s = alpha s + (1 - alpha) g^2,    d = sqrt(s) + eps        (centered: sqrt(s - mean^2), mean like s of g)
        p = p - lr g / d                                           (momentum: lr v, v = momentum v + g / d)

    weight_decay is added to the gradient. Source: Tieleman and Hinton, "Lecture 6.5", Coursera, 2012.
    """

    options: ClassVar = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False}

    def _remembers(self, options: Options) -> tuple[str, ...]:
        wanted = {"square_avg": True, "grad_avg": options["centered"], "momentum_buffer": options["momentum"]}
        return tuple(name for name, used in wanted.items() if used)

    def _update(self, p: Array, g: Array, kept: list[Array], a: Array, b: Array, options: Options, _: int) -> None:
        s, *more = kept
        alpha, g = options["alpha"], _decayed(p, g, options, b)
        s *= alpha
        s += np.multiply(np.multiply(g, g, out=a), 1 - alpha, out=a)
        if options["centered"]:
            mean = more[0]
            mean += np.multiply(np.subtract(g, mean, out=a), 1 - alpha, out=a)
            np.subtract(s, np.multiply(mean, mean, out=a), out=a)
        np.sqrt(a if options["centered"] else s, out=a)
        a += options["eps"]
        step = np.divide(g, a, out=a)
        if options["momentum"]:
            v = more[-1]
            v *= options["momentum"]
            v += step
            step = v
        p -= np.multiply(step, options["lr"], out=a)
