"""Dynamic recurrent layers: torch's numbers, accuracy with scales per channel, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, quantization
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


def test_a_qconfig_that_is_not_dynamic_is_refused() -> None:
    with pytest.raises(quantization.QConfigError, match=r"0 \(LSTM\)"):
        quantize_dynamic(nn.Sequential(nn.LSTM(2, 3)), {nn.LSTM: quantization.default_qconfig})
