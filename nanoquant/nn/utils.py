"""Limits to gradients, in place, between `backward` and `step`.

Source: torch.nn.utils. Before: `init`. After: `functional`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor


def _gradients(parameters: Any) -> list[Any]:
    given: Iterable[Any] = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad.array for p in given if p.grad is not None]


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scales all gradients together so that their norm is at most max_norm; returns the norm they had.

    >>> p = nq.nn.Parameter(np.zeros(2, np.float32))
    >>> (p * nq.tensor([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_([p], 1.0), round(p.grad.norm().item(), 4)
    (tensor(5.), 1.0)
    """
    gradients = _gradients(parameters)
    norms = [np.linalg.norm(gradient.ravel(), norm_type) for gradient in gradients]
    total = np.asarray(np.linalg.norm(norms, norm_type) if norms else np.float32(0))
    factor = min(max_norm / (float(total) + 1e-6), 1.0)
    for gradient in gradients if factor < 1 or math.isnan(factor) else ():
        gradient *= factor
    return Tensor(total)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limits every element of the gradients to [-clip_value, clip_value]."""
    for gradient in _gradients(parameters):
        np.clip(gradient, -clip_value, clip_value, out=gradient)
