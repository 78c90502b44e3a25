"""The numeric suite names what both models have, and shows which layer is to blame."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.metrics import sqnr
from nanoquant.nn.quantized import FloatFunctional
from nanoquant.quantization.analysis import numeric_suite as ns


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.relu, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1)
        self.skip = FloatFunctional()

    def forward(self, x):
        return self.skip.add(self.conv2(self.relu(self.conv1(x))), x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.block, self.up, self.fc = Block(), nn.ConvTranspose2d(8, 8, 2), nn.Linear(8, 5)

    def forward(self, x):
        x = self.up(self.block(self.relu(self.bn1(self.conv1(self.quant(x))))))
        return self.dequant(self.fc(x.mean((2, 3))))


X = np.random.default_rng(0).normal(size=(4, 3, 9, 9)).astype(np.float32)


@pytest.fixture
def models():
    nq.manual_seed(0)
    model = Net().eval()
    quantization.fuse_modules(model, [["conv1", "bn1", "relu"], ["block.conv1", "block.relu"]], inplace=True)
    model.qconfig = quantization.get_default_qconfig("x86")
    per_channel_transposed = quantization.default_per_channel_weight_observer
    model.up.qconfig = quantization.QConfig(quantization.HistogramObserver.with_args(reduce_range=True), per_channel_transposed)
    prepared = quantization.prepare(model)
    prepared(X)
    return model, quantization.convert(prepared)


def errors(pairs):
    def floats(x):
        return np.asarray(x.dequantize() if x.is_quantized else x)

    return {key: sqnr(floats(pair["float"][0]), floats(pair["quantized"][0])) for key, pair in pairs.items()}


def test_weights_of_every_layer(models):
    model, twin = models
    pairs = ns.compare_weights(model.state_dict(), twin.state_dict())
    assert list(pairs) == [f"{name}.weight" for name in ("conv1", "block.conv1", "block.conv2", "up", "fc")]
    for key, pair in pairs.items():
        layer = twin.get_submodule(key.removesuffix(".weight"))
        assert np.array_equal(pair["quantized"].dequantize(), layer.weight().dequantize())
        assert pair["quantized"].qparams.axis == (1 if key == "up.weight" else 0)
        source = model.get_submodule(key.removesuffix(".weight"))
        assert np.array_equal(pair["float"], (source[0] if isinstance(source, nn.Sequential) else source).weight.array)
        assert 30 < sqnr(np.asarray(pair["float"]), np.asarray(pair["quantized"].dequantize())) < 60


def test_weights_of_dynamic_layers():
    model = nn.Sequential(nn.LSTM(4, 3, 2), nn.Linear(3, 2))
    twin = quantization.quantize_dynamic(model, {nn.LSTM, nn.Linear})
    pairs = ns.compare_weights(model.state_dict(), twin.state_dict())
    assert set(pairs) == {f"0.{kind}h_l{layer}.weight" for kind in "ih" for layer in (0, 1)} | {"1.weight"}
    assert np.array_equal(pairs["0.hh_l1.weight"]["float"], model[0].weight_hh_l1.array)
    alone = ns.compare_weights(model[0].state_dict(), twin[0].state_dict())
    assert np.array_equal(alone["ih_l0.weight"]["float"], model[0].weight_ih_l0.array)


def test_outputs_at_the_same_places(models):
    model, twin = models
    before = [[*m.state_dict()] for m in models]
    wanted = np.asarray(twin(X)).tobytes()
    found = errors(ns.compare_model_outputs(model, twin, X))
    places = ["quant", "conv1", "block.conv1", "block.conv2", "block.skip", "up", "fc"]
    assert list(found) == [f"{place}.stats" for place in places]  # torch's for this model, but "up", which it refuses
    assert all(20 < value < 60 for value in found.values()), found
    assert [[*m.state_dict()] for m in models] == before
    assert np.asarray(twin(X)).tobytes() == wanted
    assert not any(m._forward_hooks for each in models for m in each.modules())
    assert list(ns.compare_model_outputs(model, twin, X, allow_list=[nn.Linear])) == ["fc.stats"]
    assert list(ns.compare_model_outputs(model, twin, X, allow_list=[nn.quantized.Linear])) == ["fc.stats"]


def test_loggers_keep_every_pass(models):
    model, twin = (copy.deepcopy(m) for m in models)

    class Norms(ns.Logger):
        def forward(self, x):
            self.keep("tensor_val", x)
            self.stats.setdefault("shapes", []).append(x.shape)

    ns.prepare_model_outputs(model, twin, Norms)
    for _ in range(3):
        model(X)
        twin(X)
    assert ns.get_logger_dict(twin)["fc.stats"]["shapes"] == [(4, 5)] * 3
    assert ns.get_logger_dict(twin, "net")["net.fc.stats"]["shapes"] == [(4, 5)] * 3
    pair = ns.get_matching_activations(model, twin)["block.skip.stats"]
    assert len(pair["float"]) == len(pair["quantized"]) == 3
    assert np.array_equal(pair["float"][0], pair["float"][2])


def test_shadows_show_a_layers_own_error(models):
    model, twin = models
    kinds = [Block, nn.Linear, nn.ConvTranspose2d, nn.intrinsic.ConvReLU2d]
    found = errors(ns.compare_model_stub(model, twin, kinds, X))
    assert list(found) == ["conv1.stats", "block.stats", "up.stats", "fc.stats"]
    assert np.asarray(twin(X)).tobytes() == np.asarray(copy.deepcopy(twin)(X)).tobytes()
    assert not any(isinstance(m, ns.Shadow) for m in twin.modules())
    bad = copy.deepcopy(twin)
    weight = bad.block.conv2.weight()
    spoilt = nq.quantize_per_channel(np.asarray(weight.dequantize()) * np.float32(0.2), *channels(weight), 0, nq.qint8)
    bad.block.conv2.set_weight_bias(spoilt, bad.block.conv2.bias())
    names = [nn.Conv2d, nn.Linear, nn.ConvTranspose2d, nn.intrinsic.ConvReLU2d]
    own, chain = errors(ns.compare_model_stub(model, bad, names, X)), errors(ns.compare_model_outputs(model, bad, X))
    assert min(own, key=own.get) == "block.conv2.stats"
    assert own["fc.stats"] > 20 > own["block.conv2.stats"]  # the blame is the layer's alone,
    assert chain["fc.stats"] < own["fc.stats"] - 10  # though all that follow it suffer


def channels(weight):
    return np.asarray(weight.q_per_channel_scales()), np.asarray(weight.q_per_channel_zero_points())


def test_a_functional_in_the_shadow(models):
    model, twin = models
    found = errors(ns.compare_model_stub(model, twin, [FloatFunctional], X))
    assert list(found) == ["block.skip.stats"]
    assert found["block.skip.stats"] > 30


def test_graph_mode():
    nq.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    prepared = quantization.prepare_fx(model, quantization.get_default_qconfig_mapping(), X)
    prepared(X)
    twin = quantization.convert_fx(prepared)
    for _ in range(3):
        twin(X)
    assert list(errors(ns.compare_model_outputs(model, twin, X))) == ["0.stats", "2.stats"]
    assert list(errors(ns.compare_model_stub(model, twin, [nn.Conv2d], X))) == ["0.stats", "2.stats"]
