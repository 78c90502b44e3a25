"""optim: the formulas, step by step, and that they go downhill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
