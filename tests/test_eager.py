"""The eager workflow: prepare, calibrate, convert; dynamic; and that training equals deployment."""

from __future__ import annotations

import copy
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.backends import quantized as backend
from nanoquant.errors import ModuleError
from nanoquant.kernels import native
from nanoquant.numerics import Profile
from nanoquant.observers import MinMaxObserver, NotCalibratedError
from nanoquant.qtensor import QTensor
from nanoquant.quantization import DeQuantStub, QConfig, QConfigError, QuantStub

ENGINES = backend.supported_engines


class Net(nn.Module):
    """Every layer that has a twin, and every layer that needs none."""

    FUSE = (("conv1", "bn1", "relu1"), ("conv2", "bn2"), ("depthwise", "relu3"), ("fc1", "relu4"))

    def __init__(self) -> None:
        super().__init__()
        self.quant = QuantStub()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, stride=2, groups=4, bias=False), nn.BatchNorm2d(12)
        self.depthwise, self.relu3 = nn.Conv2d(12, 12, 3, padding="same", groups=12), nn.ReLU()
        self.conv3 = nn.Conv2d(12, 10, 1)
        self.mean = nn.AdaptiveAvgPool2d(2)
        self.drop, self.flatten = nn.Dropout(0.2), nn.Flatten()
        self.fc1, self.relu4 = nn.Linear(40, 16), nn.ReLU()
        self.fc2 = nn.Linear(16, 5)
        self.dequant = DeQuantStub()

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu1(self.bn1(self.conv1(self.quant(x)))))
        x = self.conv3(self.relu3(self.depthwise(self.bn2(self.conv2(x)))))
        x = self.flatten(self.drop(self.mean(x)))
        return self.dequant(self.fc2(self.relu4(self.fc1(x))))


def trained(seed: int = 0) -> tuple[Net, np.ndarray]:
    nq.manual_seed(seed)
    net, x = Net(), nq.randn(16, 3, 14, 14).array
    for _ in range(3):
        net(x)
    return net, x


def quantized_statically(engine: str, seed: int = 0) -> tuple[nn.Module, nn.Module, np.ndarray]:
    backend.engine = engine
    net, x = trained(seed)
    net.eval()
    fused = quantization.fuse_modules(net, Net.FUSE)
    fused.qconfig = quantization.get_default_qconfig(engine)
    prepared = quantization.prepare(fused)
    prepared(x)
    return net, quantization.convert(prepared), x


@pytest.mark.parametrize("engine", ENGINES)
def test_static_quantization_keeps_the_function(engine: str) -> None:
    net, converted, x = quantized_statically(engine)
    y, expected = converted(x).array, net(x).array
    sqnr = 10 * np.log10((expected**2).sum() / ((expected - y) ** 2).sum())
    assert sqnr > 18
    assert not [m for m in converted.modules() if type(m) in (nn.Conv2d, nn.Linear)], "every layer was exchanged"
    assert not any(hasattr(m, "qconfig") or m._forward_hooks for m in converted.modules())
    assert {m.profile for m in converted.modules() if hasattr(m, "profile")} == {nq.numerics.ENGINES[engine]}


def test_every_isa_gives_the_same_bits() -> None:
    """The whole network, under each instruction set of this machine."""
    _, converted, x = quantized_statically("x86")
    expected = converted(x).array
    with tempfile.TemporaryDirectory() as folder:
        nq.save(converted, f"{folder}/model.nq")
        np.save(f"{folder}/x.npy", x)
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "import numpy as np, nanoquant as nq, test_eager\n"
            f"model = nq.load('{folder}/model.nq', classes=[test_eager.Net])\n"
            f"np.save('{folder}/y.npy', model(np.load('{folder}/x.npy')).array)"
        )
        for isa in native.available_isas():
            run_python("-c", code, NANOQUANT_ISA=isa)
            assert np.array_equal(np.load(f"{folder}/y.npy"), expected), isa


def test_the_engine_may_change_after_conversion() -> None:
    _, converted, x = quantized_statically("qnnpack")
    before = converted(x).array
    backend.engine = "fbgemm"
    assert np.array_equal(converted(x).array, before)
    assert np.array_equal(copy.deepcopy(converted)(x).array, before)


