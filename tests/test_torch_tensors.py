"""The live comparison of tensors: the same expressions here and in torch, values and gradients, where torch is installed.

Everything runs in float64 on at most a few dozen elements: an element is made of at most some fifty operations, each off
by one rounding (2^-53), so that both sides agree to 64 of them, relative to the largest number that takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_autograd

import nanoquant as nq

torch = pytest.importorskip("torch", reason="torch is not installed; gradients are compared with differences instead")

g = np.random.default_rng(7)
r = test_autograd.r


def close(a: Any, b: Any) -> None:
    x, y = np.asarray(a.detach()), np.asarray(b.detach())
    assert x.shape == y.shape
    assert x.dtype == y.dtype
    size = np.abs(y[np.isfinite(y)]).max(initial=1) if y.dtype.kind == "f" else 0
    assert np.allclose(x, y, rtol=0, atol=64 * 2**-53 * size, equal_nan=True), (x, y)


def both(function: Callable[..., Any], *arrays: np.ndarray) -> None:
    """function(library, *tensors) gives one tensor or several; each floating one is differentiated."""
    ours = [nq.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, z = function(nq, *ours), function(torch, *theirs)
    y, z = ((v if isinstance(v, list | tuple) else [v]) for v in (y, z))
    assert len(y) == len(z)
    for i, (a, b) in enumerate(zip(y, z, strict=True)):
        close(a, b)
        assert a.requires_grad == b.requires_grad
        if a.requires_grad:
            seed = np.random.default_rng(i).standard_normal(a.shape)
            a.backward(seed, retain_graph=True)
            b.backward(torch.tensor(seed), retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            close(a.grad, b.grad)


ELEMENTWISE = ["exp", "sin", "cos", "erf", "tanh", "sigmoid", "abs", "relu"]
ties = np.float64([[1, 2, 2], [0, 0, -1], [2, 1, 2]])
x34, x45, i34 = r(3, 4), r(4, 5), g.integers(0, 3, (3, 4))
EXPRESSIONS: dict[str, tuple[Any, ...]] = {
    "arithmetic": (lambda t, x, y: x * y + 2 - (1 - x) / (y + 5) + 3 / (x + 9) - (-x), x34, r(4)),
    "functions": (lambda t, x, y: t.add(t.sub(x, y), t.mul(x, t.div(x, t.exp(y)))) + t.neg(x), x34, r(4)),
    "powers": (lambda t, x: [x**2, x**0, x**-1, x.pow(3), 2**x, t.pow(x, 4)], x34),
    "powers that are tensors": (lambda t, x, y: [x.abs() ** y, t.pow(x * x, y)], x34, r(4)),
    "zero to a power": (lambda t, x, y: x**y, np.zeros(3), np.float64([0, 1, 2])),
    "remainder": (lambda t, x, y: [x % y, t.remainder(x, 0.3), x.floor_divide(y).detach()], x34, r(4)),
    "elementwise": (lambda t, x: [getattr(t, n)(x) for n in ELEMENTWISE], x34),
    "of positive numbers": (lambda t, x: [getattr(x, n)() for n in ("log", "log1p", "sqrt", "rsqrt")], np.abs(x34) + 0.1),
    "steps": (lambda t, x: [getattr(x, n)() for n in ("sign", "round", "floor", "ceil")], x34 * 3),
    "halves": (lambda t, x: [x.round(), t.round(x)], np.float64([0.5, 1.5, 2.5, -0.5])),
    "kinks": (lambda t, x: [x.relu(), x.abs(), x.clamp(0, 2), x.clamp(min=1), x.clamp(max=0)], ties),
    "clamp": (lambda t, x, a, b: [x.clamp(a, b), t.clamp(x, min=a), x.clamp(max=b)], ties, ties[1], ties[2]),
    "maximum": (lambda t, x, y: [t.maximum(x, y), t.minimum(x, y), t.max(x, y), x.min(y)], ties, ties[2]),
    "sums": (lambda t, x: [x.sum(), x.sum(1), x.sum((0, 1), keepdim=True), t.mean(x, 0), x.mean([0, 1]), x.mean()], x34),
    "extremes": (lambda t, x: [x.max(), x.min(), x.amax(1), x.amin((0, 1)), t.amax(x, 0, keepdim=True)], ties),
    "extremes along": (lambda t, x: [*x.max(0), *t.min(x, 1, keepdim=True), x.argmax(1), x.argmin(), x.argmax()], x34),
    "var": (lambda t, x: [x.var(), x.var(1), x.std(0, unbiased=False), x.var(dim=(0, 1), keepdim=True)], x34),
    "norms": (lambda t, x: [x.norm(), x.norm(p=1), x.norm(2, dim=1, keepdim=True), t.norm(x, float("inf")), x.norm(3)], x34),
    "norm of 0": (lambda t, x: [x.norm(), x.norm(1), x.norm(2, 0)], np.zeros((2, 3))),
    "products": (lambda t, x: [x.prod(), x.prod(1), t.prod(x, 0, keepdim=True)], r(5, 3)),
    "products with zeros": (lambda t, x: [x.prod(), x.prod(1), x.prod(0)], np.float64([[0, 2, 3], [0, 4, 0], [1, 2, 3]])),
    "cumsum": (lambda t, x: [x.cumsum(0), t.cumsum(x, dim=-1)], x34),
    "softmax": (lambda t, x: [x.softmax(1), t.log_softmax(x, dim=0)], x34),
    "sort": (lambda t, x: [*x.sort(), *t.sort(x, 0, descending=True), t.argsort(x, 1)], x34),
    "sort of NaN": (lambda t, x: [*x.sort(), *t.sort(x, descending=True)], np.float64([1, np.nan, -np.inf, 3])),
    "topk": (lambda t, x: [*x.topk(2), *t.topk(x, 3, 0, largest=False)], x34),
    "indexing": (lambda t, x: [x[1], x[-1, 2], x[1:, ::2], x[..., 0], x[None, 1], x[:, None, 1:3]], x34),
    "indexing by lists": (lambda t, x: [x[[0, 0, 2]], x[:, [1, 1]], x[[0, 1], [2, 2]], x[1, [0, 0]]], x34),
    "indexing by tensors": (lambda t, x, i: [x[i], x[:, i[0]], x[i[:, 0], i[:, 1]], x[x > 0], x[x[:, 0] > 0]], x34, i34),
    "gather": (lambda t, x, i: [x.gather(0, i), x.gather(1, i[:2]), t.gather(x, 1, i[:, :2])], x34, i34),
    "index_select": (lambda t, x, i: [x.index_select(0, i[0]), t.index_select(x, 1, i[0])], x34, i34),
    "where": (lambda t, x, y: [t.where(x > y, x, y), x.where(x > 0, y), t.where(x > 0, x, 0.0), *t.where(x > 0)], x34, r(4)),
    "masks": (lambda t, x: [x.masked_fill(x > 0, -1), x.masked_select(x > 0), x[(x > 0) & ~(x > 1)]], x34),
    "comparisons": (lambda t, x, y: [x < y, x <= y, x > y, x.ge(y), x == y, t.ne(x, y), x == 2], ties, ties[0]),
    "short names": (lambda t, x: [x.square(), t.reciprocal(x + 9), t.log2(x * x), (x * x).log10(), x.lerp(x * 2, 0.3)], x34),
    "more or less of another": (lambda t, x, y: [x.add(y, alpha=2), t.sub(x, y, alpha=0.5), x[0].dot(y)], x34, r(4)),
    "logsumexp": (lambda t, x: [x.logsumexp(1), t.logsumexp(x, 0, keepdim=True), x.logsumexp((0, 1))], x34),
    "moved around": (lambda t, x: [x.roll(1, 0), t.roll(x, -2, 1), x.roll(5), x.repeat_interleave(2, 1)], x34),
    "triangles": (lambda t, x: [x.tril(), t.triu(x), x.tril(-1), x.triu(1)], x34),
    "middles": (lambda t, x: [*x.median(1), x.median(), *t.median(x, 0)], x34),
    "scattered": (lambda t, x, i: [x.detach().scatter(1, i[:, :2], 5.0), t.scatter(x.detach(), 0, i, x.detach())], x34, i34),
    "one-hot": (lambda t, i: [t.zeros(3, 4).scatter_(1, i[:, :1], 1.0), i.flatten().bincount(), t.unique(i)], i34),
    "logic": (lambda t, x: [t.logical_and(x > 0, x < 1), t.logical_not(x > 0), x.count_nonzero(1), t.trunc(x)], x34),
    "questions": (lambda t, x: [(x > 0).all(), (x > 0).any(1), t.isnan(x), t.isfinite(x), x.nonzero()], ties),
    "shapes": (lambda t, x: [x.view(2, 6), x.reshape(-1), t.flatten(x), x.t(), x.T, x.transpose(0, 1), x.permute(1, 0)], x34),
    "axes of size 1": (lambda t, x: [x.unsqueeze(1), x.unsqueeze(-1).squeeze(), x[:1].squeeze(0), x.squeeze(0)], x34),
    "expand": (lambda t, x: [x.expand(2, 3, 4), x[:1].expand(5, -1), x[0].expand_as(x)], x34),
    "repeat": (lambda t, x: [x.repeat(2, 1), x.repeat(2, 1, 3), x[0].repeat(4)], x34),
    "flip": (lambda t, x: [x.flip(0), t.flip(x, [0, 1])], x34),
    "parts": (lambda t, x: [*x.split(2, 1), *t.split(x, [1, 2]), *x.chunk(3, 1), *x.unbind(1), x.narrow(1, 1, 2)], x34),
    "cat": (lambda t, x, y: [t.cat([x, y], 0), t.cat((x, y, x), dim=-1), t.stack([x, y]), t.stack([x, y], -1)], x34, r(3, 4)),
    "matmul": (lambda t, x, y: [x @ y, t.matmul(x, y), t.mm(x, y), x[0] @ y, x @ y[:, 0], x[0] @ y[:, 0]], x34, x45),
    "matmul, batched": (lambda t, x, y: [x @ y, t.bmm(x, y), x @ y[0], x[0] @ y, x[0, 0] @ y], r(2, 3, 4), r(2, 4, 5)),
    "outer": (lambda t, x, y: t.outer(x, y), r(3), r(4)),
    "einsum": (lambda t, x, y: [t.einsum("ij,jk->ik", x, y), t.einsum("ij, jk", x, y), t.einsum("ij,jk->", x, y)], x34, x45),
    "einsum, others": (lambda t, x, y: [t.einsum("ij->j", x), t.einsum("ij->ji", x), t.einsum("ij,kl->kj", x, y)], x34, x45),
    "einsum, batched": (lambda t, x, y: t.einsum("bij,bjk->bik", x, y), r(2, 3, 4), r(2, 4, 5)),
    "einsum, dots": (lambda t, x, y: [t.einsum("...ij,...jk", x, y), t.einsum("...ij->...j", x)], r(2, 3, 4), r(4, 5)),
    "einsum of three": (lambda t, x, y, z: t.einsum("bi,oij,bj->bo", x, z, y), r(3, 2), r(3, 4), r(5, 2, 4)),
    "assignment": (lambda t, x, y: assign(t, x, y), x34, r(4)),
    "in place": (lambda t, x, y: in_place(x, y), x34, r(4)),
    "dtypes": (lambda t, x, i: [x.float().double(), i * 2, i + x, i / 2, (x > 0).long(), x.to(t.float32).to(x)], x34, i34),
    "integers": (lambda t, i: [i + 1, i - i, i // 2, i.sum(), i.max(), (i > 1).sum(), i.bool(), i.sort(1).values, i**2], i34),
}  # fmt: skip


def assign(t: Any, x: Any, y: Any) -> list[Any]:
    a = x * 2
    a[1] = y
    b = t.zeros(3, 4, dtype=t.float64)
    b[:, 1] = x[:, 2] * 3
    b[0, [2, 3]] = y[:2]
    b[2] += y
    c = a.clone()
    c[a > 1] = 0.5
    return [a, b, c]


def in_place(x: Any, y: Any) -> list[Any]:
    a = x * 2
    before = a.exp()
    a += y
    a.mul_(3).sub_(1, alpha=2).clamp_(max=2)
    a -= 1
    b = (x + 1).neg_().masked_fill_(x > 1, 0)
    c = x.detach().clone()
    c.add_(1).div_(2).neg_()
    c[0].fill_(7)
    c[1].zero_()
    c[2].copy_(y.detach())
    return [a, before, b, c]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name: str) -> None:
    function, *arrays = EXPRESSIONS[name]
    both(function, *arrays)


def test_constructors() -> None:
    for make in (
        lambda t: t.arange(5),
        lambda t: t.arange(1, 2, 0.25),
        lambda t: t.arange(7, 1, -2),
        lambda t: t.linspace(-1, 2, 7),
        lambda t: t.eye(3),
        lambda t: t.eye(2, 3),
        lambda t: t.full((2, 3), 7),
        lambda t: t.full((2,), 0.5),
        lambda t: t.zeros(2, 3),
        lambda t: t.ones((2, 3)),
        lambda t: t.ones_like(t.arange(3)),
        lambda t: t.zeros_like(t.ones(2), dtype=t.int64),
        lambda t: t.full_like(t.ones(2), 3),
        lambda t: t.tensor([1, 2]),
        lambda t: t.tensor([1.0, 2]),
        lambda t: t.tensor([True]),
        lambda t: t.ones(2).new_zeros(3),
        lambda t: t.arange(2).new_full((2,), 3),
        lambda t: t.from_numpy(np.arange(3.0)),
    ):
        ours, theirs = make(nq).numpy(), make(torch).numpy()
        assert ours.dtype == theirs.dtype
        assert np.allclose(ours, theirs, rtol=2**-23)


def test_a_function_of_ones_own() -> None:
    def rounding(t: Any) -> Any:
        class Round(t.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, scale: Any, steps: int) -> Any:
                ctx.save_for_backward(x, scale)
                ctx.steps = steps
                q = (x / scale).round()
                inside = q.abs() <= steps
                ctx.mark_non_differentiable(inside)
                return q.clamp(-steps, steps) * scale, inside

            @staticmethod
            def backward(ctx: Any, g: Any, _: Any) -> Any:
                x, scale = ctx.saved_tensors
                assert ctx.needs_input_grad == (True, True, False)
                inside = ((x / scale).round().abs() <= ctx.steps).type(x.dtype)
                return g * inside, (g * x.sign() * (1 - inside)).sum(), None

        return Round

    both(lambda t, x, s: rounding(t).apply(x * 3, s.exp(), 2), x34, r())
    both(lambda t, x: t.autograd.grad((x * x).sum() * 1, x)[0], x34)
