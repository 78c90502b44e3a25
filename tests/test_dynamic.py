"""Dynamic layers: torch's numbers, accuracy with scales per channel, ranges per row, float16, training, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_vectors import cases

import nanoquant as nq
from nanoquant import data, models, nn, optim, quantization
from nanoquant.kernels import dynamic, lstm, native
from nanoquant.qparams import choose_dynamic_qparams
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


def on_the_grid_of(x: np.ndarray, y: np.ndarray, layer: Any) -> np.ndarray:
    """y in steps of x's scale, no further than x's integers reach."""
    scale, zero_point = choose_dynamic_qparams(x.min(), x.max(), 0, dynamic.greatest_step(layer.profile))
    return np.clip(y / np.float64(np.float32(scale)), -zero_point, 255 - zero_point)


def pair(name: str) -> tuple[Any, np.ndarray]:
    kind, options, shape = LAYERS[name]
    nq.manual_seed(1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return getattr(nn, kind)(5, 7, **options).eval(), x


@pytest.mark.parametrize(("options", "arrays"), cases("dynamic_layers"), ids=lambda v: v.get("kind", "") or "arrays")
def test_torchs_numbers(options: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    nq.backends.quantized.engine = options["engine"]
    layer, x = getattr(nn, options["kind"])(*options["arguments"], **options["options"]).eval(), arrays["x"]
    layer.load_state_dict({n.removeprefix("state "): v for n, v in arrays.items() if n.startswith("state ")})
    half = options["dtype"] == "float16"
    qconfig = quantization.float16_dynamic_qconfig if half else default_dynamic_qconfig
    twin = quantize_dynamic(nn.Sequential(layer), {type(layer): qconfig})[0]
    outputs = flat(twin(x))
    if half:
        weights = [v for v in twin.state_dict().values() if v.dtype == np.float16]
        assert len(weights) == sum("weight" in name for name in arrays)
        assert max(np.abs(w).max() for w in weights) == 65504
    for i, got in enumerate(outputs):
        wanted = arrays[f"y{i}"]
        if "Conv" in options["kind"]:  # torch's results are integers, with the input's scale
            steps, theirs = on_the_grid_of(x, got, twin), on_the_grid_of(x, wanted, twin)
            # QNNPACK's biases are integers of s_x s_w, half of which is half of s_w in steps of s_x
            slack = float(twin.weight_scale.max()) / 2 if options["engine"] == "qnnpack" else 0
            assert (np.abs(steps - np.rint(theirs)) <= 0.5 + slack).all()
        else:  # the same integers; gates are a few 2^-24 off, which may move a later range by as much. Halves are summed
            # in another order.
            np.testing.assert_allclose(got, wanted, rtol=1e-5 * half, atol=1e-5 if half else 1e-6)


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


def test_scales_per_channel_keep_the_accuracy_that_one_scale_loses() -> None:
    """Digits read row by row. One hidden unit is cut off from what follows, and then its weights are made large."""
    nq.manual_seed(0)
    train, test = data.load_digit_rows()
    model = models.LSTMClassifier(hidden=32, num_layers=1)
    optimizer, loss = optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    for _ in range(12):
        for x, labels in data.batches(*train, size=64, shuffle=True):
            optimizer.zero_grad()
            loss(model(x), labels).backward()
            optimizer.step()

    def accuracy(model: Any) -> float:
        return float((np.asarray(model.eval()(test.images).detach()).argmax(1) == test.labels).mean())

    lstm = model.lstm
    with nq.no_grad():
        lstm.weight_hh_l0[:, 0] = 0
        model.fc.weight[:, 0] = 0
    before = accuracy(model)
    with nq.no_grad():
        for weight in (lstm.weight_ih_l0, lstm.weight_hh_l0):
            weight[::32] *= 256
    assert accuracy(model) == before > 0.8
    assert accuracy(quantize_dynamic(model)) > before - 0.01
    assert accuracy(quantize_dynamic(model, {nn.LSTM: default_dynamic_qconfig})) < 0.5


@pytest.mark.parametrize(("batch", "per_row"), [(1, False), (70, False), (70, True)])
def test_threads_change_no_bit(batch: int, per_row: bool) -> None:
    nq.manual_seed(0)
    before = nq.get_num_threads()
    twin = quantize_dynamic(nn.Sequential(nn.LSTM(256, 512)), per_row=per_row)[0]
    x, results = nq.randn(3, batch, 256), []
    for threads in (1, 2, 3):
        nq.set_num_threads(threads)
        results.append(np.concatenate([v.ravel() for v in flat(twin(x))]))
    nq.set_num_threads(before)
    assert all(np.array_equal(result, results[0]) for result in results[1:])


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 2, 5), (2, 9, 33)])
def test_c_takes_the_same_steps_on_every_instruction_set(size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("kind", ["Linear", "LSTM", "GRU", "LSTMCell", "GRUCell", "RNNCell", "Conv2d"])
def test_per_row_batch_mates_do_not_matter(kind: str, tmp_path: Path) -> None:
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
        assert ("x=dynamic per row" in str(twin)) == per_row
        nq.save(twin, tmp_path / "twin.nq")
        assert np.array_equal(flat(nq.load(tmp_path / "twin.nq")(x))[0], together)
    with pytest.raises(quantization.QConfigError, match="per_row=True, but no layer's activations are quantized"):
        quantize_dynamic(nn.Sequential(nn.Linear(5, 7)), dtype=nq.float16, per_row=True)


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
    with pytest.raises(quantization.QConfigError, match=r"0 \(Conv2d\) has no twin for training with dynamic activations"):
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
