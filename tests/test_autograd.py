"""autograd: every row of the tables against differences, and the walk back."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import strategies
from golden_vectors import cases
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant.autograd import grad, gradcheck
from nanoquant.autograd.ops import OPS, Op
from nanoquant.autograd.tape import is_grad_enabled
from nanoquant.autograd.tensor import Tensor, apply
from nanoquant.nn import functional as F
from nanoquant.nn import normalization, spatial
from nanoquant.qparams import QParams
from nanoquant.scheme import QDTYPES

g = np.random.default_rng(0)


def r(*shape: int) -> np.ndarray:
    return g.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return g.uniform(0.5, 2, shape)


# One call for every op of the table: (function, inputs).
CALLS: dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]] = {
    "add": (lambda a, b: a + b, [r(2, 3), r(3)]),
    "sub": (lambda a, b: a - b, [r(2, 1), r(2, 3)]),
    "mul": (lambda a, b: a * b, [r(2, 3), r(1, 3)]),
    "div": (lambda a, b: a / b, [r(2, 3), positive(3)]),
    "remainder": (lambda a, b: a % b, [r(2, 3), positive(3)]),
    "power": (lambda a, b: a**b + 2**b + a.pow(b), [positive(2, 3), r(3)]),
    "maximum": (lambda a, b: a.maximum(b), [r(4), r(4)]),
    "minimum": (lambda a, b: a.minimum(b), [r(4), r(1)]),
    "clone": (lambda x: x.clone(), [r(3)]),
    "cast": (lambda x: x.type(np.float64) + x, [r(3)]),
    "neg": (lambda x: -x, [r(3)]),
    "pow": (lambda x: x**3 + x**0, [r(4)]),
    "exp": (lambda x: x.exp(), [r(4)]),
    "log": (lambda x: x.log(), [positive(4)]),
    "log1p": (lambda x: x.log1p(), [positive(4)]),
    "sqrt": (lambda x: x.sqrt(), [positive(4)]),
    "rsqrt": (lambda x: x.rsqrt(), [positive(4)]),
    "abs": (lambda x: x.abs() + abs(x), [r(4)]),
    "sin": (lambda x: x.sin(), [r(4)]),
    "cos": (lambda x: x.cos(), [r(4)]),
    "erf": (lambda x: x.erf(), [r(4)]),
    "relu": (lambda x: x.relu(), [r(10)]),
    "tanh": (lambda x: x.tanh(), [r(4)]),
    "sigmoid": (lambda x: x.sigmoid(), [r(4) * 5]),
    "clamp": (lambda x: x.clamp(-0.5, 0.7) + x.clamp(max=0.1), [r(10)]),
    "sign": (lambda x: x.sign() * x, [r(4)]),
    "round": (lambda x: x.round() * x, [r(4)]),
    "floor": (lambda x: x.floor() * x, [r(4)]),
    "ceil": (lambda x: x.ceil() * x, [r(4)]),
    "where": (lambda a, b: a.where(a > b, b * 2), [r(2, 3), r(3)]),
    "sum": (lambda x: x.sum((0, 2), keepdim=True) + x.sum() + x.sum([1]).sum(), [r(2, 3, 4)]),
    "mean": (lambda x: x.mean(1) + x.mean(), [r(2, 3)]),
    "max": (lambda x: x.max() + x.amax(1), [r(2, 3)]),
    "min": (lambda x: x.min() + x.amin((0, 1)), [r(2, 3)]),
    "cumsum": (lambda x: x.cumsum(1) + x.cumsum(dim=0), [r(2, 3)]),
    "log_softmax": (lambda x: F.log_softmax(x, 1) + x.softmax(0), [r(3, 5)]),
    "reshape": (lambda x: x.reshape(3, -1) * x.view(3, 4), [r(2, 6)]),
    "permute": (lambda x: x.permute(2, 0, 1).transpose(0, 1), [r(2, 3, 4)]),
    "expand": (lambda x: x.expand(4, -1, 3) ** 2, [r(2, 1)]),
    "getitem": (lambda x: x[1:, [0, 0, 2]] * x[0, 1] + x[x.array > 0].sum(), [r(3, 4)]),
    "setitem": (lambda x, v: assigned(x * 2, (slice(None), 1), v), [r(3, 4), r(3)]),
    "cat": (lambda a, b: nq.cat([a, b], 1), [r(2, 3), r(2, 1)]),
    "pad": (lambda x: apply(OPS["pad"], x, width=((1, 0), (0, 2))), [r(2, 3)]),
    "matmul": (lambda a, b: a @ b, [r(2, 3, 4), r(4, 5)]),
}

# What is made of them, and calls that go another way.
MORE: dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]] = {
    "matmul of vectors": (lambda a, b: a @ b, [r(4), r(4)]),
    "matmul of a vector and matrices": (lambda a, b: a @ b, [r(4), r(2, 4, 3)]),
    "matmul of matrices and a vector": (lambda a, b: a @ b, [r(2, 3, 4), r(4)]),
    "matmul, broadcast": (lambda a, b: a @ b, [r(2, 1, 3, 4), r(5, 4, 2)]),
    "power, a number": (lambda x: 0.5**x, [r(3)]),
    "var": (lambda x: x.var() + x.var(1, unbiased=False) + x.var((0, 1), keepdim=True), [r(2, 3)]),
    "std": (lambda x: x.std(0) + x.std(dim=1, correction=2, keepdim=True), [r(4, 3)]),
    "norm": (lambda x: x.norm() + x.norm(1, 0) + x.norm(3, dim=1, keepdim=True), [r(3, 3)]),
    "norm, the greatest": (lambda x: x.norm(float("inf"), 1) * x.norm(-float("inf")), [r(2, 3)]),
    "prod": (lambda x: x.prod() + x.prod(1) + x.prod(0, keepdim=True).sum(), [r(5, 7)]),
    "max along an axis": (lambda x: x.max(1).values * x.min(0, keepdim=True).values.sum(), [r(2, 3)]),
    "max of two": (lambda a, b: a.max(b) + a.min(b), [r(2, 3), r(3)]),
    "sort": (lambda x: x.sort(0, descending=True).values * np.arange(3)[:, None], [r(3, 2)]),
    "topk": (lambda x: x.topk(2).values * np.arange(1, 3) + x.topk(2, 0, largest=False).values.sum(), [r(3, 4)]),
    "gather": (lambda x: x.gather(1, nq.tensor([[0, 0], [2, 1]])), [r(3, 4)]),
    "clamp with tensors": (lambda x, low, high: x.clamp(low, high) + x.clamp(min=low), [r(9), r(9) - 1, r(1) + 1]),
    "masked_fill": (lambda x, v: x.masked_fill(x > 0, v) + x.masked_fill(x < 0, 2.0), [r(5), r()]),
    "masked_select": (lambda x: x.masked_select(x > 0), [r(5)]),
    "repeat": (lambda x: x.repeat(2, 1, 3) * np.arange(9), [r(2, 3)]),
    "squeeze": (lambda x: x.squeeze() + x.squeeze(1) + x.squeeze(-1).squeeze(1) + x[:, 0].T[0], [r(3, 1, 1)]),
    "unsqueeze": (lambda x: x.unsqueeze(0) * x.unsqueeze(-1), [r(3)]),
    "flip": (lambda x: x.flip(0, 1) * x + x.flip([1]), [r(2, 3)]),
    "index_select": (lambda x: x.index_select(1, nq.tensor([2, 0, 2])), [r(2, 3)]),
    "split": (lambda x: x.split(2, 1)[1] * x.split([1, 2], 1)[1] + x.chunk(3, -1)[0], [r(2, 3)]),
    "unbind": (lambda x: x.unbind()[0] * x.unbind(0)[1] + x.flatten().view(2, -1)[0], [r(2, 3)]),
}


def assigned(x: Tensor, index: object, value: Tensor) -> Tensor:
    x[index] = value
    return x


def test_the_table_is_covered() -> None:
    assert set(CALLS) == set(OPS)


@pytest.mark.parametrize("name", [*CALLS, *MORE])
def test_every_op_against_differences(name: str) -> None:
    function, inputs = (CALLS | MORE)[name]
    assert gradcheck(function, inputs)


def test_gradcheck_notices_a_wrong_gradient() -> None:
    wrong = lambda x: apply(OPS["exp"], x.detach()) + x * 0  # noqa: E731
    with pytest.raises(AssertionError, match="the difference gives"):
        gradcheck(wrong, [r(3)])


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(pairs, pairs, pairs, st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from([1, 2]), strategies.seeds)
def test_convolution_against_differences(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, int], groups: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(s) for s in ((2, 2 * groups, 7, 8), (3 * groups, 2, *kernel), (3 * groups,))]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    assert gradcheck(lambda x, w, b: apply(spatial.CONV, x, w, b, **options), inputs, directions=1)


def test_convolution_is_its_definition() -> None:
    x, w = r(2, 4, 5, 6), r(6, 2, 3, 2)
    y = spatial.conv(x, w, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    for n, o, i, j in np.ndindex(y.shape):
        first = o // 3 * 2
        window = padded[n, first : first + 2, 2 * i : 2 * i + 3, j : j + 4 : 2]
        assert np.isclose(y[n, o, i, j], (window * w[o]).sum())


@pytest.mark.parametrize(
    ("op", "options"),
    [
        (spatial.MAX_POOL, {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 1), "dilation": (1, 2)}),
        (spatial.AVG_POOL, {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        (spatial.ADAPTIVE_AVG_POOL, {"out": (3, 2)}),
    ],
)
def test_pooling_against_differences(op: object, options: dict) -> None:
    assert gradcheck(lambda x: apply(op, x, **options), [r(2, 3, 7, 5)])


def test_equal_maxima_have_one_winner() -> None:
    x = nq.ones(1, 1, 2, 2, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_against_differences(training: bool) -> None:
    def normalized(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        mean, var = (x.array.mean((0, 2)), x.array.var((0, 2))) if training else (np.ones(3), np.full(3, 2.0))
        return apply(normalization.BATCH_NORM, x, gamma, beta, mean, var, training=training)

    assert gradcheck(normalized, [r(4, 3, 5), r(3), r(3)])


def test_losses_against_differences() -> None:
    assert gradcheck(lambda x: F.cross_entropy(x, np.array([0, 2, 1])), [r(3, 4)])
    assert gradcheck(lambda x: F.mse_loss(x, np.ones((3, 4))), [r(3, 4)])


# ---- the walk --------------------------------------------------------------------------------------------------------


def test_a_tensor_used_twice_gets_both_gradients() -> None:
    x = nq.tensor([3.0], requires_grad=True)
    y = x * x
    (y * x + y).backward()
    assert x.grad.tolist() == [3 * 9 + 2 * 3]


def test_gradients_add_up_over_calls() -> None:
    x = nq.tensor([1.0], requires_grad=True)
    for _ in range(3):
        (x * 2).backward()
    assert x.grad.tolist() == [6.0]


def test_a_long_chain_needs_no_recursion() -> None:
    x = y = nq.tensor([1.0], requires_grad=True)
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1.0]


def test_a_freed_graph_says_so() -> None:
    x = nq.tensor([1.0], requires_grad=True)
    y = (x * 2).exp()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_what_backward_needs() -> None:
    with pytest.raises(RuntimeError, match="depends on one with requires_grad=True"):
        nq.ones(1).backward()
    x = nq.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"must have shape \(2,\); got \(3,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_memory_is_freed_as_the_walk_passes() -> None:
    """When the gradient reaches the first operation, the arrays of the later ones are gone, and their gradients."""
    alive: list[weakref.ref] = []
    seen = []

    def vjp(g: np.ndarray, *_: np.ndarray) -> tuple[np.ndarray]:
        alive.append(weakref.ref(g))
        seen.append([ref() is not None for ref in alive])
        return (g * 1,)

    def forward(x: np.ndarray) -> np.ndarray:
        alive.append(weakref.ref(y := x * 1))
        return y

    x = nq.ones(3, requires_grad=True)
    y = x
    for _ in range(4):
        y = apply(Op("watched", forward, vjp), y)
    del alive[-1]  # the result, which the caller holds
    y.backward(np.ones(3, np.float32))
    assert [sum(flags) for flags in seen] == [3 + 1, 3 + 2, 2 + 2, 1 + 2], "activations, this gradient, the caller's seed"
    assert x.grad.tolist() == [1, 1, 1]
    z = (x * 2).exp() * 3
    held = weakref.ref(z.node.arrays[0])
    z.sum().backward()
    assert held() is None


def test_every_leaf_owns_its_gradient() -> None:
    a, b = nq.ones(2, 2, requires_grad=True), nq.ones(2, 2, requires_grad=True)
    seed = np.ones((2, 2), np.float32)
    (a + b.t()).backward(seed)
    a.backward(seed)
    a.grad.mul_(0)
    assert (b.grad.tolist(), seed.tolist()) == ([[1, 1], [1, 1]],) * 2
    assert b.grad.array.flags.c_contiguous
    first = b.grad
    b.sum().backward()
    assert b.grad is first
    assert first.tolist() == [[2, 2], [2, 2]]
    half = nq.tensor(np.ones(2, np.float16), requires_grad=True)
    (half * np.float64([2, 2])).sum().backward()
    assert half.grad.dtype == np.float16


def test_in_place_changes_that_the_graph_cannot_see_are_errors() -> None:
    x = nq.ones(3, requires_grad=True)
    for change in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.__setitem__(0, 2.0)):
        with pytest.raises(RuntimeError, match="a leaf that requires grad cannot change in place"):
            change()
    y = x * 2
    for change in (lambda: y[0].add_(1), lambda: y[1:].__setitem__(0, 3.0), lambda: nq.zeros(6)[1:4].add_(x)):
        with pytest.raises(RuntimeError, match="a part of a tensor cannot change in place"):
            change()
    w = nq.ones(3)
    for change in (lambda: w.mul_(2), lambda: w[1:].fill_(3), lambda: w.view(3, 1).zero_(), lambda: w.data.add_(1)):
        z = (x * w).sum()
        change()
        with pytest.raises(RuntimeError, match="gradient of mul needs an array that was changed in place"):
            z.backward()
    with nq.no_grad():
        w -= 1
        x += 1
    assert x.tolist() == [2, 2, 2]
    assert x.requires_grad
    with pytest.raises(RuntimeError, match="add gives float32, which a tensor of int64 cannot hold"):
        nq.tensor([1]).add_(0.5)
    (x * w).sum().backward()
    assert x.grad.tolist() == w.tolist()


def test_in_place_changes_keep_what_was_recorded() -> None:
    """y.exp() needs y as it was; what is done to y later is another array."""
    x = nq.zeros(2, requires_grad=True)
    y = x + 1
    z = y.exp()
    y.mul_(3)
    y[0] = 5.0
    (y + z).sum().backward()
    assert np.allclose(x.grad.array, [np.e, 3 + np.e])
    rows = nq.zeros(2, 2)
    rows[0] += x
    rows[1] = x * 4
    assert not rows.is_leaf
    x.grad = None
    rows.sum().backward()
    assert x.grad.tolist() == [5, 5]
    assert rows.detach_().is_leaf


def test_conversions() -> None:
    x = nq.tensor([[1.5]])
    assert (float(x), int(x), bool(x), f"{x:.2f}", f"{x}") == (1.5, 1, True, "1.50", "tensor([[1.5]])")
    assert (x.half().dtype, x.long().dtype, x.bool().dtype) == (nq.float16, nq.int64, nq.bool)
    assert x.to("cpu") is x.cpu() is x.contiguous() is x.float() is x.to(nq.float32)
    assert x.to(device="cpu", dtype=nq.float64).dtype == nq.double
    assert (x.device, x.is_floating_point(), x.element_size(), x.dim()) == ("cpu", True, 4, 2)
    assert nq.ones(2, 3).t().contiguous().array.flags.c_contiguous
    assert x.new_tensor([1, 2]).dtype == nq.float32
    assert (x.new_ones(2).tolist(), x.new_zeros((1, 2)).tolist()) == ([1, 1], [[0, 0]])
    with pytest.raises(TypeError, match="cuda"):
        x.to("cuda")
    assert x.equal(nq.tensor([[1.5]]))
    assert x.allclose(x + 1e-9)
    assert 0 <= x.uniform_().item() < 1
    assert nq.zeros(10_000).normal_(3, 0.1).mean().item() == pytest.approx(3, abs=0.01)
    assert x.data.equal(x)
    with pytest.raises(TypeError):
        x + "1"


def test_random_constructors() -> None:
    assert sorted(nq.randperm(5).tolist()) == [0, 1, 2, 3, 4]
    drawn = nq.randint(2, 4, (50,))
    assert (drawn.dtype, drawn.min().item(), drawn.max().item()) == (nq.int64, 2, 3)
    assert nq.randint(3, (2, 2)).shape == nq.rand_like(nq.ones(2, 2)).shape == nq.randn_like(nq.ones(2, 2)).shape
    assert nq.as_tensor(drawn) is drawn
    assert nq.as_tensor([1.0]).dtype == nq.float32
    array = np.zeros(2)
    assert nq.from_numpy(array).array is array


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"an axis of size 3 must add up to it; got \[1, 1\]"):
        nq.ones(3).split([1, 1])
    with pytest.raises(ValueError, match="einsum: a diagonal, as in 'ii'"):
        nq.einsum("ii->i", nq.ones(2, 2))
    assert nq.ones(2, 0).prod(1).tolist() == [1, 1]


# ---- derivatives of one's own ----------------------------------------------------------------------------------------


class Scaled(nq.autograd.Function):
    """Twice and three times x; the gradient of an output that nobody uses comes as zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        return x * factor, x * (factor + 1), x > 0

    @staticmethod
    def backward(_ctx: Any, g: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, None]:
        return g * 2 + h * 3, None


