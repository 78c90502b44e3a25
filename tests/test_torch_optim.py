"""The live comparison of optimizers, schedules and clipping with torch, step by step, where torch is installed.

In float64, after t steps, both sides differ by at most the roundings of t steps: some twenty each, of 2^-53 relative to the
largest number that takes part, and RMSprop and Adam divide by roots that may magnify them. 2^-40 leaves a wide margin, and
still finds any formula that differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, optim

torch = pytest.importorskip("torch", reason="torch is not installed; the formulas are compared instead")

OPTIMIZERS = {
    "SGD": [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, {"lr": 0.1, "momentum": 0.8, "dampening": 0.3},
            {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "Adam": [{}, {"lr": 0.03, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}, {"amsgrad": True}],
    "AdamW": [{}, {"lr": 0.03, "weight_decay": 0.2}, {"amsgrad": True}],
    "RMSprop": [{}, {"lr": 0.02, "alpha": 0.9, "weight_decay": 0.1}, {"momentum": 0.9}, {"centered": True, "momentum": 0.5}],
}  # fmt: skip
CASES = [(name, options) for name, several in OPTIMIZERS.items() for options in several]


def pair(shapes: list[tuple[int, ...]], seed: int = 0) -> tuple[list[Any], list[Any]]:
    g = np.random.default_rng(seed)
    arrays = [np.asarray(g.standard_normal(shape)) for shape in shapes]
    return [nn.Parameter(a.copy()) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def give_gradients(ours: list[Any], theirs: list[Any], g: np.random.Generator) -> None:
    for a, b in zip(ours, theirs, strict=True):
        gradient = np.asarray(g.standard_normal(a.shape))
        a.grad, b.grad = nq.Tensor(gradient.copy()), torch.tensor(gradient)


def assert_close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.array, b.detach().numpy(), rtol=0, atol=2**-40 * np.abs(a.array).max())


@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pair([(3, 4), (50,), ()])
    g = np.random.default_rng(1)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for _ in range(10):
        give_gradients(ours, theirs, g)
        a.step()
        b.step()
        assert_close(ours, theirs)
    c = getattr(optim, name)(ours, lr=99.0)
    c.load_state_dict(b.state_dict())  # torch's state goes on here
    for _ in range(3):
        give_gradients(ours, theirs, g)
        c.step()
        b.step()
        assert_close(ours, theirs)


SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + t)),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 15, 0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20),
    "OneCycleLR, linear": lambda s, o: s.OneCycleLR(o, 0.5, epochs=4, steps_per_epoch=5, anneal_strategy="linear", pct_start=0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_schedules(name: str, optimizer: str) -> None:
    ours, theirs = pair([(2,), (3,)])
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    groups = lambda ps: [{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.7}]  # noqa: E731
    a = getattr(optim, optimizer)(groups(ours), lr=0.2, **options)
    b = getattr(torch.optim, optimizer)(groups(theirs), lr=0.2, **options)
    x, y = SCHEDULES[name](optim.lr_scheduler, a), SCHEDULES[name](torch.optim.lr_scheduler, b)
    for _ in range(19):
        assert np.allclose(x.get_last_lr(), y.get_last_lr(), rtol=1e-12)
        for key in ("momentum", "betas"):
            assert np.allclose(a.param_groups[0].get(key, 0), b.param_groups[0].get(key, 0), rtol=1e-12)
        b.step()
        x.step()
        y.step()


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "cooldown": 2}])
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    ours, theirs = pair([(2,)])
    a, b = optim.SGD(ours, lr=0.2), torch.optim.SGD(theirs, lr=0.2)
    options = {"patience": 2, "factor": 0.5, "min_lr": 0.01, **options}
    x, y = optim.lr_scheduler.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    g = np.random.default_rng(3)
    for metric in np.concatenate([np.linspace(1, 0.5, 10), g.uniform(0.4, 0.6, 60)]):
        x.step(nq.tensor(metric))
        y.step(metric)
        assert x.get_last_lr() == pytest.approx([b.param_groups[0]["lr"]], rel=1e-12)


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping(kind: float, limit: float) -> None:
    ours, theirs = pair([(3, 4), (5,), (2,)])
    give_gradients(ours, theirs, np.random.default_rng(0))
    ours[2].grad = theirs[2].grad = None
    a = optim.clip_grad_norm_(ours, limit, kind)
    assert a.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, limit, kind).item(), rel=1e-6)
    assert_close([p.grad for p in ours[:2]], [p.grad for p in theirs[:2]])
    optim.clip_grad_value_(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    assert_close([p.grad for p in ours[:2]], [p.grad for p in theirs[:2]])
