"""Normalizations, softmax and PReLU between integers: within a step of the float layer, torch's integers but for ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.errors import ModuleError

LAYERS: dict[str, tuple[str, tuple[Any, ...], tuple[int, ...]]] = {
    "BatchNorm1d": ("BatchNorm1d", (6,), (4, 6, 5)),
    "BatchNorm2d": ("BatchNorm2d", (6,), (4, 6, 5, 3)),
    "BatchNorm3d": ("BatchNorm3d", (6,), (4, 6, 5, 3, 2)),
    "InstanceNorm1d": ("InstanceNorm1d", (6,), (4, 6, 5)),
    "InstanceNorm2d": ("InstanceNorm2d", (6, 1e-5, 0.1, True), (4, 6, 5, 3)),
    "InstanceNorm3d": ("InstanceNorm3d", (6,), (4, 6, 5, 3, 2)),
    "GroupNorm": ("GroupNorm", (2, 6), (4, 6, 5, 3)),
    "GroupNorm, no weights": ("GroupNorm", (3, 6, 1e-5, False), (4, 6, 5)),
    "LayerNorm": ("LayerNorm", ((5, 3),), (4, 6, 5, 3)),
    "LayerNorm, no weights": ("LayerNorm", (3, 1e-5, False), (4, 5, 3)),
    "Softmax": ("Softmax", (1,), (4, 6, 5)),
    "PReLU": ("PReLU", (), (4, 6)),
    "PReLU, by channel": ("PReLU", (6,), (4, 6, 5)),
    "ELU": ("ELU", (), (4, 6)),
}


def layer_of(space: Any, name: str) -> Any:
    """The layer with weights of its own."""
    kind, arguments, _ = LAYERS[name]
    layer = getattr(space, kind)(*arguments)
    g = np.random.default_rng(3)
    state = {n: np.abs(g.normal(1, 0.5, np.shape(v))).astype(np.float32) for n, v in layer.state_dict().items()}
    state.update({n: np.array(1) for n in state if n.endswith("tracked")})
    layer.load_state_dict(state if space is nn else {n: space.parameter.torch.from_numpy(v) for n, v in state.items()})
    return layer.eval()


def quantized(space: Any, convert: Any, layer: Any, x: Any, stub: Any) -> Any:
    model = space.Sequential(stub, layer)
    model.eval().qconfig = convert.default_qconfig
    prepared = convert.prepare(model)
    prepared(x)
    return convert.convert(prepared)


def given(name: str) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 2, LAYERS[name][2]).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_near_the_float_layer(name: str) -> None:
    layer, x = layer_of(nn, name), given(name)
    model = quantized(nn, quantization, layer, x, quantization.QuantStub())
    twin, q = model[1], model[0](x)
    assert type(twin) is getattr(nn.quantized, LAYERS[name][0])
    assert str(twin).startswith(f"Quantized{LAYERS[name][0]}(")
    y, wanted = twin(q), np.asarray(layer(q.dequantize()).detach())
    assert y.shape == wanted.shape
    low, high = ((end - y.q_zero_point()) * y.q_scale() for end in (0, 255))
    assert np.abs(y.dequantize().array - np.clip(wanted, low, high)).max() < 0.51 * y.q_scale()
    fresh = type(twin)(*LAYERS[name][1]) if name != "ELU" else type(twin)(1.0)
    fresh.load_state_dict(twin.state_dict())
    fresh.dtype, fresh.quant_min, fresh.quant_max = twin.dtype, twin.quant_min, twin.quant_max
    assert np.array_equal(fresh(q).int_repr(), y.int_repr())


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith(("BatchNorm1d", "PReLU", "Softmax"))])
def test_torchs_integers_but_for_one_step(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.backends.quantized.engine = "fbgemm"
    x = given(name)
    ours = quantized(nn, quantization, layer_of(nn, name), x, quantization.QuantStub())
    ao = torch.ao.quantization
    theirs = quantized(torch.nn, ao, layer_of(torch.nn, name), torch.from_numpy(x), ao.QuantStub())
    got, wanted = ours(x), theirs(torch.from_numpy(x))
    assert (got.q_scale(), got.q_zero_point()) == (pytest.approx(wanted.q_scale(), rel=1e-5), wanted.q_zero_point())
    off = np.abs(got.int_repr().array.astype(int) - wanted.int_repr().numpy().astype(int))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.02


def test_what_passes_integers() -> None:
    q = nq.quantize_per_tensor([-1.0, 2.0, 9.0], 0.25, 10, nq.quint8)
    assert nn.quantized.ReLU6.from_float(nn.ReLU6())(q).dequantize().tolist() == [0, 2, 6]
    assert nn.quantized.Dropout.from_float(nn.Dropout())(q) is q


def test_bn_relu_is_one_layer() -> None:
    nq.manual_seed(0)
    bn = layer_of(nn, "BatchNorm2d")
    bn.bias.data = np.linspace(-2, 2, 6, dtype=np.float32)
    model = nn.Sequential(quantization.QuantStub(), bn, nn.ReLU()).eval()
    x = given("BatchNorm2d")
    fused = quantization.fuse_modules(model, ["1", "2"])
    fused.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(fused)
    prepared(x)
    converted = quantization.convert(prepared)
    assert type(converted[1]) is nn.quantized.BNReLU2d
    y = converted(x)
    assert np.abs(y.dequantize().array - model(x).array).max() < 4 * y.q_scale()
    assert y.dequantize().array.min() == 0


def test_errors() -> None:
    model = quantized(nn, quantization, layer_of(nn, "PReLU, by channel"), given("PReLU, by channel"), quantization.QuantStub())
    with pytest.raises(ModuleError, match=r"has 6 slopes, one for each channel; got an input of shape \(2, 5\)"):
        model(np.ones((2, 5), np.float32))
    with pytest.raises(ModuleError, match="its output is quint8, and so must its input be; got qint8"):
        model[1](nq.quantize_per_tensor(np.ones((2, 6)), 1.0, 0, nq.qint8))