def test_a_function_with_several_outputs() -> None:
    assert gradcheck(lambda x: Scaled.apply(x, 2)[1], [r(3)])
    assert gradcheck(lambda x: Scaled.apply(x, 2)[0] * Scaled.apply(x, 2)[1], [r()])
    assert gradcheck(lambda x: (lambda y, z, _: y * z)(*Scaled.apply(x * x, 2)), [r(3)])
    assert not Scaled.apply(nq.ones(1), 2)[0].requires_grad


def test_a_function_that_returns_too_few_gradients() -> None:
    class Half(Scaled):
        @staticmethod
        def backward(_ctx: Any, *g: Tensor) -> Tensor:
            return g[0]

    with pytest.raises(RuntimeError, match=r"Half.backward must return 2 gradients; got 1"):
        Half.apply(nq.ones(1, requires_grad=True), 2)[0].backward()


def test_grad_leaves_no_trace() -> None:
    x, w = nq.tensor([2.0], requires_grad=True), nq.tensor([5.0], requires_grad=True)
    h = x * w
    y = h * h
    assert [t.tolist() for t in grad(y, [x, h], retain_graph=True)] == [[100.0], [20.0]]
    assert (x.grad, w.grad) == (None, None)
    with pytest.raises(RuntimeError, match="does not depend on one of the inputs"):
        grad(y, nq.ones(1, requires_grad=True), retain_graph=True)
    assert grad(y, [nq.ones(1), w], nq.tensor([2.0]), allow_unused=True)[0] is None
    with pytest.raises(RuntimeError, match="this graph was freed"):
        grad(y, x)


