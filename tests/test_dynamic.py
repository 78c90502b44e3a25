"""Dynamic recurrent layers: torch's numbers, accuracy with scales per channel, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, optim, quantization
from nanoquant.kernels import lstm, native
from nanoquant.quantization import default_dynamic_qconfig, quantize_dynamic

LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "LSTM": ("LSTM", {}, (9, 2, 5)),
    "LSTM, two layers, both ways": ("LSTM", {"num_layers": 2, "batch_first": True, "bidirectional": True}, (2, 9, 5)),
    "LSTM without a batch": ("LSTM", {"bias": False}, (9, 5)),
    "GRU": ("GRU", {"bidirectional": True}, (9, 2, 5)),
    "LSTMCell": ("LSTMCell", {}, (3, 5)),
    "GRUCell": ("GRUCell", {"bias": False}, (3, 5)),
    "RNNCell": ("RNNCell", {"nonlinearity": "relu"}, (3, 5)),
}


def flat(value: Any) -> list[np.ndarray]:
    return [a for v in value for a in flat(v)] if isinstance(value, tuple) else [np.asarray(value.detach())]


def pair(name: str) -> tuple[Any, np.ndarray]:
    kind, options, shape = LAYERS[name]
    nq.manual_seed(1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return getattr(nn, kind)(5, 7, **options).eval(), x


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", LAYERS)
def test_torchs_numbers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.backends.quantized.engine = "fbgemm"
    layer, x = pair(name)
    kind, options, _ = LAYERS[name]
    if not options.get("bias", True):
        pytest.skip("torch's dynamic recurrent layers must have biases")
    other = getattr(torch.nn, kind)(5, 7, **options).eval()
    other.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in layer.state_dict().items()})
    theirs = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(other), {type(other)})[0]
    ours = quantize_dynamic(nn.Sequential(layer), {type(layer): default_dynamic_qconfig})[0]
    for got, wanted in zip(flat(ours(x)), flat(theirs(torch.from_numpy(x))), strict=True):
        # the integers are the same; gates are a few 2^-24 off, which may move a later range by as much
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_near_the_float_layer(name: str) -> None:
    layer, x = pair(name)
    twin = quantize_dynamic(nn.Sequential(layer))[0]
    assert type(twin) is getattr(nn.quantized.dynamic, LAYERS[name][0])
    for got, wanted in zip(flat(twin(x)), flat(layer(x)), strict=True):
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() < 0.03
    assert str(twin).startswith(f"DynamicQuantized{LAYERS[name][0]}(\n  5, 7")
    assert "per-channel" in str(twin)
    assert "ih" in next(iter(twin.state_dict()))


def test_a_state_goes_on_where_it_ended() -> None:
    layer, x = pair("LSTM")
    twin = quantize_dynamic(nn.Sequential(layer))[0]
    whole, (h, c) = twin(x)
    _, state = twin(x[:4])
    rest, (h2, c2) = twin(x[4:], state)
    for a, b in ((whole[4:], rest), (h, h2), (c, c2)):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() < 0.02  # ranges are those of each call


def test_scales_per_channel_keep_what_one_scale_loses() -> None:
    nq.manual_seed(0)
    layer = nn.LSTM(16, 32).eval()
    spread = np.exp2(np.random.default_rng(1).uniform(-5, 5, 128)).astype(np.float32)
    for weight in (layer.weight_ih_l0, layer.weight_hh_l0):
        weight.data = np.asarray(weight.detach()) * spread[:, None]
    x = np.random.default_rng(2).standard_normal((20, 4, 16)).astype(np.float32)
    wanted = np.asarray(layer(x)[0].detach())
    errors = [
        np.abs(np.asarray(quantize_dynamic(nn.Sequential(layer), spec)[0](x)[0]) - wanted).mean()
        for spec in ({nn.LSTM}, {nn.LSTM: default_dynamic_qconfig})
    ]
    assert errors[0] < 0.3 * errors[1]


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 2, 5), (2, 9, 33)])
def test_c_takes_the_same_steps_on_every_instruction_set(
    size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, batch, hidden = size
    g = np.random.default_rng(0)
    layer = quantize_dynamic(nn.Sequential(nn.LSTM(4, hidden)))[0]
    p, h0 = (g.standard_normal(s).astype(np.float32) for s in ((steps, batch, 4 * hidden), (1, batch, hidden)))
    results = []
    for isa in native.available_isas():
        monkeypatch.setenv("NANOQUANT_ISA", isa)
        gates, h, c = p.copy(), *(np.concatenate([h0, np.zeros((steps, batch, hidden), np.float32)]) for _ in range(2))
        lstm.run_dynamic(gates, h, c, layer.hh_l0.packed(), 127, True)
        results.append((gates, h, c))
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))
    with pytest.raises(ValueError, match="do not fit"):
        lstm.run_dynamic(gates[:, :, 1:], h, c, layer.hh_l0.packed(), 127, False)


def test_integers_have_no_gradient() -> None:
    layer, x = pair("GRU")
    twin = quantize_dynamic(nn.Sequential(layer))[0]
    with pytest.raises(RuntimeError, match="integers have no gradient"):
        twin(nq.tensor(x, requires_grad=True))[0].sum().backward()


CONVOLUTIONS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "Conv1d": ((4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9)),
    "Conv2d": ((4, 6, 3), {"padding": "same", "padding_mode": "reflect"}, (2, 4, 6, 7)),
    "Conv3d": ((4, 6, (2, 3, 1)), {"groups": 2}, (2, 4, 3, 5, 4)),
    "ConvTranspose1d": ((4, 6, 3), {"stride": 2}, (2, 4, 5)),
    "ConvTranspose2d": ((4, 6, 3), {"stride": 2, "output_padding": 1, "bias": False}, (2, 4, 4, 5)),
    "ConvTranspose3d": ((4, 6, 2), {"padding": 1}, (2, 4, 3, 4, 5)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    arguments, options, shape = CONVOLUTIONS[name]
    nq.manual_seed(0)
    layer, x = getattr(nn, name)(*arguments, **options), nq.randn(*shape).array
    wanted = np.asarray(layer(x).detach())
    for qconfig in (default_dynamic_qconfig, quantization.per_channel_dynamic_qconfig):
        if "Transpose" in name and qconfig is not default_dynamic_qconfig:
            continue
        twin = quantize_dynamic(nn.Sequential(layer), {type(layer): qconfig})[0]
        assert type(twin) is getattr(nn.quantized.dynamic, name)
        assert np.abs(np.asarray(twin(x)) - wanted).max() < 0.03 * np.abs(wanted).max()
        assert np.array_equal(twin(x[0]), twin(x[:1])[0])
    assert str(twin).startswith(f"DynamicQuantized{name}(4, 6, kernel_size=")
    assert twin(x[:0]).shape == (0, *wanted.shape[1:])
    assert type(quantize_dynamic(nn.Sequential(layer))[0]) is type(layer)  # not unasked, as in torch


@pytest.mark.parametrize("kind", ["Linear", "LSTM", "GRU", "LSTMCell", "Conv2d"])
def test_per_row_batch_mates_do_not_matter(kind: str) -> None:
    nq.manual_seed(0)
    layer = getattr(nn, kind)(5, 7, 3) if kind == "Conv2d" else getattr(nn, kind)(5, 7)
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 6) if kind == "Conv2d" else (4, 5)).astype(np.float32)
    x *= np.reshape([1, 100, 0.01, 3], (4, *(1,) * (x.ndim - 1)))
    x = np.stack([x, -x]) if kind in ("LSTM", "GRU") else x
    rows = slice(None), slice(2, 3)
    mine = rows if kind in ("LSTM", "GRU") else rows[1:]
    for per_row in (True, False):
        twin = quantize_dynamic(nn.Sequential(layer), {type(layer)}, per_row=per_row)[0]
        together, alone = (flat(twin(v))[0] for v in (x, x[mine]))
        assert np.array_equal(together[mine], alone) == per_row
    assert ("x=dynamic per row" in str(quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), per_row=True))) is True


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("kind", ["Linear", "LSTM", "GRU", "LSTMCell"])
def test_float16_weights(kind: str) -> None:
    nq.manual_seed(0)
    layer = getattr(nn, kind)(5, 7)
    with nq.no_grad():
        next(layer.parameters())[0, 0] = 1e6  # saturates
    x = np.random.default_rng(0).standard_normal((4, 3, 5) if kind in ("LSTM", "GRU") else (3, 5)).astype(np.float32)
    twin = quantize_dynamic(nn.Sequential(layer), dtype=nq.float16)[0]
    halves = [v for v in twin.state_dict().values() if v.dtype == np.float16]
    assert len(halves) == (1 if kind == "Linear" else 2)
    assert max(np.abs(v).max() for v in halves) == 65504
    torch = pytest.importorskip("torch", reason="torch is not installed")
    other = getattr(torch.nn, kind)(5, 7)
    other.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in layer.state_dict().items()})
    theirs = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(other), {type(other)}, dtype=torch.float16)[0]
    for got, wanted in zip(flat(twin(x)), flat(theirs(torch.from_numpy(x))), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_training_equals_deployment() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    model.qconfig = quantization.default_dynamic_qat_qconfig
    prepared = quantization.prepare_qat(model)
    assert type(prepared[0]) is nn.qat.dynamic.Linear
    x = nq.randn(16, 6)
    optimizer = optim.SGD(prepared.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = ((prepared(x) - x[:, :3]) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    converted = quantization.convert(prepared.eval())
    assert type(converted[0]) is nn.quantized.dynamic.Linear
    # the same integers, summed exactly or in float: a rounding of each of six terms apart
    np.testing.assert_allclose(np.asarray(converted[0](x)), np.asarray(prepared[0](x).detach()), rtol=0, atol=1e-5)
    model = nn.Sequential(nn.Conv2d(1, 1, 1)).train()
    model.qconfig = quantization.default_dynamic_qat_qconfig
    with pytest.raises(
        quantization.QConfigError, match=r"0 \(Conv2d\) has no twin for training with dynamic activations"
    ):
        quantization.prepare_qat(model)


def test_static_and_dynamic_in_one_model() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(
        quantization.QuantStub(), nn.Linear(4, 8), quantization.DeQuantStub(), nn.Linear(8, 8), nn.Linear(8, 2)
    ).eval()
    model.qconfig = quantization.default_qconfig
    model[3].qconfig = quantization.default_dynamic_qconfig
    model[4].qconfig = quantization.int8_weight_only_qconfig
    x = nq.randn(32, 4)
    prepared = quantization.prepare(model)
    prepared(x)
    converted = quantization.convert(prepared)
    kinds = [type(converted[i]) for i in (1, 3, 4)]
    assert kinds == [nn.quantized.Linear, nn.quantized.dynamic.Linear, nn.quantized.WeightOnlyLinear]
    assert np.abs(np.asarray(converted(x)) - np.asarray(model(x).detach())).max() < 0.05


def test_a_qconfig_that_is_not_dynamic_is_refused() -> None:
    with pytest.raises(quantization.QConfigError, match=r"0 \(LSTM\)"):
        quantize_dynamic(nn.Sequential(nn.LSTM(2, 3)), {nn.LSTM: quantization.default_qconfig})