def test_quantized_layers_print_one_true_line() -> None:
    _, converted, _ = quantized_statically("x86")
    assert repr(converted.conv1).startswith(
        "QuantizedConvReLU2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), w=int8 per-channel sym, out=quint8: scale="
    )
    assert repr(converted.fc2).startswith("QuantizedLinear(16, 5, w=int8 per-channel sym, out=quint8: scale=")
    assert repr(converted.fc2).endswith("profile=fbgemm)")
    assert repr(converted.quant).startswith("Quantize(quint8: scale=")
    assert repr(converted.dequant) == "DeQuantize()"
    dynamic = quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 2)))
    assert repr(dynamic[0]) == "DynamicQuantizedLinear(3, 2, w=int8 per-tensor sym, x=dynamic, profile=fbgemm)"


def test_a_layer_shows_and_takes_weights() -> None:
    _, converted, x = quantized_statically("x86")
    layer = converted.fc2
    weight, bias = layer.weight(), layer.bias()
    assert (weight.dtype, weight.shape, weight.q_per_channel_axis()) == (nq.qint8, (5, 16), 0)
    before = converted(x).array
    layer.set_weight_bias(nq.quantize_per_tensor(weight.dequantize(), 0.01, 0, nq.qint8), None)
    assert layer.bias() is None
    assert not np.array_equal(converted(x).array, before)
    layer.set_weight_bias(weight, bias)
    assert np.array_equal(converted(x).array, before)
    layer.scale = float(layer.scale) * 2
    assert converted(x).array.std() != before.std()
    with pytest.raises(ValueError, match=r"weights must be qint8 of shape \(5, 16\)"):
        layer.set_weight_bias(nq.quantize_per_tensor(np.ones((5, 3)), 1.0, 0, nq.qint8), None)


def test_state_travels_between_converted_models() -> None:
    (_, one, x), (_, two, _) = quantized_statically("x86", 0), quantized_statically("x86", 1)
    two(x)  # packs its own weights, which must then be forgotten
    two.load_state_dict(one.state_dict())
    assert np.array_equal(one(x).array, two(x).array)


# ---- training equals deployment --------------------------------------------------------------------------------------


def trained_for_quantization(engine: str, seed: int = 0) -> tuple[nn.Module, np.ndarray]:
    backend.engine = engine
    net, x = trained(seed)
    fused = quantization.fuse_modules_qat(net.train(), Net.FUSE)
    fused.qconfig = quantization.get_default_qat_qconfig(engine)
    prepared = quantization.prepare_qat(fused)
    optimizer, loss = nq.optim.SGD(prepared.parameters(), lr=0.05), nn.CrossEntropyLoss()
    for _ in range(5):
        optimizer.zero_grad()
        loss(prepared(x), np.arange(16) % 5).backward()
        optimizer.step()
    prepared.eval()
    prepared(x)
    return prepared.apply(quantization.disable_observer), x


def integers(x: nq.Tensor) -> QTensor:
    """The integers that a fake-quantized tensor stands for."""
    assert x.grid is not None, "the training twin rounded this tensor to a grid"
    q = nq.qtensor.quantize(x.detach(), x.grid)
    assert np.array_equal(q.dequantize().array, x.array)
    return q


