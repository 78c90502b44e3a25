"""nn: the derivative of every op against differences, values derived by hand, and what any layer must bear."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn
from nanoquant.autograd.gradcheck import gradcheck
from nanoquant.errors import ModuleError
from nanoquant.nn import functional as F
from nanoquant.nn.activation import erf

RNG = np.random.default_rng(0)


def r(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def double(module: nn.Module) -> nn.Module:
    """The module with float64 parameters and buffers, for gradcheck."""
    for parameter in module.parameters():
        parameter.array = parameter.array.astype(np.float64)
    return module


# ---- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [F.sigmoid, F.tanh, F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish, F.leaky_relu, F.elu, F.silu, F.gelu, F.softplus,
     lambda x: F.gelu(x, "tanh"), lambda x: F.softplus(x, 2.0, 1.0), lambda x: F.elu(x, 0.3), lambda x: F.softmax(x, 1),
     lambda x: F.hardtanh(x, -0.5, 2.0), lambda x: F.log_softmax(x, 0)],
)  # fmt: skip
def test_activations_against_differences(function: Any) -> None:
    assert gradcheck(function, [2 * r(7, 9)])


@pytest.mark.parametrize(
    "function",
    [lambda x: F.pad(x, (1, 2, 0, 3)), lambda x: F.pad(x, (2, 1), "reflect"), lambda x: F.pad(x, (5, 4), "replicate"),
     lambda x: F.pad(x, (2, 2, 1, 1), "circular"), lambda x: F.interpolate(x, scale_factor=1.5),
     lambda x: F.interpolate(x, (7, 3), mode="bilinear"), lambda x: F.pixel_shuffle(x, 2),
     lambda x: F.interpolate(x, (7, 9), mode="bilinear", align_corners=True), lambda x: F.group_norm(x, 2),
     F.instance_norm, lambda x: F.layer_norm(x, (4, 5))],
)  # fmt: skip
def test_images_against_differences(function: Any) -> None:
    assert gradcheck(function, [r(2, 4, 4, 5)])


def test_affine_functions_against_differences() -> None:
    assert gradcheck(F.linear, [r(2, 3, 4), r(5, 4), r(5)])
    assert gradcheck(F.prelu, [r(2, 3, 4), r(3)])
    assert gradcheck(lambda x, w, b: F.layer_norm(x, (4,), w, b), [r(2, 3, 4), r(4), r(4)])
    assert gradcheck(lambda x, w, b: F.group_norm(x, 3, w, b), [r(2, 6, 4), r(6), r(6)])
    assert gradcheck(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), [r(2, 3, 4), r(3), r(3)])
    assert gradcheck(lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1), [r(2, 3, 4), r(3, 2, 3), r(2)])
    assert gradcheck(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [r(2, 3, 4)] * 3)


def test_embeddings_against_differences() -> None:
    index, offsets = np.array([0, 2, 2, 4, 0]), np.array([0, 3, 3])
    assert gradcheck(lambda w: F.embedding(index.reshape(1, 5), w), [r(5, 3)])
    for mode in ("sum", "mean", "max"):
        assert gradcheck(lambda w: F.embedding_bag(index, w, offsets, mode=mode), [r(5, 3)])  # noqa: B023
    assert gradcheck(lambda w, f: F.embedding_bag(index, w, offsets, mode="sum", per_sample_weights=f), [r(5, 3), r(5)])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_sequences_against_differences(kind: str) -> None:
    """Through input and initial state, forward and backward in time, two layers."""
    layer = double(getattr(nn, kind)(3, 2, 2, bidirectional=True))

    def run(x: nq.Tensor, *start: nq.Tensor) -> nq.Tensor:
        y, state = layer(x, start if kind == "LSTM" else start[0])
        parts = [y, *(state if kind == "LSTM" else [state])]
        return nq.cat([part.reshape(-1) for part in parts])

    states = [r(4, 2, 2) for _ in range(2 if kind == "LSTM" else 1)]
    assert gradcheck(run, [r(4, 2, 3), *states])


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_weights_against_differences(kind: str, name: str) -> None:
    layer, x = double(getattr(nn, kind)(3, 2)), nq.tensor(r(5, 2, 3))

    def run(weight: nq.Tensor) -> nq.Tensor:
        layer._parameters[f"{name}_l0"] = weight  # type: ignore[assignment]
        return layer(x)[0]

    assert gradcheck(run, [getattr(layer, f"{name}_l0").array])


def test_losses_against_differences() -> None:
    classes, weight = np.array([0, 2, 1, 2]), np.array([0.5, 1.0, 2.0])
    assert gradcheck(lambda x: F.cross_entropy(x, classes, weight, label_smoothing=0.1, ignore_index=1), [r(4, 3)])
    assert gradcheck(lambda x: F.nll_loss(x, classes, weight, reduction="sum"), [r(4, 3)])
    for loss in (F.l1_loss, F.mse_loss, F.smooth_l1_loss, F.kl_div):
        assert gradcheck(loss, [r(4, 3), np.abs(r(4, 3)) + 0.1])
    p, t = RNG.random((4, 3)), RNG.random((4, 3))
    assert gradcheck(lambda x: F.binary_cross_entropy(x, t), [p])
    assert gradcheck(lambda x: F.binary_cross_entropy_with_logits(x, t, weight, pos_weight=weight), [r(4, 3)])


# ---- values ----------------------------------------------------------------------------------------------------------


def test_erf() -> None:
    """Against the C library: 1e-9 of interpolation in float64; in float32, roundings of an exponent of size below 2."""
    x = np.linspace(-12, 12, 4001)
    exact = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - exact).max() < 1e-9
    assert np.abs(erf(x.astype(np.float32)) - exact).max() < 8 * 2.0**-24


def test_one_step_of_an_lstm() -> None:
    """All weights 0: i = f = o = 1/2, g = 0, so that c' = c / 2 and h' = tanh(c / 2) / 2."""
    cell = nn.LSTMCell(3, 1)
    for parameter in cell.parameters():
        parameter.array[...] = 0
    h, c = cell(nq.ones(1, 3), (nq.ones(1, 1), nq.ones(1, 1)))
    assert (h.item(), c.item()) == (pytest.approx(math.tanh(0.5) / 2, abs=1e-7), 0.5)


def test_one_step_of_a_gru() -> None:
    """All weights 0 but b_in = 1: z = 1/2, n = tanh(1), h' = (n + h) / 2."""
    cell = nn.GRUCell(3, 1)
    for parameter in cell.parameters():
        parameter.array[...] = 0
    cell.bias_ih.array[2] = 1
    assert cell(nq.ones(1, 3), nq.ones(1, 1)).item() == pytest.approx((math.tanh(1) + 1) / 2, abs=1e-7)


