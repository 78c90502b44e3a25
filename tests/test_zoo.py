"""Every float layer against torch, forward and backward, with the same weights; where torch is installed.

Both compute in float32, in different orders. What is right is torch in float64, and torch's own float32 result says how
much rounding the computation amplifies: with e its greatest error, and u = 2^-23 times the greatest value one unit of
rounding there, ours may err by 8 (e + u), for a few roundings in another order. A wrong formula errs by 2^20 u.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn

torch = pytest.importorskip("torch", reason="torch is not installed; tests/test_nn.py has values derived by hand")
pytestmark = pytest.mark.filterwarnings("ignore")

SEQUENCE, IMAGE, VOLUME = (2, 4, 9), (2, 4, 7, 6), (2, 4, 5, 6, 4)
CASES: dict[str, list[tuple[int, ...]]] = {
    SEQUENCE: [
        "Conv1d(4, 6, 3, padding=2, stride=2, groups=2)", "Conv1d(4, 6, 3, padding='same', padding_mode='circular')",
        "ConvTranspose1d(4, 6, 3, stride=2, output_padding=1, padding=1, groups=2)", "BatchNorm1d(4)",
        "InstanceNorm1d(4, affine=True, track_running_stats=True)", "GroupNorm(2, 4)", "LayerNorm(9)",
        "LayerNorm((4, 9), bias=False)", "MaxPool1d(3, 2, 1)", "AvgPool1d(3, 2, 1, ceil_mode=True)",
        "AdaptiveAvgPool1d(4)", "AdaptiveMaxPool1d(4)", "ReflectionPad1d(2)", "ReplicationPad1d((3, 1))",
        "ConstantPad1d(2, 3.5)", "ZeroPad1d(1)", "Linear(9, 5)", "Linear(9, 5, bias=False)", "PReLU()", "PReLU(4)",
        "Softmax(1)", "Softmax()", "LogSoftmax(-1)", "Upsample(scale_factor=2.5)", "Upsample(13, mode='linear')",
        "Flatten()", "Unflatten(1, (2, 2))", "Identity(3, a=4)", "Dropout(0.3).eval()",
        "Sequential(Linear(9, 5), ReLU())",
    ],
    IMAGE: [
        "Conv2d(4, 6, (3, 2), padding=(1, 2), dilation=2, bias=False)", "Conv2d(4, 4, 3, groups=4, padding='same')",
        "Conv2d(4, 6, 3, stride=2, padding=1, padding_mode='reflect')",
        "Conv2d(4, 6, 4, padding='same', padding_mode='replicate')", "Conv2d(4, 6, 3, padding='valid')",
        "ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, dilation=2, output_padding=1, bias=False)",
        "BatchNorm2d(4)", "BatchNorm2d(4, momentum=None)", "BatchNorm2d(4, affine=False, track_running_stats=False)",
        "InstanceNorm2d(4)", "GroupNorm(4, 4, affine=False)", "LayerNorm((7, 6), elementwise_affine=False)",
        "MaxPool2d(2)", "MaxPool2d(3, 2, 1, 2)", "MaxPool2d(3, 2, ceil_mode=True)", "AvgPool2d((3, 2), stride=1)",
        "AvgPool2d(3, 2, 1, count_include_pad=False)", "AvgPool2d(3, 2, 1, True, divisor_override=5)",
        "AdaptiveAvgPool2d(1)", "AdaptiveAvgPool2d((None, 4))", "AdaptiveMaxPool2d((3, 2))",
        "ReflectionPad2d((1, 2, 3, 0))", "ReplicationPad2d(2)", "ConstantPad2d((1, 0, 2, 1), -1.0)",
        "ZeroPad2d((1, 2, 0, 3))", "Upsample(scale_factor=2)", "Upsample((5, 9), mode='bilinear')",
        "Upsample(scale_factor=(1.5, 2.0), mode='bilinear')",
        "Upsample(scale_factor=2, mode='bilinear', align_corners=True)", "PixelShuffle(2)", "Dropout2d(0.3).eval()",
    ],
    VOLUME: [
        "Conv3d(4, 2, (1, 3, 2), stride=(1, 2, 1), padding=1)", "ConvTranspose3d(4, 2, 2, stride=2)", "BatchNorm3d(4)",
        "InstanceNorm3d(4)", "MaxPool3d(2)", "AvgPool3d(2, 1)", "AdaptiveAvgPool3d((2, None, 3))",
        "AdaptiveMaxPool3d(2)", "ReplicationPad3d(1)", "ReflectionPad3d(1)", "ConstantPad3d(1, 2.0)", "ZeroPad3d(1)",
        "Upsample(scale_factor=2, mode='trilinear')",
    ],
    (3, 50): [
        "ReLU()", "ReLU(inplace=True)", "ReLU6()", "LeakyReLU()", "LeakyReLU(0.2, True)", "ELU()", "ELU(alpha=0.7)",
        "Hardswish()", "Hardsigmoid()", "Hardtanh()", "Hardtanh(-2.0, 0.5)", "Sigmoid()", "Tanh()", "GELU()",
        "GELU('tanh')", "GELU(approximate='tanh')", "SiLU()", "Softplus()",
        "CELU()", "CELU(0.5)", "SELU()", "Mish()", "Softsign()", "LogSigmoid()", "Softplus(2.0, 3.0)",
    ],
}  # fmt: skip


def both(layer: str) -> tuple[Any, Any]:
    """A layer here and in torch, from one expression, with torch's weights, made random."""
    theirs, ours = eval(layer, vars(torch.nn)), eval(layer, vars(nn))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def flat(value: Any) -> list[Any]:
    """The tensors in nested tuples."""
    return [t for part in value for t in flat(part)] if isinstance(value, tuple) else [] if value is None else [value]


