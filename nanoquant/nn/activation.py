"""Activations: one table of formulas, from which the functions and the layers are made.

A row is (function, layer, arguments, formula, f, derivative): y = f(x, **arguments) elementwise, and its gradient is
g * derivative(x, y, **arguments).

Before: `linear`. After: `shape`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from ..autograd.ops import OPS, Array, Op
from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor, apply
from ..module import Module
from ..qtensor import QTensor
from .layer import Layer, as_tensor, layer


def _erfc_over_t(points: Array) -> Array:
    """log(erfc(z) / t) + z^2 for each t = 1 / (1 + z / 2): smooth enough for a polynomial in t, which erfc itself is not."""
    z = 2 / points - 2
    return np.log([math.erfc(v) for v in z] / points) + z * z


_FAR = 9.0  # erfc is below 1e-36 from here on
_ERFC: list[float] = Chebyshev.interpolate(_erfc_over_t, 10, [1 / (1 + _FAR / 2), 1]).convert(kind=Polynomial).coef.tolist()


def erf(x: Array) -> Array:
    """2 / sqrt(pi) int_0^x e^-s^2 ds = sign(x) (1 - t e^(P(t) - x^2)), t = 1 / (1 + |x| / 2).

    P has degree 10 and interpolates the C library's erfc; the error is below 1e-9 in float64, 5e-7 in float32.
    """
    z = np.minimum(np.abs(x), x.dtype.type(_FAR))
    t = 1 / (1 + z / 2)
    p = np.full_like(t, _ERFC[-1])
    for coefficient in _ERFC[-2::-1]:
        p *= t
        p += coefficient
    return np.asarray(np.copysign(1 - t * np.exp(p - z * z), x))


_sigmoid = OPS["sigmoid"].forward
_WAVE = math.sqrt(2 / math.pi)


def _normal_cdf(x: Array, approximate: str) -> Array:
    """Phi(x), the standard normal distribution; 'tanh': (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh'; got {approximate!r}")
    inner = erf(x * math.sqrt(0.5)) if approximate == "none" else np.tanh(_WAVE * (x + 0.044715 * x * x * x))
    return np.asarray(0.5 + 0.5 * inner)


def _gelu_slope(x: Array, y: Array, approximate: str) -> Array:
    """Phi(x) + x phi(x), where phi is the derivative of Phi."""
    cdf = _normal_cdf(x, approximate)
    if approximate == "none":
        return np.asarray(cdf + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))
    return np.asarray(cdf + x * 2 * cdf * (1 - cdf) * _WAVE * (1 + 3 * 0.044715 * x * x))


def _swish_slope(x: Array, y: Array) -> Array:
    s = _sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


def _mish_slope(x: Array, y: Array) -> Array:
    """t + x (1 - t^2) s, t = tanh(log(1 + e^x)), s the sigmoid."""
    t = np.tanh(np.logaddexp(0, x))
    return np.asarray(t + x * (1 - t * t) * _sigmoid(x))


# Klambauer et al., "Self-Normalizing Neural Networks", 2017: mean 0 and variance 1 are a fixed point
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

Row = tuple[str, str, dict[str, Any], str, Callable[..., Any], Callable[..., Any]]
ROWS: list[Row] = [
    ("sigmoid", "Sigmoid", {}, "1 / (1 + e^-x)", _sigmoid, lambda x, y: y * (1 - y)),
    ("tanh", "Tanh", {}, "(e^x - e^-x) / (e^x + e^-x)", np.tanh, lambda x, y: 1 - y * y),
    ("relu6", "ReLU6", {"inplace": False}, "min(max(x, 0), 6)",
     lambda x: np.clip(x, 0, 6), lambda x, y: (x > 0) & (x < 6)),
    ("hardtanh", "Hardtanh", {"min_val": -1.0, "max_val": 1.0, "inplace": False}, "min(max(x, min_val), max_val)",
     lambda x, min_val, max_val: np.clip(x, min_val, max_val),
     lambda x, y, min_val, max_val: (x > min_val) & (x < max_val)),
    ("hardsigmoid", "Hardsigmoid", {"inplace": False}, "min(max(x + 3, 0), 6) / 6",
     lambda x: np.clip(x + 3, 0, 6) / 6, lambda x, y: (np.abs(x) < 3) / 6),
    ("hardswish", "Hardswish", {"inplace": False}, "x min(max(x + 3, 0), 6) / 6",
     lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda x, y: np.where(np.abs(x) < 3, x / 3 + 0.5, x >= 3)),
    ("leaky_relu", "LeakyReLU", {"negative_slope": 0.01, "inplace": False}, "x where x > 0, else negative_slope x",
     lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
     lambda x, y, negative_slope: np.where(x > 0, 1, negative_slope)),
    ("elu", "ELU", {"alpha": 1.0, "inplace": False}, "x where x > 0, else alpha (e^x - 1)",
     lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
     lambda x, y, alpha: np.where(x > 0, 1, y + alpha)),
    ("celu", "CELU", {"alpha": 1.0, "inplace": False}, "x where x > 0, else alpha (e^(x / alpha) - 1)",
     lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
     lambda x, y, alpha: np.where(x > 0, 1, y / alpha + 1)),
    ("selu", "SELU", {"inplace": False}, "1.0507 x where x > 0, else 1.7581 (e^x - 1)",
     lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
     lambda x, y: np.where(x > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)),
    ("mish", "Mish", {"inplace": False}, "x tanh(log(1 + e^x))", lambda x: x * np.tanh(np.logaddexp(0, x)), _mish_slope),
    ("softsign", "Softsign", {}, "x / (1 + |x|)", lambda x: x / (1 + np.abs(x)), lambda x, y: (1 - np.abs(y)) ** 2),
    ("logsigmoid", "LogSigmoid", {}, "log(1 / (1 + e^-x))",
     lambda x: -np.logaddexp(0, -x), lambda x, y: 1 - np.exp(y)),
    ("silu", "SiLU", {"inplace": False}, "x / (1 + e^-x)", lambda x: x * _sigmoid(x), _swish_slope),
    ("gelu", "GELU", {"approximate": "none"}, "x Phi(x), Phi the standard normal distribution or its 'tanh' approximation",
     lambda x, approximate: x * _normal_cdf(x, approximate), _gelu_slope),
    ("softplus", "Softplus", {"beta": 1.0, "threshold": 20.0}, "log(1 + e^(beta x)) / beta, x where beta x > threshold",
     lambda x, beta, threshold: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
     lambda x, y, beta, threshold: np.where(beta * x > threshold, 1, _sigmoid(beta * x))),
]  # fmt: skip
CLAMPS = {"relu6": (0.0, 6.0), "hardtanh": ()}  # of quantized tensors, too; hardtanh's ends are its options