def test_no_grad_is_per_thread_and_nests() -> None:
    seen = []
    with nq.no_grad(), nq.no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
        assert not is_grad_enabled()
    assert seen == [True]
    assert is_grad_enabled()

    @nq.inference_mode()
    def inside() -> bool:
        return is_grad_enabled()

    assert not inside()
    with nq.no_grad(), nq.set_grad_enabled(True):
        assert nq.is_grad_enabled()
    nq.set_grad_enabled(False)
    assert not is_grad_enabled()
    nq.set_grad_enabled(True)


def test_numbers_take_on_the_tensors_dtype() -> None:
    x = nq.tensor([1.5])
    assert (x * 2.0 + 1).dtype == (2 * x).dtype == (1 / x).dtype == np.float32
    assert (nq.tensor([3]) * 2).dtype == np.int64
    assert (nq.tensor([3]) * 0.5).tolist() == [1.5]
    assert (np.float32([2.0]) * x).tolist() == [3.0]


def test_arrays_are_shared() -> None:
    x = nq.zeros(3)
    assert np.asarray(x) is x.array
    assert np.shares_memory(x.detach().array, x.array)
    assert np.shares_memory(x.numpy(), x.array)


def test_seeds_repeat() -> None:
    nq.manual_seed(3)
    first = (nq.rand(3).tolist(), nq.randn(2, 2).tolist())
    nq.manual_seed(3)
    assert first == (nq.rand([3]).tolist(), nq.randn(2, 2).tolist())