def close(ours: Any, single: Any, double: Any, what: str) -> None:
    """The bound of this file's docstring."""
    got, t32, t64 = np.asarray(ours, np.float64), single.detach().double().numpy(), double.detach().numpy()
    assert got.shape == t64.shape, what
    if got.size:
        allowed = 8 * (np.abs(t32 - t64).max() + 2.0**-23 * np.abs(t64).max())
        assert np.abs(got - t64).max() <= allowed, f"{what}: {np.abs(got - t64).max()} > {allowed}"


def called(module: Any, inputs: list[Any], pack: bool, options: dict[str, Any]) -> list[Any]:
    """The outputs; `pack` makes one tuple of the inputs behind the first."""
    return flat(module(inputs[0], tuple(inputs[1:]), **options) if pack else module(*inputs, **options))


def run_torch(module: Any, inputs: list[Any], seeds: list[Any] | None, pack: bool, options: dict[str, Any]) -> tuple[Any, ...]:
    """Outputs, gradients of float inputs and parameters, and state, in the dtype of the inputs."""
    leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    outputs = called(module, [x.clone() for x in leaves], pack, options)  # in place spares the leaves
    seeds = [torch.randn(y.shape, dtype=torch.float64) for y in outputs] if seeds is None else seeds
    total = sum((y * g.to(y.dtype)).sum() for y, g in zip(outputs, seeds, strict=True))
    if total.requires_grad:
        total.backward()
    return outputs, [x.grad for x in leaves], dict(module.named_parameters()), module.state_dict(), seeds


def widened(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in options.items()}