def _function(row: Row) -> Callable[..., Any]:
    """The function of a row, with torch's arguments; inplace is accepted and changes nothing."""
    name, _, defaults, formula, f, derivative = row
    op = Op(name, f, lambda g, y, x, **given: (np.multiply(g, derivative(x, y, **given), dtype=g.dtype),))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [inspect.Parameter(key, kind, default=value) for key, value in defaults.items()]
    signature = inspect.Signature([inspect.Parameter("input", kind), *own])

    def function(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        options = {key: given.get(key, value) for key, value in defaults.items() if key != "inplace"}
        x = as_tensor(given["input"])
        if isinstance(x, QTensor) and name in CLAMPS:
            return x.clamp(*(options.values() or CLAMPS[name]))
        return apply(op, x, **options)

    vars(function).update(__signature__=signature)
    function.__name__, function.__doc__ = name, f"{formula}."
    return function


def _layer(row: Row, function: Callable[..., Tensor]) -> type[Any]:
    kind = "float or quantized" if row[0] in CLAMPS else "float"
    doc = f"y = {row[3]}, elementwise, of a {kind} tensor of any shape; `{row[0]}` is its function."
    shown = " ".join(row[2]).replace("inplace", "inplace?")
    return layer(row[1], function, doc, shown=shown, integers=row[0] in CLAMPS)


FUNCTIONS = [_function(row) for row in ROWS]
sigmoid, tanh, relu6, hardtanh, hardsigmoid, hardswish, leaky_relu, elu = FUNCTIONS[:8]
celu, selu, mish, softsign, logsigmoid, silu, gelu, softplus = FUNCTIONS[8:]
LAYERS = list(map(_layer, ROWS, FUNCTIONS))
Sigmoid, Tanh, ReLU6, Hardtanh, Hardsigmoid, Hardswish, LeakyReLU, ELU = LAYERS[:8]
CELU, SELU, Mish, Softsign, LogSigmoid, SiLU, GELU, Softplus = LAYERS[8:]


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), of a float or a quantized tensor. inplace is accepted and changes nothing."""
    del inplace
    return as_tensor(input).relu()


class ReLU(Layer):
    """max(x, 0), of a float or a quantized tensor. inplace is accepted and changes nothing.

    >>> ReLU()([-1.0, 2.0])
    tensor([0., 2.])
    >>> LeakyReLU(0.1), LeakyReLU(0.1)([-1.0, 2.0])
    (LeakyReLU(negative_slope=0.1), tensor([-0.1,  2. ]))
    """

    function, shown, integers = staticmethod(relu), "inplace?", True


def prelu(input: Any, weight: Tensor) -> Tensor:
    """x where x > 0, else weight x; weight: (1,), or one for each channel (axis 1)."""
    x: Tensor = as_tensor(input)
    slope = weight if weight.numel() == 1 else weight.reshape(-1, *(1 for _ in x.shape[2:]))
    return x.relu() - slope * (-x).relu()


class PReLU(Layer):
    """Leaky ReLU with a learned slope: x where x > 0, else weight x. weight: (num_parameters,), 1 or one per channel."""

    function, shown = staticmethod(prelu), "num_parameters"

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        Module.__init__(self)
        self.num_parameters, self.weight = num_parameters, Parameter(np.full(num_parameters, init, np.float32))


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    e /= e.sum(axis=axis, keepdims=True)
    return np.asarray(e)


SOFTMAX = Op("softmax", _softmax, lambda g, y, x, axis: (y * (g - (g * y).sum(axis=axis, keepdims=True)),))


def _axis(x: Tensor, dim: int | None) -> int:
    """torch's choice where dim is not given: 0 for one or three axes, else 1."""
    return dim if dim is not None else 0 if x.ndim in (0, 1, 3) else 1


def softmax(input: Any, dim: int | None = None) -> Tensor:
    """e^x_i / sum_j e^x_j along an axis."""
    x = as_tensor(input)
    return apply(SOFTMAX, x, axis=_axis(x, dim))


def log_softmax(input: Any, dim: int | None = None) -> Tensor:
    """log(e^x_i / sum_j e^x_j) along an axis."""
    x = as_tensor(input)
    return apply(OPS["log_softmax"], x, axis=_axis(x, dim))


Softmax = layer("Softmax", softmax, "e^x_i / sum_j e^x_j along the axis `dim`.", shown="dim")
LogSoftmax = layer("LogSoftmax", log_softmax, "log(e^x_i / sum_j e^x_j) along the axis `dim`.", shown="dim")