def test_attention_to_equals_is_their_mean() -> None:
    v = np.float32([[[1.0], [3.0]]])
    assert F.scaled_dot_product_attention(np.zeros_like(v), np.zeros_like(v), v).tolist() == [[[2], [2]]]
    assert F.scaled_dot_product_attention(np.zeros_like(v), np.zeros_like(v), v, is_causal=True).tolist() == [[[1], [2]]]


def test_losses_by_hand() -> None:
    """Two classes of equal logits cost log 2; smoothing cannot change that. A class that is ignored costs nothing."""
    logits = nq.zeros(3, 2)
    for smoothing in (0.0, 0.3):
        assert F.cross_entropy(logits, [0, 1, 1], label_smoothing=smoothing).item() == pytest.approx(math.log(2))
    assert F.cross_entropy(logits, [0, -100, -100]).item() == pytest.approx(math.log(2))
    assert F.smooth_l1_loss([0.0, 0.0], [0.5, 3.0], reduction="none").tolist() == [0.125, 2.5]
    assert F.binary_cross_entropy([0.0, 1.0], [1.0, 1.0], reduction="none").tolist() == [100, 0]
    assert F.kl_div([0.0], [0.0]).item() == 0


def test_integers_pass_what_moves_them() -> None:
    """Borders and nearest neighbours: the same whether one quantizes before or after."""
    x = RNG.standard_normal((2, 4, 4, 6)).astype(np.float32)
    quantize = lambda v: nq.quantize_per_tensor(v, 0.05, 100, nq.quint8)  # noqa: E731
    layers = (nn.ZeroPad2d(1), nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 2, 3, 0)), nn.Upsample(scale_factor=2),
              nn.PixelShuffle(2), nn.Unflatten(1, (2, 2)), nn.AdaptiveMaxPool2d(2), nn.Dropout2d().eval())  # fmt: skip
    for layer in layers:
        got, expected = layer(quantize(x)), quantize(layer(nq.Tensor(x)).array)
        assert np.array_equal(got.int_repr().array, expected.int_repr().array), layer
    for layer in (nn.GELU(), nn.LayerNorm(6), nn.LSTM(6, 2), nn.Conv3d(4, 2, 1)):
        with pytest.raises(ModuleError, match="a float layer received a quantized tensor"):
            layer(quantize(x))