def distance_to_tie(layer: Any, q: QTensor, index: tuple[int, ...]) -> tuple[Fraction, Fraction]:
    """For one output: how far its exact value, in output steps, is from a tie; and how far float32 may have moved it.

    Both sides compute bias + sum_k x_k w_k. Training adds K products in float32 in some order: each of K + 1
    additions and K products rounds by at most u = 2^-24 of a partial sum, no larger than S = |bias| + sum |x_k w_k|,
    hence (2 K + 1) u S; its quotient by the scale rounds twice more. Deployment rounds a, badd, f32(acc), the sum,
    the product: 6 u S. QNNPACK also rounds the bias to a multiple of s_x s_w, by at most half of it.
    """
    x, w = q.dequantize().array, layer.weight().dequantize().array
    if x.ndim == 4:
        (top, bottom), (left, right) = layer.borders()
        n, o, i, j = index
        first = o // (w.shape[0] // layer.groups) * w.shape[1]
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        rows, columns = (slice(p * s, p * s + k) for p, s, k in zip((i, j), layer.stride, w.shape[2:], strict=True))
        terms, channel = (padded[n, first : first + w.shape[1], rows, columns], w[o]), o
    else:
        terms, channel = (x[index[0]], w[index[1]]), index[1]
    products = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(terms[0].ravel(), terms[1].ravel(), strict=True)]
    bias = Fraction(0) if layer.bias() is None else Fraction(float(layer.bias().array[channel]))
    scale, u = Fraction(float(layer.scale)), Fraction(1, 2**24)
    exact = (bias + sum(products)) / scale
    size = (abs(bias) + sum(abs(p) for p in products)) / scale
    bound = (2 * len(products) + 9) * u * size + 2 * u * abs(exact)
    if layer.profile is Profile.qnnpack:
        w_scale = float(layer.weight_scale.reshape(-1)[channel if layer.weight_scale.ndim else 0])
        bound += Fraction(float(q.qparams.scale)) * Fraction(w_scale) / 2 / scale
    return abs(exact - (exact.numerator // exact.denominator) - Fraction(1, 2)), bound


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack", "onednn"])
def test_training_equals_deployment(engine: str, seed: int) -> None:
    """Each integer layer, fed what the training twin fed its successor, puts out the same integers, ties apart."""
    prepared, x = trained_for_quantization(engine, seed)
    seen: dict[str, tuple[Any, Any]] = {}
    for path, module in prepared.named_modules():
        if not path.count(".") and path:
            module.register_forward_hook(lambda m, i, o, path=path: seen.update({path: (i[0], o)}))
    prepared(x)
    converted = quantization.convert(prepared)
    compared = 0
    for path in ("quant", "conv1", "pool", "conv2", "depthwise", "conv3", "mean", "flatten", "fc1", "fc2"):
        given, expected = seen[path]
        q = given if path == "quant" else integers(given)
        got = getattr(converted, path)(q).int_repr().array.astype(int)
        wanted = integers(expected).int_repr().array.astype(int)
        compared += got.size
        differ = np.argwhere(got != wanted)
        assert np.abs(got - wanted).max() <= 1, path
        assert len(differ) <= got.size * 0.01, path
        for index in map(tuple, differ):
            distance, bound = distance_to_tie(getattr(converted, path), q, index)
            assert distance <= bound, (path, index, float(distance), float(bound))
    assert compared > 10_000


def test_the_scales_of_training_are_those_of_deployment() -> None:
    prepared, _ = trained_for_quantization("fbgemm")
    converted = quantization.convert(prepared)
    for path in ("conv1", "conv2", "depthwise", "fc1", "fc2"):
        layer, twin = getattr(converted, path), getattr(prepared, path)
        assert np.array_equal(layer.weight_scale, twin.weight_fake_quant.scale)
        assert layer.scale == twin.activation_post_process.scale[0]
        assert (layer.quant_min, layer.quant_max) == (0, 127), "training clamped here, so does the layer"


def test_gradients_reach_every_parameter() -> None:
    net, x = trained()
    fused = quantization.fuse_modules_qat(net.train(), Net.FUSE)
    fused.qconfig = quantization.get_default_qat_qconfig("x86")
    prepared = quantization.prepare_qat(fused)
    nn.CrossEntropyLoss()(prepared(x), np.arange(16) % 5).backward()
    assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in prepared.parameters())


# ---- choosing what is quantized --------------------------------------------------------------------------------------


def test_a_layer_without_qconfig_stays_float() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(3, 4), DeQuantStub(), nn.Linear(4, 2)).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    model[3].qconfig = None
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    converted = quantization.convert(prepared)
    assert [type(m) for m in converted] == [nn.quantized.Quantize, nn.quantized.Linear, nn.quantized.DeQuantize, nn.Linear]
    assert converted(nq.randn(2, 3)).shape == (2, 2)


def test_a_layers_own_qconfig_wins() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(3, 4), nn.Linear(4, 2), DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    model[2].qconfig = quantization.get_default_qconfig("qnnpack")
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    converted = quantization.convert(prepared)
    assert (converted[1].weight_scale.shape, converted[2].weight_scale.shape) == ((4,), ())


def test_int8_activations_all_the_way() -> None:
    """torch converts this, and fails when it runs; here it runs."""
    net, x = trained()
    net.eval()
    fused = quantization.fuse_modules(net, Net.FUSE)
    fused.qconfig = QConfig(MinMaxObserver.with_args(dtype=nq.qint8), quantization.default_per_channel_weight_observer)
    prepared = quantization.prepare(fused)
    prepared(x)
    converted = quantization.convert(prepared)
    assert converted.conv1.dtype == nq.qint8
    y, expected = converted(x).array, net(x).array
    assert 10 * np.log10((expected**2).sum() / ((expected - y) ** 2).sum()) > 18