def compare(layer: str, inputs: list[np.ndarray], pack: bool = False, **options: Any) -> None:
    """Prints, state keys, outputs, gradients and state after one call in training, and the output in evaluation."""
    ours, theirs = both(layer)
    assert repr(ours).replace("float32", "torch.float32") == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    wide = copy.deepcopy(theirs).double()
    arrays = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    own, extra = ({**options, **{k: make(v) for k, v in arrays.items()}} for make in (nq.tensor, torch.from_numpy))
    tensors = [torch.from_numpy(x) for x in inputs]
    doubles = [x.double() if x.is_floating_point() else x for x in tensors]
    for training in (True, False):
        for module in (ours, theirs, wide):
            module.train(training)
            for parameter in module.parameters():
                parameter.grad = None
        double = run_torch(wide, doubles, None, pack, widened(extra))
        single = run_torch(theirs, tensors, double[4], pack, extra)
        leaves = [nq.tensor(x, requires_grad=x.dtype == np.float32) for x in inputs]
        outputs = called(ours, leaves, pack, own)
        total = sum((y * nq.tensor(g.float().numpy())).sum() for y, g in zip(outputs, double[4], strict=True))
        if total.requires_grad:
            total.backward()
        for i, y in enumerate(outputs):
            close(y, single[0][i], double[0][i], f"output {i}")
        for i, x in enumerate(leaves):
            if single[1][i] is not None:
                close(x.grad, single[1][i], double[1][i], f"gradient of input {i}")
        for name, parameter in ours.named_parameters():
            close(parameter.grad, single[2][name].grad, double[2][name].grad, f"gradient of {name}")
        for name, value in ours.state_dict().items():
            close(value, single[3][name], double[3][name], name)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name."""
    seed = list(request.node.name.encode())
    torch.manual_seed(sum(seed))
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("layer", "shape"), [(layer, shape) for shape, layers in CASES.items() for layer in layers])
def test_layers_of_one_input(layer: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    compare(layer, [(rng.standard_normal(shape) * 2).astype(np.float32)])


@pytest.mark.parametrize(
    "layer",
    [
        f"{kind}(5, 4{arguments})" for kind in ("RNN", "LSTM", "GRU")
        for arguments in ("", ", 2, batch_first=True", ", num_layers=2, bidirectional=True", ", bias=False, bidirectional=True")
    ] + ["RNN(5, 4, 2, 'relu', batch_first=True)", "RNN(5, 4, nonlinearity='relu', bidirectional=True)"],
)  # fmt: skip
def test_recurrent_layers(layer: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 6, 5)).astype(np.float32)
    compare(layer, [x])
    compare(layer, [x[0]])
    module = eval(layer, vars(nn))
    count = module.num_layers * (1 + module.bidirectional)
    shape = (count, x.shape[0] if module.batch_first else x.shape[1], 4)
    states = [rng.standard_normal(shape).astype(np.float32) for _ in range(2 if "LSTM" in layer else 1)]
    compare(layer, [x, *states], pack="LSTM" in layer)


@pytest.mark.parametrize("layer", ["RNNCell(5, 4)", "RNNCell(5, 4, False, 'relu')", "LSTMCell(5, 4)", "GRUCell(5, 4)"])
def test_cells(layer: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5)).astype(np.float32)
    compare(layer, [x])
    compare(layer, [x[0]])
    states = [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(2 if "LSTM" in layer else 1)]
    compare(layer, [x, *states], pack="LSTM" in layer)


@pytest.mark.parametrize("layer", ["Embedding(7, 3)", "Embedding(7, 3, 2)", "Embedding(7, 3, padding_idx=-1)"])
def test_embedding(layer: str, rng: np.random.Generator) -> None:
    compare(layer, [rng.integers(0, 7, (4, 5))])
    compare(layer, [rng.integers(0, 7, 0)])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("rest", ["", ", padding_idx=2", ", include_last_offset=True"])
def test_embedding_bag(mode: str, rest: str, rng: np.random.Generator) -> None:
    layer, index = f"EmbeddingBag(7, 3, mode='{mode}'{rest})", rng.integers(0, 7, 9)
    compare(layer, [index, np.array([0, 2, 2, 5, 9])])
    compare(layer, [rng.integers(0, 7, (4, 5))]) if "last" not in rest else None
    if mode == "sum":
        compare(layer, [index, np.array([0, 2, 2, 5, 9]), rng.standard_normal(9).astype(np.float32)])


FUTURE = np.triu(np.ones((6, 6), bool), 1)


@pytest.mark.parametrize("layer", ["MultiheadAttention(8, 2)", "MultiheadAttention(8, 4, bias=False, batch_first=True)"])
def test_attention(layer: str, rng: np.random.Generator) -> None:
    query, key, value = (rng.standard_normal((6, 6, 8)).astype(np.float32) for _ in range(3))
    padding = rng.random((6, 6)) < 0.3
    padding[:, 0] = False
    compare(layer, [query, key, value])
    compare(layer, [query[0], key[0], value[0]])
    compare(layer, [query, key, value], key_padding_mask=padding, need_weights=False)
    compare(layer, [query, key, value], attn_mask=FUTURE, average_attn_weights=False)
    compare(layer, [query, key, value], attn_mask=rng.standard_normal((6, 6)).astype(np.float32))


@pytest.mark.parametrize("rest", ["", ", norm_first=True, activation='gelu'", ", batch_first=True, bias=False"])
def test_transformer(rest: str, rng: np.random.Generator) -> None:
    layer, x = (f"TransformerEncoderLayer(8, 2, 16, dropout=0.0{rest})", rng.standard_normal((6, 6, 8)).astype(np.float32))
    compare(layer, [x])
    compare(layer, [x], src_mask=FUTURE)
    compare(f"TransformerEncoder({layer}, 2)", [x], mask=FUTURE)
    compare(f"TransformerEncoder({layer}, 2, LayerNorm(8))", [x])


def test_scaled_dot_product_attention(rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((2, 3, 6, 4)).astype(np.float32) for _ in range(3))
    for options in ({}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": ~FUTURE}):
        theirs = {n: torch.from_numpy(o) if isinstance(o, np.ndarray) else o for n, o in options.items()}
        t32, t64 = (
            torch.nn.functional.scaled_dot_product_attention(*(torch.from_numpy(x).to(kind) for x in (q, k, v)), **theirs)
            for kind in (torch.float32, torch.float64)
        )
        close(nn.functional.scaled_dot_product_attention(q, k, v, **options).array, t32, t64, str(options))


LOGITS, CLASSES = (5, 4, 3), (5, 3)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "loss",
    ["CrossEntropyLoss({})", "CrossEntropyLoss({}, ignore_index=1)", "CrossEntropyLoss({}, label_smoothing=0.3)",
     "CrossEntropyLoss(W, {})", "CrossEntropyLoss(W, {}, label_smoothing=0.2, ignore_index=2)", "NLLLoss({})",
     "NLLLoss(W, {}, ignore_index=0)"],
)  # fmt: skip
def test_losses_of_classes(loss: str, reduction: str, rng: np.random.Generator) -> None:
    weight = rng.random(4).astype(np.float32)
    call = loss.replace("{}", f"reduction='{reduction}'")
    for shape, wanted in (((5, 4), (5,)), (LOGITS, CLASSES)):
        compare_loss(call, weight, rng.standard_normal(shape).astype(np.float32), rng.integers(0, 4, wanted))
    if "Cross" in loss and "ignore" not in loss:
        probabilities = rng.dirichlet(np.ones(4), 5).astype(np.float32)
        compare_loss(call, weight, rng.standard_normal((5, 4)).astype(np.float32), probabilities)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "loss",
    ["L1Loss({})", "MSELoss({})", "SmoothL1Loss({})", "SmoothL1Loss({}, beta=0.3)", "SmoothL1Loss({}, beta=0.0)",
     "BCELoss({})", "BCELoss(W, {})", "BCEWithLogitsLoss({})", "BCEWithLogitsLoss(W, {}, pos_weight=W)", "KLDivLoss({})",
     "KLDivLoss({}, log_target=True)"],
)  # fmt: skip
def test_losses_of_elements(loss: str, reduction: str, rng: np.random.Generator) -> None:
    weight = rng.random(4).astype(np.float32)
    x, target = rng.random((5, 4)).astype(np.float32), rng.random((5, 4)).astype(np.float32)
    target[0], target[1] = 0, 1
    compare_loss(loss.replace("{}", f"reduction='{reduction}'"), weight, x, target)


def compare_loss(call: str, weight: np.ndarray, x: np.ndarray, target: np.ndarray) -> None:
    """A loss and the gradient of its input; W in the call is `weight`."""
    results = []
    for kind in (torch.float32, torch.float64):
        theirs = eval(call, {**vars(torch.nn), "W": torch.from_numpy(weight).to(kind)})
        leaf, wanted = torch.from_numpy(x).to(kind).requires_grad_(), torch.from_numpy(target)
        y = theirs(leaf, wanted.to(kind) if wanted.is_floating_point() else wanted)
        (y * torch.arange(1, y.numel() + 1).reshape(y.shape)).sum().backward()
        results.append((y, leaf.grad))
    ours, leaf = eval(call, {**vars(nn), "W": weight}), nq.tensor(x, requires_grad=True)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    y = ours(leaf, nq.tensor(target))
    (y * nq.tensor(np.arange(1, y.numel() + 1, dtype=np.float32).reshape(y.shape))).sum().backward()
    close(y.array, results[0][0], results[1][0], "loss")
    close(leaf.grad.array, results[0][1], results[1][1], "gradient")


@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
def test_initial_weights_have_torchs_spread(name: str, rng: np.random.Generator) -> None:  # noqa: ARG001
    """For n = 27000 numbers the standard deviation is known to 1/sqrt(n), 0.6 %; 3 % is five times that."""
    nq.manual_seed(0)
    theirs = getattr(torch.nn.init, name)(torch.empty(50, 60, 3, 3)).numpy()
    ours = getattr(nn.init, name)(nq.zeros(50, 60, 3, 3)).array
    assert abs(ours.std() / theirs.std() - 1) < 0.03
    assert abs(ours.mean()) < 0.03 * theirs.std()
    for nonlinearity in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)