# ---- what any layer must bear ----------------------------------------------------------------------------------------

ANY = [
    lambda: nn.Conv1d(4, 4, 3), lambda: nn.ConvTranspose2d(4, 2, 2), lambda: nn.BatchNorm1d(4), lambda: nn.MaxPool1d(2),
    lambda: nn.GELU(), lambda: nn.LSTM(8, 3, 2), lambda: nn.GRUCell(8, 3), lambda: nn.MultiheadAttention(8, 2),
    lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 2), lambda: nn.CrossEntropyLoss(np.ones(3)),
    lambda: nn.ModuleDict({"a": nn.Linear(1, 2)}), lambda: nn.ParameterList([np.ones(2), np.ones(3)]),
    lambda: nn.Embedding(5, 3, 1), lambda: nn.ConstantPad2d(1, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("make", ANY)
def test_layers_are_copied_saved_and_loaded(make: Any, tmp_path: Any) -> None:
    layer = make()
    nq.save(layer, tmp_path / "layer.nq")
    for twin in (copy.deepcopy(layer), nq.load(tmp_path / "layer.nq")):
        assert repr(twin) == repr(layer)
        assert list(twin.state_dict()) == list(layer.state_dict())
        twin.load_state_dict({name: np.asarray(value) for name, value in layer.state_dict().items()})
        assert twin.to("cpu").eval().apply(lambda m: None) is twin
        assert [n for n, _ in twin.named_parameters()] == [n for n, _ in layer.named_parameters()]


def test_subclasses_have_a_forward_of_their_own() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, x: Any) -> Any:
            return F.conv2d(x, self.weight * 2, self.bias, self.stride, self.padding, self.dilation, self.groups)

    class Counted(nn.MaxPool2d):  # type: ignore[misc]
        def __init__(self, kernel_size: int) -> None:
            super().__init__(kernel_size)
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return super().forward(x)

    nq.manual_seed(0)
    layer, plain = Doubled(2, 3, 3, padding="same", bias=False), nn.Conv2d(2, 3, 3, padding="same", bias=False)
    plain.load_state_dict(layer.state_dict())
    seen: list[Any] = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    x, pool = nq.randn(1, 2, 4, 4), Counted(2)
    y = pool(layer(x))
    y.sum().backward()
    assert np.allclose(layer(x).array, 2 * plain(x).array, atol=1e-6)
    assert (seen[0], pool.calls, pool.stride, layer.weight.grad.shape) == ((1, 3, 4, 4), 1, 2, (3, 2, 3, 3))