def test_asymmetric_weights() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(30, 4), DeQuantStub()).eval()
    model[1].weight.array += 0.3
    model.qconfig = QConfig(MinMaxObserver, MinMaxObserver.with_args(dtype=nq.qint8))
    prepared, x = quantization.prepare(model), nq.randn(50, 30)
    prepared(x)
    converted = quantization.convert(prepared)
    assert converted[1].weight_zero_point != 0
    assert "w=int8 per-tensor affine" in repr(converted[1])
    assert np.abs(converted(x).array - model(x).array).max() < 0.1


def test_a_shared_layer_stays_shared() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(QuantStub(), layer, layer, DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    converted = quantization.convert(prepared)
    assert converted[1] is converted[2]
    model.train().qconfig = quantization.get_default_qat_qconfig("x86")
    trained_twice = quantization.prepare_qat(model)
    assert trained_twice[1] is trained_twice[2]
    assert isinstance(trained_twice[1], nn.qat.Linear)


def test_prepare_and_convert_leave_the_original_alone() -> None:
    net, x = trained()
    net.eval().qconfig = quantization.get_default_qconfig("x86")
    before = net(x).array
    net.bn1.qconfig = net.bn2.qconfig = None
    prepared = quantization.prepare(net)
    prepared(x)
    quantization.convert(prepared)
    assert np.array_equal(net(x).array, before)
    assert not any(m._forward_hooks for m in net.modules())
    assert quantization.prepare(net, inplace=True) is net


@pytest.mark.parametrize("dtype", [nq.quint8, nq.quint4, nq.qint32])
def test_a_stub_quantizes_to_every_width(dtype: Any) -> None:
    layer = nn.quantized.Quantize(0.5, 1, dtype)
    assert layer([1.0, 2.0]).int_repr().tolist() == [3, 5]
    assert str(layer) == f"Quantize({dtype.name}: scale=0.5, zp=1)"


def test_users_hooks_survive() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(3, 4), DeQuantStub()).eval()
    seen: list[Any] = []
    model[1].register_forward_hook(lambda m, i, o: seen.append(type(o)))
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    quantization.convert(prepared)(nq.randn(8, 3))
    assert seen == [nq.Tensor, QTensor]


