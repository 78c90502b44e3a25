"""optim: the formulas, step by step, and that they go downhill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, optim


def trajectory(make: Any, steps: int = 5) -> list[float]:
    """A parameter that starts at 1 and descends p^2 / 2 + p."""
    p = nn.Parameter(np.ones(1, np.float64))
    optimizer = make([p])
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        (p * p * 0.5 + p).backward(np.ones(1))
        optimizer.step()
        path.append(float(p.array[0]))
    return path


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov: bool) -> None:
    p, v, expected = 1.0, None, []
    for _ in range(5):
        g = p + 1 + 0.01 * p
        v = g if v is None else 0.9 * v + g
        p -= 0.1 * (g + 0.9 * v if nesterov else v)
        expected.append(p)
    assert np.allclose(trajectory(lambda ps: optim.SGD(ps, 0.1, 0.9, weight_decay=0.01, nesterov=nesterov)), expected)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled: bool) -> None:
    p, m, v, expected = 1.0, 0.0, 0.0, []
    for t in range(1, 6):
        g = p + 1 + (0 if decoupled else 0.1 * p)
        p *= 1 - 0.05 * 0.1 if decoupled else 1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p -= 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected.append(p)
    kind = optim.AdamW if decoupled else optim.Adam
    assert np.allclose(trajectory(lambda ps: kind(ps, 0.05, weight_decay=0.1)), expected)


def test_groups_have_their_own_options() -> None:
    a, b = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + b).backward(np.ones(1))
    optimizer.step()
    assert (a.item(), b.item()) == (0.9, 0.5)
    a.grad = None
    optimizer.step()
    assert a.item() == 0.9, "no gradient, no step"
    optimizer.zero_grad(set_to_none=False)
    assert (a.grad, b.grad.item()) == (None, 0)


def test_cosine() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.2)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(10):
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert np.allclose(rates, 0.2 + 0.8 * (1 + np.cos(np.pi * np.arange(11) / 10)) / 2)


def test_arguments() -> None:
    with pytest.raises(ValueError, match="got no parameters"):
        optim.SGD([])
    with pytest.raises(ValueError, match="lr must not be negative"):
        optim.Adam([nn.Parameter(np.ones(1))], lr=-1)
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        optim.SGD([nn.Parameter(np.ones(1))], nesterov=True)
    with pytest.raises(TypeError, match="SGD has the options lr, momentum.*; got beta"):
        optim.SGD([nn.Parameter(np.ones(1))], beta=1)
    with pytest.raises(TypeError, match="got 7"):
        optim.SGD([nn.Parameter(np.ones(1))], 0.1, 0.9, 0, 0, False, 7)
    with pytest.raises(ValueError, match="OneCycleLR needs total_steps"):
        optim.lr_scheduler.OneCycleLR(optim.SGD([nn.Parameter(np.ones(1))]), 1.0)


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.RMSprop])
def test_a_parameter_may_be_a_single_number(kind: Any) -> None:
    p = nn.Parameter(np.float32(1))
    p.grad = nq.tensor(1.0)
    kind([p], 0.1).step()
    assert p.shape == ()
    assert p.item() < 1


def test_a_step_is_a_change_in_place() -> None:
    p = nn.Parameter(np.ones(2, np.float32))
    array, loss = p.array, (p * p).sum()
    loss.backward(retain_graph=True)
    seen = optim.SGD([p], 0.5).step(lambda: loss)
    assert seen is loss
    assert p.array is array
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.RMSprop])
def test_state_goes_on(kind: Any) -> None:
    options = {"lr": 0.1} | ({} if kind is optim.Adam else {"momentum": 0.9})
    a, b = (nn.Parameter(np.ones(3)) for _ in range(2))
    first, second = kind([a], **options), kind([b], lr=7)
    for _ in range(2):
        a.grad = nq.Tensor(a.array * 2)
        first.step()
    b.data.copy_(a.data)
    second.load_state_dict(first.state_dict())
    for p, optimizer in ((a, first), (b, second)):
        p.grad = nq.Tensor(p.array * 2)
        optimizer.step()
    assert a.tolist() == b.tolist()
    assert first.state_dict()["param_groups"][0]["params"] == [0]
    with pytest.raises(ValueError, match=r"the optimizer has groups of \[2\] parameters; the state is for \[1\]"):
        kind([a, b]).load_state_dict(first.state_dict())


def test_a_schedules_state_goes_on() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    first = optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(3):
        first.step()
    second = optim.lr_scheduler.StepLR(optimizer, 2)
    second.load_state_dict(first.state_dict())
    second.step()
    assert second.get_last_lr() == pytest.approx([0.01])


def test_one_cycle_ends() -> None:
    schedule = optim.lr_scheduler.OneCycleLR(optim.Adam([nn.Parameter(np.ones(1))]), 1.0, 5)
    for _ in range(5):  # a script steps once after its last batch, too
        schedule.step()
    with pytest.raises(ValueError, match="OneCycleLR is over after 5 steps"):
        schedule.step()