def test_lists_of_modules() -> None:
    layers = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    layers.insert(1, nn.Linear(1, 2))
    assert layers.append(nn.GELU()) is layers
    assert [type(m).__name__ for m in layers] == ["ReLU", "Linear", "Tanh", "GELU"]
    assert list(layers.state_dict()) == ["1.weight", "1.bias"]
    del layers[0]
    layers[0] = nn.Identity()
    assert [type(m).__name__ for m in layers[:2]] == ["Identity", "Tanh"]
    assert isinstance(layers.pop(), nn.GELU)
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    model.insert(0, nn.Linear(1, 2))
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    heads = nn.ModuleDict({"a": nn.ReLU()})
    heads["b"] = nn.Linear(1, 1)
    assert isinstance(heads.pop("a"), nn.ReLU)
    assert list(heads) == ["b"]
    assert [name for name, _ in nn.ParameterList([np.ones(1)]).append(np.ones(2)).named_parameters()] == ["0", "1"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.GELU("fast")([1.0]), "'none' or 'tanh'"),
        (lambda: nn.LayerNorm(3)(nq.ones(2, 4)), "last axes are that"),
        (lambda: nn.GroupNorm(2, 3), "divisible by num_groups"),
        (lambda: nn.MaxPool1d(2)(nq.ones(2, 3, 4, 4)), r"\(batch, channels, length\)"),
        (lambda: nn.ConvTranspose2d(1, 1, 2, output_padding=1)(nq.ones(1, 1, 2, 2)), "smaller than stride or dilation"),
        (lambda: F.pad(nq.ones(3), (1, 1, 1)), "two numbers for each of at most 1 axes"),
        (lambda: F.pad(nq.ones(3), (3, 0), "reflect"), "border of at most 2"),
        (lambda: F.pad(nq.ones(3), (1, 0), "mirror"), "one of constant, reflect"),
        (lambda: F.interpolate(nq.ones(1, 1, 3), 2, mode="bilinear"), "does not take 3 axes"),
        (lambda: F.interpolate(nq.ones(1, 1, 3)), "either size or scale_factor"),
        (lambda: F.mse_loss([1.0], [1.0], reduction="avg"), "'mean', 'sum' or 'none'"),
        (lambda: F.cross_entropy(nq.ones(1, 3), [3]), r"integers in \[0, 3\); got 3 to 3"),
        (lambda: nn.Embedding(3, 2)([3]), r"integers in \[0, 3\)"),
        (lambda: nn.EmbeddingBag(3, 2)([0, 1]), "with offsets"),
        (lambda: F.embedding_bag([[0]], nq.ones(3, 2), per_sample_weights=[1.0]), "'sum' with per_sample_weights"),
        (lambda: nn.LSTM(3, 2)(nq.ones(4, 1, 2)), "sequences of 3 features"),
        (lambda: nn.GRU(3, 2)(nq.ones(4, 1, 3), nq.ones(1, 1, 3)), r"initial state has shape \(1, 1, 2\)"),
        (lambda: nn.RNN(3, 2, nonlinearity="sine"), "'tanh' or 'relu'"),
        (lambda: nn.MultiheadAttention(5, 2), "divisible by num_heads"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), "one of relu, gelu"),
        (lambda: nn.init.xavier_uniform_(nq.ones(3)), "at least two axes"),
        (lambda: nn.init.calculate_gain("sine"), "nonlinearity must be one of"),
        (lambda: nn.init.kaiming_normal_(nq.ones(3, 3), mode="fan"), "'fan_in' or 'fan_out'"),
    ],
)  # fmt: skip
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_dropout_of_channels() -> None:
    nq.manual_seed(0)
    y = nn.Dropout2d(0.5)(nq.ones(50, 20, 3, 3)).array
    assert set(np.unique(y)) == {0, 2}
    assert np.array_equal(y, np.broadcast_to(y[:, :, :1, :1], y.shape))


def test_initial_weights() -> None:
    nq.manual_seed(0)
    w = nn.init.uniform_(nq.zeros(1000), 2.0, 3.0)
    assert 2 <= w.array.min() < w.array.max() < 3
    assert (nn.init.ones_(w).sum().item(), nn.init.zeros_(w).sum().item()) == (1000, 0)
    assert abs(nn.init.normal_(w, 5.0, 0.1).array.mean() - 5) < 0.02


def test_an_image_without_a_batch_is_a_batch_of_one() -> None:
    for layer, shape in ((nn.Conv1d(4, 6, 3), (4, 9)), (nn.Conv2d(4, 6, 3), (4, 9, 9)), (nn.MaxPool2d(2), (4, 8, 8)),
                         (nn.ConvTranspose2d(4, 2, 3), (4, 5, 5)), (nn.AdaptiveAvgPool1d(3), (4, 9))):  # fmt: skip
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(layer(x).detach()), np.asarray(layer(x[None])[0].detach()))
