"""autograd: every row of the tables against differences, and the walk back."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import numpy as np
import pytest
import strategies
from golden_vectors import cases
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant.autograd.gradcheck import gradcheck
from nanoquant.autograd.ops import OPS
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
    "maximum": (lambda a, b: apply(OPS["maximum"], a, b), [r(4), r(4)]),
    "clone": (lambda x: x.clone(), [r(3)]),
    "neg": (lambda x: -x, [r(3)]),
    "pow": (lambda x: x**3, [r(4)]),
    "exp": (lambda x: x.exp(), [r(4)]),
    "log": (lambda x: x.log(), [positive(4)]),
    "sqrt": (lambda x: x.sqrt(), [positive(4)]),
    "abs": (lambda x: x.abs(), [r(4)]),
    "relu": (lambda x: x.relu(), [r(10)]),
    "tanh": (lambda x: x.tanh(), [r(4)]),
    "sigmoid": (lambda x: x.sigmoid(), [r(4) * 5]),
    "clamp": (lambda x: x.clamp(-0.5, 0.7), [r(10)]),
    "sum": (lambda x: x.sum((0, 2), keepdim=True) + x.sum(), [r(2, 3, 4)]),
    "mean": (lambda x: x.mean(1) + x.mean(), [r(2, 3)]),
    "max": (lambda x: x.max(), [r(2, 3)]),
    "min": (lambda x: x.min(), [r(2, 3)]),
    "log_softmax": (lambda x: F.log_softmax(x, 1), [r(3, 5)]),
    "reshape": (lambda x: x.reshape(3, -1) * x.view(3, 4), [r(2, 6)]),
    "permute": (lambda x: x.permute(2, 0, 1).transpose(0, 1), [r(2, 3, 4)]),
    "getitem": (lambda x: x[1:, [0, 0, 2]], [r(3, 4)]),
    "cat": (lambda a, b: nq.cat([a, b], 1), [r(2, 3), r(2, 1)]),
    "pad": (lambda x: apply(OPS["pad"], x, width=((1, 0), (0, 2))), [r(2, 3)]),
    "matmul": (lambda a, b: a @ b, [r(2, 3, 4), r(4, 5)]),
}


def test_the_table_is_covered() -> None:
    assert set(CALLS) == set(OPS)


@pytest.mark.parametrize("name", CALLS)
def test_every_op_against_differences(name: str) -> None:
    function, inputs = CALLS[name]
    assert gradcheck(function, inputs)


def test_gradcheck_notices_a_wrong_gradient() -> None:
    wrong = lambda x: apply(OPS["exp"], x.detach()) + x * 0  # noqa: E731
    with pytest.raises(AssertionError, match="the difference gives"):
        gradcheck(wrong, [r(3)])


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(pairs, pairs, pairs, st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from([1, 2]), strategies.seeds)
def test_convolution_against_differences(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(s) for s in ((2, 2 * groups, 7, 8), (3 * groups, 2, *kernel), (3 * groups,))]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    assert gradcheck(lambda x, w, b: apply(spatial.CONV2D, x, w, b, **options), inputs, directions=1)


def test_convolution_is_its_definition() -> None:
    x, w = r(2, 4, 5, 6), r(6, 2, 3, 2)
    y = spatial.conv2d(x, w, None, (2, 1), (1, 0), (1, 2), 2)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    for n, o, i, j in np.ndindex(y.shape):
        first = o // 3 * 2
        window = padded[n, first : first + 2, 2 * i : 2 * i + 3, j : j + 4 : 2]
        assert np.isclose(y[n, o, i, j], (window * w[o]).sum())


@pytest.mark.parametrize(
    ("op", "options"),
    [
        (spatial.MAX_POOL2D, {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 1), "dilation": (1, 2)}),
        (spatial.AVG_POOL2D, {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        (spatial.ADAPTIVE_AVG_POOL2D, {"out": (3, 2)}),
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
