"""Derivatives against differences: along a random direction u, the vjp and a central difference must agree on one number.

    <g, (f(x + h u) - f(x - h u)) / 2h>   =   <vjp(g), u>   +   O(h^2)

In float64, h = 1e-6 leaves an error near 1e-9. Before: `parameter`. After: `nanoquant.creation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .ops import Array
from .tensor import Tensor

H = 1e-6


def gradcheck(
    function: Callable[..., Tensor], inputs: Sequence[Array], directions: int = 3, rtol: float = 1e-5, seed: int = 0
) -> bool:
    """Whether the gradients of `function` at `inputs` agree with differences; raises AssertionError with both if not.

    inputs: float64 arrays. function: takes as many tensors and returns one. It must be smooth at the inputs: no ties
    of max, no kinks of relu within H.

    >>> gradcheck(lambda a, b: (a * b).exp(), [np.array([0.3, -1.0]), np.array([2.0, 0.5])])
    True
    """
    rng = np.random.default_rng(seed)
    points = [np.asarray(x, dtype=np.float64) for x in inputs]
    tensors = [Tensor(x.copy(), requires_grad=True) for x in points]
    y = function(*tensors)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    for trial in range(directions):
        steps = [rng.standard_normal(x.shape) for x in points]
        up, down = (function(*(Tensor(x + sign * H * u) for x, u in zip(points, steps, strict=True))).array for sign in (1, -1))
        numeric = float((g * (up - down)).sum() / (2 * H))
        products = [t.grad.array * u for t, u in zip(tensors, steps, strict=True) if t.grad is not None]
        exact, size = sum(float(p.sum()) for p in products), sum(float(np.abs(p).sum()) for p in products)
        if not abs(numeric - exact) <= rtol * max(size, 1.0):
            raise AssertionError(f"direction {trial}: the difference gives {numeric:.12g}, the gradient {exact:.12g}")
    return True