# ---- fake quantization -----------------------------------------------------------------------------------------------


def test_straight_through_gradient_equals_torchs() -> None:
    for options, arrays in cases("affine"):
        dtype = QDTYPES[options["dtype"]]
        x = Tensor(arrays["x"], requires_grad=True)
        y = x.fake_quantize(QParams(options["scale"], options["zero_point"], dtype))
        y.sum().backward()
        assert np.array_equal(y.array, arrays["fake"])
        assert np.array_equal(x.grad.array, arrays["gradient"])


def test_fake_quantize_per_channel() -> None:
    x = Tensor(np.float32([[0.3, 9.0], [0.3, 9.0]]), requires_grad=True)
    y = x.fake_quantize(QParams([0.25, 2.0], [0, 0], QDTYPES["qint8"], 0, -8, 7))
    y.sum().backward()
    assert y.tolist() == [[0.25, 1.75], [0.0, 8.0]]
    assert x.grad.tolist() == [[1, 0], [1, 1]]
    assert y.grid is None


def test_nan_cannot_be_fake_quantized() -> None:
    with pytest.raises(ValueError, match="cannot quantize NaN"):
        nq.tensor([np.nan]).fake_quantize(QParams(1.0, 0))


@given(strategies.seeds)
def test_averages_of_a_grid_stay_on_it(seed: int) -> None:
    """What a QTensor's averages do, its float twin's do: their values lie on the same grid."""
    x = nq.Tensor(np.random.default_rng(seed).standard_normal((2, 3, 4, 4)).astype(np.float32))
    grid = QParams(0.03, 100)
    y = x.fake_quantize(grid)
    for z in (F.avg_pool2d(y, 2), F.adaptive_avg_pool2d(y, 1), y.mean((2, 3)), F.max_pool2d(y, 2), y.relu().flatten(1)):
        assert z.grid is grid
        assert np.array_equal(z.fake_quantize(grid).array, z.array)
    assert (y + 1).grid is None
