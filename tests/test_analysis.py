"""evaluate, compare and profile: of networks whose figures are known."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.models import DigitsCNN


class Slow(nn.Module):
    """Sleeps."""

    def forward(self, x: Any) -> Any:
        time.sleep(0.01)
        return x


def test_evaluate_weighs_batches_by_their_size() -> None:
    batches = [(nq.zeros(3, 2), nq.tensor([0, 0, 1])), (nq.zeros(1, 2), nq.tensor([1]))]
    assert quantization.evaluate(nn.Identity(), batches) == 0.5
    assert quantization.evaluate(nn.Identity(), batches, lambda y, t: len(t)) == 2.5
    with pytest.raises(ValueError, match="at least one batch"):
        quantization.evaluate(nn.Identity(), [])


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(nq.zeros(2, 2), nq.tensor([0, 1]))] * 3
    quantization.evaluate(nn.Identity(), batches)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # not installed
    for loader, shown in ((batches, "evaluate: 3/3, 0 s"), (iter(batches), "evaluate: 3, 0 s")):
        assert quantization.evaluate(nn.Identity(), loader) == 0.5
        assert capsys.readouterr().err.endswith(f"\r{shown}\n")


def test_compare() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3))
    models = {"float": model, "int8": quantization.quantize_dynamic(model), "slow": nn.Sequential(model, Slow())}
    found = quantization.compare(models, [(nq.ones(2, 8), nq.tensor([0, 1]))], nq.ones(64, 8), rounds=3)
    assert [row[1] for row in found.rows.values()] == [4 * 51, 44 + 7 * 4 + 2 * 12, 4 * 51]
    assert found.rows["slow"][2] > 10 > 0 < found.rows["float"][2]
    assert found.rows["float"][3] >= 64 * 4 * 4
    assert list(found.panels()) == ["score", "bytes", "ms", "peak bytes"]
    assert str(found).splitlines()[1].split()[0] == "float"
    with pytest.raises(TypeError, match="give a list or a DataLoader; got an iterator"):
        quantization.compare(models, iter([]), nq.ones(1, 8))


def test_profile_finds_the_slow_layer_and_counts_work() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Slow(), nn.ConvTranspose2d(8, 2, 2, stride=2), nn.Flatten(), Slow())
    found = quantization.profile(model, np.zeros((2, 3, 6, 5), np.float32), rounds=3)
    assert [layer.macs for layer in found.layers] == [2 * 8 * 30 * 27, 0, 2 * 8 * 30 * 8, 0, 0]
    assert found.layers[1].seconds > 0.009
    assert found.seconds > 0.018
    assert found.layers[0].gops == pytest.approx(2e-9 * found.layers[0].macs / found.layers[0].seconds)
    assert not any(module._forward_hooks for module in model.modules())
    text = str(found)
    assert "between layers" in text.splitlines()[-1]
    assert "%peak" not in text
    assert "%peak" in str(quantization.profile(model, np.zeros((2, 3, 6, 5), np.float32), rounds=1, peak_gops=100))


def test_profile_of_int8_beside_float() -> None:
    model = DigitsCNN().eval()
    fused = quantization.fuse_modules(model, DigitsCNN.FUSE)
    fused.qconfig = quantization.get_default_qconfig("x86")
    prepared, x = quantization.prepare(fused), nq.randn(4, 1, 8, 8).array
    prepared(x)
    int8 = quantization.profile(quantization.convert(prepared), x, rounds=2)
    floats = quantization.profile(model, x, rounds=2)
    macs = [{layer.path: layer.macs for layer in p.layers if layer.macs} for p in (int8, floats)]
    assert macs[0] == macs[1]
    weights = [{layer.path: layer.bytes for layer in p.layers} for p in (int8, floats)]
    assert weights[0]["conv2"] < 0.3 * weights[1]["conv2"]


def test_sums_are_layers_and_two_profiles_stand_side_by_side() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.relu = nn.Linear(64, 64), nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.fc(x)) + x

    model, x = Residual().eval(), np.ones((4, 64), np.float32)
    prepared = quantization.prepare_fx(model, quantization.get_default_qconfig_mapping())
    prepared(x)
    lowered = quantization.convert_fx(prepared)
    found, floats = (quantization.profile(m, x, rounds=3) for m in (lowered, model))
    assert [(layer.path, layer.kind) for layer in found.layers] == [
        ("x_quantize", "Quantize"),
        ("fc", "LinearReLU"),
        ("add_functional", "QFunctional"),
        ("add_dequantize", "DeQuantize"),
    ]
    assert "add" not in vars(lowered.add_functional)
    head, first, fc, *_, relu, last = found.beside(floats).splitlines()
    assert head.split()[-3:] == ["us", "times", "bytes"]
    assert len(first.split()) == 5
    assert fc.split()[-1] == "16,640"
    assert relu.split()[:2] == ["relu", "ReLU"]
    assert float(last.split()[-1]) == pytest.approx(floats.seconds / found.seconds, abs=0.01)


def test_a_layer_called_twice_has_both_times_and_recurrent_ones_are_one() -> None:
    slow = Slow()
    twice = quantization.profile(nn.Sequential(slow, nn.ReLU(), slow), np.zeros((1, 2), np.float32), rounds=2)
    assert [layer.path for layer in twice.layers] == ["0", "1"]
    assert twice.layers[0].seconds > 0.018
    lstm = quantization.quantize_dynamic(nn.Sequential(nn.LSTM(4, 5)))
    found = quantization.profile(lstm, np.zeros((3, 1, 4), np.float32), rounds=1)
    assert [(layer.path, layer.kind) for layer in found.layers] == [("0", "LSTM")]
