"""Initial weights: each function fills a tensor in place, outside the graph, and returns it.

    Glorot (xavier)    std = gain sqrt(2 / (fan_in + fan_out))            keeps variances in both directions
    He (kaiming)       std = gain / sqrt(fan_in), or fan_out              keeps them through ReLU

fan_in, fan_out: how many inputs make an output, how many outputs an input makes. The uniform forms have the same variance:
bound = sqrt(3) std.

Source: Glorot and Bengio, 2010; He et al., "Delving Deep into Rectifiers", 2015. Before: `container`. After: `loss`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ..creation import generator

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What a nonlinearity takes from a standard deviation; leaky_relu: sqrt(2 / (1 + param^2)), param its slope (0.01).

    >>> calculate_gain("leaky_relu", 1.0), calculate_gain("conv2d")
    (1.0, 1.0)
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    name = "linear" if nonlinearity.startswith("conv") else nonlinearity
    if name not in GAINS:
        raise ValueError(f"nonlinearity must be one of leaky_relu, conv..., {', '.join(GAINS)}; got {nonlinearity!r}")
    return GAINS[name]


def _fans(tensor: Any) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(f"fan_in and fan_out need at least two axes; got shape {tensor.shape}")
    pixels = math.prod(tensor.shape[2:])
    return tensor.shape[1] * pixels, tensor.shape[0] * pixels


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """U(a, b)."""
    return constant_(tensor, generator().uniform(a, b, tensor.shape))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """N(mean, std^2)."""
    return constant_(tensor, generator().normal(mean, std, tensor.shape))


def constant_(tensor: Any, val: Any) -> Any:
    """val everywhere."""
    tensor.array[...] = val
    return tensor


zeros_, ones_ = partial(constant_, val=0.0), partial(constant_, val=1.0)


def _glorot(tensor: Any, gain: float = 1.0) -> float:
    return gain * math.sqrt(2 / sum(_fans(tensor)))


def _he(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> float:
    """a: the slope of leaky_relu."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out'; got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


def _uniform(std: Callable[..., float], tensor: Any, *args: Any, **options: Any) -> Any:
    bound = math.sqrt(3) * std(tensor, *args, **options)
    return uniform_(tensor, -bound, bound)


def _normal(std: Callable[..., float], tensor: Any, *args: Any, **options: Any) -> Any:
    return normal_(tensor, 0.0, std(tensor, *args, **options))


xavier_uniform_, xavier_normal_ = partial(_uniform, _glorot), partial(_normal, _glorot)
kaiming_uniform_, kaiming_normal_ = partial(_uniform, _he), partial(_normal, _he)