def small(*layers: nn.Module) -> Any:
    model: Any = nn.Sequential(QuantStub(), *layers, DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    return model


def test_an_allow_list_leaves_other_layers_float() -> None:
    model = small(nn.Linear(3, 4), DeQuantStub(), nn.Softmax(-1))
    prepared = quantization.prepare(model, False, {nn.Linear})
    prepared(nq.randn(8, 3))
    converted = quantization.convert(prepared)
    assert [type(m) for m in converted] == [
        nn.quantized.Quantize, nn.quantized.Linear, nn.quantized.DeQuantize, nn.Softmax, nn.quantized.DeQuantize,
    ]  # fmt: skip
    assert "activation_post_process" in str(quantization.prepare(model)[3])
    with pytest.raises(quantization.QConfigError, match="nothing to quantize"):
        quantization.prepare(nn.Sequential(nn.Linear(3, 4)), allow_list={nn.Conv2d})


def test_non_leaf_modules_are_observed_until_they_are_converted() -> None:
    model = small(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    prepared = quantization.prepare(model, observer_non_leaf_module_list=[nn.Sequential])
    prepared(nq.randn(8, 3))
    inner, linear = prepared[1].activation_post_process, prepared[1][0].activation_post_process
    assert float(inner.min_val) == 0 > float(linear.min_val)
    converted = quantization.convert(prepared)
    assert "activation_post_process" not in str(converted)
    assert type(converted[1][0]) is nn.quantized.Linear
    assert not any(m._forward_hooks for m in converted.modules())


class Twice(nn.Module):
    """A user's module, quantized as the user says."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.fc(x))


class ObservedTwice(Twice):
    """What it is while it is observed."""

    @classmethod
    def taking(cls, module: Any) -> Any:
        twin = cls()
        twin.fc = module.fc
        return twin

    from_float = from_observed = taking


class QuantizedTwice(ObservedTwice):
    """What it is in integers."""


def test_custom_modules_become_what_their_classes_make_of_them() -> None:
    observed = {"float_to_observed_custom_module_class": {Twice: ObservedTwice}}
    model, x = small(Twice()), nq.randn(8, 3)
    prepared = quantization.prepare(model, prepare_custom_config_dict=observed)
    assert type(prepared[1]) is ObservedTwice
    prepared(x)
    quantized = {"observed_to_quantized_custom_module_class": {ObservedTwice: QuantizedTwice}}
    converted = quantization.convert(prepared, convert_custom_config_dict=quantized)
    assert type(converted[1]) is QuantizedTwice
    assert type(converted[1].fc) is nn.quantized.Linear
    assert np.abs(np.asarray(converted(x)) - np.asarray(model(x).detach())).max() < 0.1
    model[1].qconfig = None
    assert type(quantization.prepare(model, prepare_custom_config_dict=observed)[1]) is Twice
    with pytest.raises(quantization.QConfigError, match=r"must be \{'float_to_observed_.*got the keys \['float'\]"):
        quantization.prepare(model, prepare_custom_config_dict={"float": {}})
    with pytest.raises(NotImplementedError, match="convert_to_reference_fx gives the form by specification"):
        quantization.convert(prepared, is_reference=True)


# ---- dynamic ---------------------------------------------------------------------------------------------------------


def test_dynamic_quantization() -> None:
    nq.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4)).eval(), nq.randn(16, 20)
    expected = model(x).array
    for spec in (None, {nn.Linear}, {"0"}, {"0": quantization.per_channel_dynamic_qconfig}, {nn.Linear: None, "2": None}):
        quantized = quantization.quantize_dynamic(model, spec)
        kinds = [type(m) is nn.quantized.dynamic.Linear for m in quantized]
        assert kinds == [spec != {nn.Linear: None, "2": None}, False, spec in (None, {nn.Linear})]
        assert np.abs(quantized(x).array - expected).max() < 0.05
    per_channel = quantization.quantize_dynamic(model, {"0": quantization.per_channel_dynamic_qconfig})
    assert per_channel[0].weight_scale.shape == (30,)
    assert quantization.quantize_dynamic(model, inplace=True) is model


def test_dynamic_ranges_come_from_the_whole_batch() -> None:
    layer = quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)))
    x = nq.randn(3, 4).array
    alone, together = layer(x[:1]).array, layer(np.concatenate([x[:1], 100 * x[1:]])).array[:1]
    assert not np.array_equal(alone, together)
    assert layer(np.zeros((2, 0, 4))).shape == (2, 0, 3)


# ---- what goes wrong, says where and how to mend it ------------------------------------------------------------------


def test_a_forgotten_stub_is_named() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4))).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    with pytest.raises(ModuleError, match=r"^0\.0 \(QuantizedLinear\): an int8 layer received a float32 tensor.*QuantStub"):
        quantization.convert(prepared)(nq.randn(8, 3))


def test_convert_without_calibration_is_an_error_that_names_the_layer() -> None:
    net, x = trained()
    net.eval()
    fused = quantization.fuse_modules(net, Net.FUSE)
    fused.qconfig = quantization.get_default_qconfig("x86")
    with pytest.raises(NotCalibratedError, match=r"^quant \(QuantStub\): HistogramObserver has seen no data"):
        quantization.convert(quantization.prepare(fused))
    prepared = quantization.prepare(fused)
    prepared(x)
    prepared.fc1.activation_post_process.reset_min_max_vals()
    with pytest.raises(NotCalibratedError, match=r"^fc1 \(LinearReLU\)"):
        quantization.convert(prepared)


def test_training_with_a_calibration_qconfig_is_an_error() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(3, 4)).train()
    model.qconfig = quantization.get_default_qconfig("x86")
    with pytest.raises(QConfigError, match=r"^0 \(QuantStub\): the activation of its qconfig .* use get_default_qat_qconfig"):
        quantization.prepare_qat(model)
    with pytest.raises(RuntimeError, match=r"needs training mode: call model.train\(\)"):
        quantization.prepare_qat(model.eval())


def test_nothing_to_quantize_is_an_error() -> None:
    with pytest.raises(QConfigError, match="nothing to quantize.*model.qconfig = get_default_qconfig"):
        quantization.prepare(nn.Sequential(nn.Linear(3, 4)).eval())


def test_a_batch_norm_that_was_not_fused_becomes_integers_by_itself() -> None:
    net, x = trained()
    net.eval().qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(net)
    prepared(x)
    converted = quantization.convert(prepared)
    assert type(converted.bn1) is nn.quantized.BatchNorm2d
    wanted, y = net(x).array, converted(x).array
    assert 10 * np.log10((wanted**2).sum() / ((wanted - y) ** 2).sum()) > 15


def test_quantizing_twice_is_an_error() -> None:
    _, converted, _ = quantized_statically("x86")
    q = nq.quantize_per_tensor(np.zeros((1, 3, 14, 14)), 1.0, 0, nq.quint8)
    with pytest.raises(ModuleError, match=r"^quant \(Quantize\): the input is quantized already"):
        converted(q)


def test_bad_data_is_named() -> None:
    _, converted, x = quantized_statically("x86")
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ModuleError, match=r"^quant \(Quantize\): .*NaN"):
        converted(x)
    dynamic = quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ModuleError, match=r"^0 \(DynamicQuantizedLinear\): .*NaN or infinity"):
        dynamic([[np.inf, 0.0]])


def test_backward_through_int8_is_an_error() -> None:
    _, converted, x = quantized_statically("x86")
    with pytest.raises(RuntimeError, match="int8 model.*QAT twin"):
        converted(x).sum().backward()
    mixed = nn.Sequential(nn.Linear(2, 2), quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2))))
    with pytest.raises(RuntimeError, match="backward through an int8 module"):
        mixed(nq.ones(1, 2)).sum().backward()


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({nn.Sigmoid}, QConfigError, "Sigmoid has no dynamic twin; these have: Linear"),
        ({"1"}, QConfigError, "ReLU has no dynamic twin"),
        ({"fc"}, QConfigError, "set_module_name: the model has no 'fc'; nearest: 1, 0"),
    ],
)
def test_dynamic_specs_are_checked(spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), spec)
    with pytest.raises(QConfigError, match="weights are qint8, float16, quint8 or quint4; got"):
        quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), dtype=nq.qint32)


def test_weights_that_no_kernel_takes_are_refused_at_prepare_and_at_convert() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(3, 4)).eval()
    model.qconfig = QConfig(MinMaxObserver, MinMaxObserver)
    with pytest.raises(QConfigError, match=r"^1 \(Linear\): .* weight quint8 .* x86 can do: .* weight qint8 "):
        quantization.prepare(model)
    model.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 3))
    prepared[1].qconfig = QConfig(MinMaxObserver, MinMaxObserver)
    with pytest.raises(ModuleError, match=r"1 \(Linear\): weights must be qint8"):
        quantization.convert(prepared)


def test_what_is_fused_for_training_is_not_for_calibration() -> None:
    model = nn.Sequential(QuantStub(), nn.intrinsic.ConvBn2d(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))).eval()
    model.qconfig = quantization.default_qconfig
    assert type(quantization.prepare(model)[1]) is nn.intrinsic.ConvBn2d  # its parts are observed, each by itself
    assert hasattr(quantization.prepare(model)[1][1], "activation_post_process")


def test_the_whole_workflow_in_one_call() -> None:
    nq.manual_seed(0)
    x = nq.randn(32, 4)
    model = quantization.QuantWrapper(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    model.qconfig = quantization.default_qconfig
    wanted = model(x).detach().array
    int8 = quantization.quantize(model, quantization.default_eval_fn, [[(x, None)]])
    assert type(int8.module[0]) is nn.quantized.Linear
    assert type(model.module[0]) is nn.Linear
    assert np.abs(int8(x).array - wanted).max() < 0.1

    def train(network: Any, data: Any) -> None:
        optimizer = nq.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (network(data) ** 2).mean().backward()
            optimizer.step()

    model.qconfig = quantization.default_qat_qconfig
    trained = quantization.quantize_qat(model, train, [x], inplace=True)
    assert trained is model
    assert type(model.module[2]) is nn.quantized.Linear


def test_stubs_around_modules() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).eval()
    model[2].qconfig = quantization.default_qconfig
    model[1].qconfig = None
    quantization.propagate_qconfig_(model)
    wrapped = quantization.add_quant_dequant(model)
    assert [type(m).__name__ for m in wrapped] == ["Linear", "Tanh", "QuantWrapper"]
    x = nq.randn(16, 4)
    prepared = quantization.prepare(wrapped)
    wanted = prepared(x).detach().array
    converted = quantization.convert(prepared)
    assert type(converted[2].module) is nn.quantized.Linear
    assert np.abs(converted(x).array - wanted).max() < 0.05


def test_a_single_module_is_swapped() -> None:
    layer = nn.Linear(4, 8)
    assert quantization.swap_module(layer, quantization.mappings.DYNAMIC) is layer
    layer.qconfig = quantization.default_dynamic_qconfig
    assert type(quantization.swap_module(layer, quantization.mappings.DYNAMIC)) is nn.quantized.dynamic.Linear
