"""Torch's functions of tensors: those that are methods too, and those that take several tensors.

    >>> nq.stack([nq.zeros(2), nq.ones(2)], dim=1)
    tensor([[0., 1.],
            [0., 1.]])
    >>> nq.einsum("bi,bj->ij", nq.ones(3, 2), nq.ones(3, 2)).tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    >>> nq.exp(nq.zeros(2)), nq.max(nq.tensor([[1, 3, 2]]), 1)
    (tensor([1., 1.]), Found(values=tensor([3]), indices=tensor([1])))

Before: `creation`. After: `nanoquant.nn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .autograd.ops import OPS, Array, Op
from .autograd.tensor import Tensor, apply
from .qparams import QParams
from .qtensor import QTensor
from .scheme import qint8, qint16, qint32, quint8
from .shaped import says


def _of_tensors(names: str) -> Iterator[Callable[..., Any]]:
    """f(x, ...) = x.f(...), also for arrays and numbers."""

    def function(name: str) -> Callable[..., Any]:
        def call(input: Any, *given: Any, **options: Any) -> Any:
            x = input if isinstance(input, Tensor | QTensor) else Tensor(np.asarray(input))
            return getattr(x, name)(*given, **options)

        call.__name__ = call.__qualname__ = name
        return says(f"x.{name}(...): {getattr(Tensor, name).__doc__}", call)

    return map(function, names.split())


add, sub, mul, div, remainder, floor_divide, neg, pow = _of_tensors("add sub mul div remainder floor_divide neg pow")
exp, log, log1p, sqrt, rsqrt, sin, cos, erf = _of_tensors("exp log log1p sqrt rsqrt sin cos erf")
relu, tanh, sigmoid, softmax, log_softmax = _of_tensors("relu tanh sigmoid softmax log_softmax")
abs, sign, round, floor, ceil, clamp = _of_tensors("abs sign round floor ceil clamp")
sum, mean, var, std, norm, prod, cumsum = _of_tensors("sum mean var std norm prod cumsum")
max, min, amax, amin, maximum, minimum = _of_tensors("max min amax amin maximum minimum")
argmax, argmin, sort, argsort, topk, nonzero = _of_tensors("argmax argmin sort argsort topk nonzero")
all, any, allclose, equal, isnan, isinf, isfinite = _of_tensors("all any allclose equal isnan isinf isfinite")
eq, ne, lt, le, gt, ge = _of_tensors("eq ne lt le gt ge")
flatten, reshape, permute, transpose, squeeze = _of_tensors("flatten reshape permute transpose squeeze")
unsqueeze, flip, split, chunk, unbind, gather = _of_tensors("unsqueeze flip split chunk unbind gather")
index_select, masked_fill, masked_select, clone, matmul = _of_tensors("index_select masked_fill masked_select clone matmul")
logsumexp, roll, median, tril, triu, dot, square = _of_tensors("logsumexp roll median tril triu dot square")
reciprocal, log2, log10, trunc, lerp = _of_tensors("reciprocal log2 log10 trunc lerp")
unique, bincount, count_nonzero, repeat_interleave = _of_tensors("unique bincount count_nonzero repeat_interleave")
logical_and, logical_or, logical_not, scatter = _of_tensors("logical_and logical_or logical_not scatter")
numel, is_floating_point = _of_tensors("numel is_floating_point")
bmm = mm = matmul


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor, quantized or not."""
    return isinstance(obj, Tensor | QTensor)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along an axis."""
    return apply(OPS["cat"], *tensors, axis=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def where(condition: Any, x: Any = None, other: Any = None) -> Any:
    """x where the condition holds, else other; of a condition alone, the indices where it holds, one tensor per axis."""
    if x is None:
        return Tensor(condition).nonzero(as_tuple=True)
    return apply(OPS["where"], np.asarray(condition), x, other)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """All products of two elements: x_i y_j."""
    return x.unsqueeze(1) * y


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products by Einstein's convention: axes with one letter run together; those not after -> are summed.

    Raises ValueError for an equation that repeats a letter within one operand.
    """
    terms, _, output = equation.replace(" ", "").partition("->")
    letters = [c for c in terms if c.isalpha()]
    if any_repeated := [t for t in terms.split(",") if len(set(t.replace(".", ""))) != len(t.replace(".", ""))]:
        raise ValueError(f"einsum: a diagonal, as in {any_repeated[0]!r}, is not supported")
    if "->" not in equation:
        output = "..." * ("." in terms) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return apply(EINSUM, *operands, equation=f"{terms}->{output}")


def _einsum(*operands: Array, equation: str = "") -> Array:
    return np.asarray(np.einsum(equation, *operands, optimize=True))


def _einsum_vjp(g: Array, y: Array, *operands: Array, equation: str = "") -> tuple[Array, ...]:
    """The gradient of an operand is an einsum of g and the others; an axis of its own, summed away, gets it everywhere."""
    left, output = equation.split("->")
    terms = left.split(",")
    gradients = []
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        others = [output, *terms[:i], *terms[i + 1 :]]
        kept = "".join(c for c in term if c in "".join(others))
        part = np.einsum(f"{','.join(others)}->{kept}", g, *operands[:i], *operands[i + 1 :], optimize=True)
        own = [at - len(term) * ("." in term[:at]) for at, c in enumerate(term) if c not in kept]
        gradients.append(np.broadcast_to(np.expand_dims(part, tuple(own)), operand.shape) if own else part)
    return tuple(gradients)


EINSUM = Op("einsum", _einsum, _einsum_vjp)


def fake_quantize_per_tensor_affine(input: Any, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Tensor:
    """scale * (clamp(rint(x / scale) + zero_point, quant_min, quant_max) - zero_point); see `autograd.fake_quant`.

    >>> fake_quantize_per_tensor_affine(nq.tensor([0.3, 9.0]), 0.25, 8, 0, 15)
    tensor([0.25, 1.75])
    """
    return _fake_quantize(input, scale, zero_point, None, quant_min, quant_max)


def fake_quantize_per_channel_affine(
    input: Any, scale: Any, zero_point: Any, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """`fake_quantize_per_tensor_affine` with a scale and a zero point for each index along an axis."""
    return _fake_quantize(input, scale, zero_point, axis, quant_min, quant_max)


def _fake_quantize(input: Any, scale: Any, zero_point: Any, axis: int | None, low: int, high: int) -> Tensor:
    kinds = (quint8, qint8, qint16, qint32)
    dtype = next((t for t in kinds if t.quant_min <= low and high <= t.quant_max), qint32)
    x = input if isinstance(input, Tensor) else Tensor(np.asarray(input, np.float32))
    return x.fake_quantize(QParams(np.asarray(scale, np.float32), np.asarray(zero_point), dtype, axis, low, high))
