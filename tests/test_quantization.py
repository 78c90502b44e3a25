"""quantization's common parts: fake-quantizers, qconfigs, fusion."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.nn import intrinsic
from nanoquant.observers import HistogramObserver, MinMaxObserver, MovingAverageMinMaxObserver, NotCalibratedError
from nanoquant.quantization import FakeQuantize, QConfig, default_per_channel_weight_fake_quant, default_weight_fake_quant

ENGINES = nq.backends.quantized.supported_engines

# ---- FakeQuantize ----------------------------------------------------------------------------------------------------


@given(strategies.seeds)
def test_fake_quantize_rounds_to_what_quantize_would_store(seed: int) -> None:
    x = (np.random.default_rng(seed).standard_normal((4, 5)) * 10).astype(np.float32)
    fake = FakeQuantize(observer=MinMaxObserver)
    y = fake(x)
    scale, zero_point = fake.calculate_qparams()
    assert np.array_equal(y.array, nq.quantize_per_tensor(x, scale, zero_point, nq.quint8).dequantize().array)


def test_switches() -> None:
    fake = FakeQuantize()
    x = nq.tensor([0.0, 0.3, 1.0])
    fake.disable_fake_quant()
    assert fake(x) is x
    assert fake.activation_post_process.calibrated
    fake.enable_fake_quant()
    fake.disable_observer()
    scale = fake.scale.copy()
    fake(x * 100)
    assert np.array_equal(fake.scale, scale), "frozen"
    fake.enable_observer()
    fake(x * 100)
    assert fake.scale > scale
    model = nn.Sequential(fake)
    for switch, expected in (
        (quantization.disable_observer, (0, 1)),
        (quantization.disable_fake_quant, (0, 0)),
        (quantization.enable_observer, (1, 0)),
        (quantization.enable_fake_quant, (1, 1)),
    ):
        model.apply(switch)
        assert (fake.observer_enabled[0], fake.fake_quant_enabled[0]) == expected


def test_without_data_it_refuses() -> None:
    fake = FakeQuantize()
    fake.disable_observer()
    with pytest.raises(NotCalibratedError, match="has seen no data"):
        fake([1.0])
    assert fake(nq.zeros(0, 3)).shape == (0, 3)


def test_weight_ranges_follow_the_weights_at_once() -> None:
    for factory in (default_weight_fake_quant, default_per_channel_weight_fake_quant):
        fake, w = factory(), np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
        fake(w)
        before = fake.scale.copy()
        fake(w * 2)
        assert np.array_equal(fake.scale, before * 2)


def test_state_carries_ranges_and_switches() -> None:
    fake, twin = FakeQuantize(), FakeQuantize()
    fake([-1.0, 2.0])
    fake.disable_observer()
    twin.load_state_dict(fake.state_dict())
    assert twin([0.4]).item() == fake([0.4]).item()
    assert twin.observer_enabled[0] == 0
    per_channel, other = default_per_channel_weight_fake_quant(), default_per_channel_weight_fake_quant()
    per_channel(np.eye(3))
    other.load_state_dict(per_channel.state_dict())
    assert np.array_equal(other.calculate_qparams()[0], per_channel.calculate_qparams()[0])


def test_it_shows_what_it_does() -> None:
    fake = FakeQuantize(quant_min=0, quant_max=255, reduce_range=True)
    assert (fake.quant_min, fake.quant_max, fake.dtype, fake.ch_axis) == (0, 127, nq.quint8, None)
    fake([0.0, 1.27])
    assert "fake_quant_enabled=1, observer_enabled=1, scale=0.01, zero_point=0" in repr(fake)
    assert FakeQuantize.with_args(averaging_constant=0.5)().activation_post_process.averaging_constant == 0.5
    with pytest.raises(TypeError, match="MovingAverageMinMaxObserver takes no argument 'bits'"):
        FakeQuantize(bits=4)
    assert FakeQuantize(is_dynamic=True, averaging_constant=1).activation_post_process.is_dynamic


# ---- QConfig ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "limits", "per_channel"),
    [("fbgemm", (0, 127), True), ("x86", (0, 127), True), ("qnnpack", (0, 255), False), ("onednn", (0, 255), True)],
)
def test_the_defaults_of_each_engine_are_torchs(engine: str, limits: tuple[int, int], per_channel: bool) -> None:
    for qconfig in (quantization.get_default_qconfig(engine), quantization.get_default_qat_qconfig(engine)):
        activation, weight = qconfig.activation(), qconfig.weight()
        assert (activation.quant_min, activation.quant_max) == limits
        assert (activation.dtype, weight.dtype) == (nq.quint8, nq.qint8)
        assert (weight.quant_min, weight.quant_max) == (-128, 127)
        assert weight.qscheme == (nq.per_channel_symmetric if per_channel else nq.per_tensor_symmetric)
        assert weight.ch_axis == (0 if per_channel else None)
    assert isinstance(quantization.get_default_qconfig(engine).activation(), HistogramObserver)
    qat = quantization.get_default_qat_qconfig(engine, 0)
    assert isinstance(qat.activation().activation_post_process, MovingAverageMinMaxObserver)


def test_qconfig_takes_factories() -> None:
    with pytest.raises(ValueError, match="weight is an instance of MinMaxObserver: pass the class"):
        QConfig(activation=MinMaxObserver, weight=MinMaxObserver())
    activation, weight = QConfig(MinMaxObserver, HistogramObserver)
    assert (activation, weight) == (MinMaxObserver, HistogramObserver)


def test_engine_names_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown quantized engine 'foo'; supported_engines are qnnpack, fbgemm, x86, onednn"):
        nq.backends.quantized.engine = "foo"
    with pytest.raises(ValueError, match="unknown backend 'foo'; supported: qnnpack"):
        quantization.get_default_qconfig("foo")
    with pytest.raises(ValueError, match="version must be one of"):
        quantization.get_default_qat_qconfig("x86", 2)


# ---- fusion ----------------------------------------------------------------------------------------------------------


def lived_in(bn: Any, seed: int) -> Any:
    """A batch normalization that has learned something."""
    g = np.random.default_rng(seed)
    bn.running_mean[:] = g.standard_normal(bn.num_features)
    bn.running_var[:] = g.uniform(0.1, 3, bn.num_features)
    bn.weight.array[:] = g.standard_normal(bn.num_features)
    bn.bias.array[:] = g.standard_normal(bn.num_features)
    return bn


def conv_net(seed: int, bias: bool = True) -> nn.Sequential:
    nq.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=bias), lived_in(nn.BatchNorm2d(6), seed), nn.ReLU())


def linear_net(seed: int, bias: bool = True) -> nn.Sequential:
    nq.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6, bias=bias), lived_in(nn.BatchNorm1d(6), seed), nn.ReLU())


@given(st.integers(0, 1000), st.booleans())
def test_folding_leaves_the_function_alone(seed: int, bias: bool) -> None:
    for model, x in ((conv_net(seed, bias), nq.randn(2, 4, 5, 5)), (linear_net(seed, bias), nq.randn(5, 4))):
        model.eval()
        expected = model(x).array
        for names in (["0", "1"], ["0", "1", "2"]) if isinstance(model[0], nn.Conv2d) else (["0", "1"],):
            fused = quantization.fuse_modules(model, names)
            # both sides round each of at most 20 terms; gamma / sigma is at most 3 / sqrt(0.1)
            assert np.allclose(fused(x).array, expected, atol=40 * 10 * 2**-23 * max(1, np.abs(expected).max()))
            assert isinstance(fused[1], nn.Identity)


def test_what_patterns_become() -> None:
    expected = {
        ("eval", "0 1"): nn.Conv2d,
        ("eval", "0 1 2"): intrinsic.ConvReLU2d,
        ("train", "0 1"): intrinsic.ConvBn2d,
        ("train", "0 1 2"): intrinsic.ConvBnReLU2d,
    }
    for (mode, names), kind in expected.items():
        model = conv_net(0).train(mode == "train")
        fuse = quantization.fuse_modules if mode == "eval" else quantization.fuse_modules_qat
        fused = fuse(model, names.split())
        assert type(fused[0]) is kind
        assert fused[0].training is (mode == "train")
        assert type(model[0]) is nn.Conv2d, "the original is untouched"
    for fuse, model in (
        (quantization.fuse_modules, linear_net(0).eval()),
        (quantization.fuse_modules_qat, linear_net(0).train()),
    ):
        assert type(fuse(model, ["0", "1"])[0]) in (nn.Linear, intrinsic.LinearBn1d)
    relu = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.ReLU()).train()
    fused = quantization.fuse_modules(relu, [["0", "1"], ["2", "3"]])
    assert [type(m) for m in fused] == [intrinsic.LinearReLU, nn.Identity, intrinsic.ConvReLU2d, nn.Identity]
    assert quantization.fuse_modules(relu, ["0", "1"], inplace=True) is relu


def test_fusion_explains_itself() -> None:
    with pytest.raises(RuntimeError, match=r"needs evaluation mode: call model.eval\(\) first, or use fuse_modules_qat"):
        quantization.fuse_modules(conv_net(0).train(), ["0", "1"])
    with pytest.raises(RuntimeError, match=r"needs training mode: call model.train\(\) first"):
        quantization.fuse_modules_qat(conv_net(0).eval(), ["0", "1"])
    with pytest.raises(
        ValueError, match="cannot fuse 0, 2: Conv2d, ReLU is no pattern|cannot fuse 2, 1: ReLU, BatchNorm2d is no pattern"
    ):
        quantization.fuse_modules(conv_net(0).eval(), ["2", "1"])
    with pytest.raises(AttributeError, match="no module at '7'"):
        quantization.fuse_modules(conv_net(0).eval(), ["0", "7"])
    with pytest.raises(TypeError, match="LinearReLU is made of Linear, ReLU; got Conv2d"):
        intrinsic.LinearReLU(nn.Conv2d(1, 1, 1), nn.ReLU())


def test_hooks_move_with_the_layers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    seen: list[str] = []
    model[0].register_forward_pre_hook(lambda m, i: seen.append("before"))
    model[1].register_forward_hook(lambda m, i, o: seen.append("after"))
    fused = quantization.fuse_modules(model, ["0", "1"])
    fused(nq.ones(1, 2))
    assert seen == ["before", "after"]


# ---- layers that train quantized -------------------------------------------------------------------------------------


def qat_twin(model: nn.Sequential, names: list[str]) -> Any:
    fused = quantization.fuse_modules_qat(copy.deepcopy(model).train(), names)
    fused.qconfig = quantization.get_default_qat_qconfig("onednn")
    return quantization.prepare_qat(fused)


@pytest.mark.parametrize("make", [conv_net, linear_net])
@pytest.mark.parametrize("bias", [True, False])
def test_a_twin_without_rounding_is_the_float_layer(make: Any, bias: bool) -> None:
    """In training, with live statistics: outputs, updated statistics and gradients agree with layer, BN, ReLU in float."""
    model = make(3, bias).train()
    x = nq.randn(8, 4, 5, 5) if make is conv_net else nq.randn(16, 4)
    names = ["0", "1", "2"] if make is conv_net else ["0", "1"]
    reference = copy.deepcopy(model)
    prepared = qat_twin(model, names)
    prepared.apply(quantization.disable_fake_quant)
    outputs = (reference[: len(names)](x), prepared[0](x))
    assert np.allclose(outputs[0].array, outputs[1].array, atol=2e-5)
    assert np.allclose(reference[1].running_mean, prepared[0].bn.running_mean, atol=1e-5)
    assert np.allclose(reference[1].running_var, prepared[0].bn.running_var, atol=1e-5)
    for y in outputs:  # not y^2, whose sum normalization keeps: its gradient is rounding errors alone
        (y * y * y).sum().backward()
    for theirs, ours in ((reference[0].weight, prepared[0].weight), (reference[1].weight, prepared[0].bn.weight)):
        assert np.allclose(theirs.grad.array, ours.grad.array, rtol=1e-3, atol=1e-3 * np.abs(theirs.grad.array).max())


def test_frozen_statistics_stay() -> None:
    prepared, x = qat_twin(conv_net(0), ["0", "1", "2"]), nq.randn(4, 4, 5, 5)
    before = prepared[0].bn.running_mean.copy()
    prepared.apply(nn.qat.freeze_bn_stats)
    frozen = prepared(x)
    assert np.array_equal(prepared[0].bn.running_mean, before)
    assert np.array_equal(prepared.eval()(x).array, frozen.array)
    prepared.train().apply(nn.qat.update_bn_stats)(x)
    assert not np.array_equal(prepared[0].bn.running_mean, before)


def test_a_dead_channel_trains() -> None:
    model = conv_net(0)
    model[1].weight.array[0] = 0
    y = qat_twin(model, ["0", "1", "2"])(nq.randn(4, 4, 5, 5))
    assert np.isfinite(y.array).all()
    y.sum().backward()
