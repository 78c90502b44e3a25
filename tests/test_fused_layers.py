"""Fused layers that torch has for oneDNN: near the float layer, and torch's integers but for one step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import SATURATES, TORCH_SATURATES

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.nn import intrinsic
from nanoquant.nn.quantized.fused import tanh_thresholds


def made(name: str, space: Any, fused: Any, add: Any) -> Any:
    if name.startswith("Conv"):
        parts = (space.Conv2d(3, 4, 3, padding=1), add, *([space.ReLU()] if "ReLU" in name else []))
    else:
        parts = (space.Linear(6, 4), space.Tanh() if "Tanh" in name else space.LeakyReLU(0.2))
    return getattr(fused, name)(*parts).eval()


NAMES = ["LinearLeakyReLU", "LinearTanh", "ConvAdd2d", "ConvAddReLU2d"]


def data(name: str) -> tuple[np.ndarray, ...]:
    g = np.random.default_rng(0)
    shapes = ((2, 3, 6, 5), (2, 4, 6, 5)) if name.startswith("Conv") else ((40, 6),)
    return tuple(g.standard_normal(shape).astype(np.float32) for shape in shapes)


def converted(name: str, profile: str = "onednn") -> tuple[Any, Any, tuple[Any, ...]]:
    nq.manual_seed(0)
    nq.backends.quantized.engine = profile
    layer, inputs = made(name, nn, intrinsic, nq.add), data(name)
    model = nn.ModuleList([layer])
    model.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(model)
    prepared[0](*inputs)
    integers = tuple(nq.quantize_per_tensor(x, 0.03, 120, nq.quint8) for x in inputs)
    return layer, quantization.convert(prepared)[0], integers


@pytest.mark.parametrize("engine", nq.backends.quantized.supported_engines)
@pytest.mark.parametrize("name", NAMES)
def test_near_the_float_layer(name: str, engine: str) -> None:
    layer, twin, integers = converted(name, engine)
    assert type(twin) is getattr(nn.quantized, name)
    y, wanted = twin(*integers), np.asarray(layer(*(q.dequantize() for q in integers)).detach())
    low, high = ((end - y.q_zero_point()) * y.q_scale() for end in (twin.quant_min, twin.quant_max))
    assert np.abs(y.dequantize().array - np.clip(wanted, low, high)).max() < 0.03 + 0.5 * y.q_scale()
    if "ReLU2d" in name:
        assert y.dequantize().array.min() >= 0


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.skipif(TORCH_SATURATES, reason=SATURATES)
@pytest.mark.parametrize("name", NAMES)
def test_torchs_integers_but_for_one_step(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no oneDNN")
    layer, twin, integers = converted(name)
    torch.backends.quantized.engine = "onednn"
    other = made(name, torch.nn, torch.ao.nn.intrinsic, torch.add)
    other.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in layer.state_dict().items()})
    other.qconfig = other[0].qconfig = torch.ao.quantization.default_qconfig
    other.activation_post_process = other.qconfig.activation()
    other.activation_post_process(other(*map(torch.from_numpy, data(name))))
    theirs = getattr(torch.ao.nn.intrinsic.quantized, name).from_float(other)
    theirs.scale, theirs.zero_point = float(twin.scale), int(twin.zero_point)
    given = [torch._make_per_tensor_quantized_tensor(torch.from_numpy(q.values.copy()), 0.03, 120) for q in integers]
    got, wanted = twin(*integers).int_repr().array.astype(int), theirs(*given).int_repr().numpy().astype(int)
    wanted = np.clip(wanted, twin.quant_min, twin.quant_max)  # torch forgets the range 0..127 of its observer
    assert np.abs(got - wanted).max() <= 1
    assert (got != wanted).mean() < 0.02


def test_tanh_is_rounded_right_everywhere() -> None:
    qparams = nq.QParams(1 / 128, 128)
    places = tanh_thresholds(qparams)
    assert (np.diff(places[np.isfinite(places)]) > 0).all()
    y = np.linspace(-6, 6, 20001)
    codes = np.searchsorted(places, y)
    np.testing.assert_array_equal(codes, np.clip(np.rint(np.tanh(y) * 128) + 128, 0, 255))


def test_what_is_added_has_the_results_shape() -> None:
    _, twin, (x, _) = converted("ConvAdd2d")
    with pytest.raises(ValueError, match=r"must have the shape \(2, 4, 6, 5\)"):
        twin(x, x)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("act", [nn.ReLU6, nn.Hardswish])
def test_a_convolution_and_what_mobile_networks_put_behind_it(act: type[Any], norm: bool) -> None:
    nq.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), *([nn.BatchNorm2d(8)] if norm else []), act()]
    names, x = [str(n + 1) for n in range(len(layers))], 4 * np.random.default_rng(0).standard_normal((4, 3, 9, 9))
    model, x = nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub()).eval(), x.astype(np.float32)
    fused = quantization.fuse_modules(model, names)
    fused.qconfig = quantization.get_default_qconfig("qnnpack")
    prepared = quantization.prepare(fused)
    prepared(x)
    twin = quantization.convert(prepared)
    assert type(twin[1]) is getattr(nn.quantized, f"Conv2d{act.__name__}")
    y, wanted = np.asarray(twin(x)), np.asarray(model(x).detach())
    assert np.abs(y - wanted).max() < 0.1
    assert act is nn.Hardswish or (y.min(), y.max()) == (0, pytest.approx(6, abs=0.02))
    trained = quantization.fuse_modules_qat(model.train(), names)
    trained.qconfig = quantization.get_default_qat_qconfig("x86")
    trained = quantization.prepare_qat(trained)
    trained(x).sum().backward()
    assert all(np.abs(p.grad).sum() > 0 for p in trained.parameters() if p.ndim == 4)
    wanted, twin = np.asarray(trained.eval()(x).detach()), quantization.convert(trained)
    steps = (np.asarray(twin(x)) - wanted) / twin[1].scale
    assert np.abs(steps).max() < 1.01
    assert (np.abs(steps) > 0.01).mean() < 0.001
