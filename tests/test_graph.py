"""Graph mode: what is traced, what becomes of it, that eager mode gives the same integers, and the text of every error."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn
from nanoquant.kernels.packed import PackedWeights
from nanoquant.models import LeNet, resnet8
from nanoquant.models.mobilenet import MobileNetV1
from nanoquant.nn import functional as F
from nanoquant.nn.quantized import DeQuantize, FloatFunctional, QFunctional, QScalarFunctional, Quantize
from nanoquant.qtensor import QTensor
from nanoquant.quantization import (
    DeQuantStub,
    FuseCustomConfig,
    GraphError,
    GraphModule,
    MinMaxObserver,
    NotCalibratedError,
    PrepareCustomConfig,
    QConfig,
    QConfigError,
    QConfigMapping,
    QuantStub,
    TraceError,
    convert,
    default_dynamic_qconfig,
    default_qconfig,
    default_weight_observer,
    explain,
    fuse_fx,
    fuse_modules,
    get_default_qat_qconfig_mapping,
    get_default_qconfig,
    get_default_qconfig_mapping,
    int8_weight_only_qconfig,
    prepare,
    symbolic_trace,
)
from nanoquant.quantization.graph.lower import needless_pairs
from nanoquant.quantization.quantize_fx import convert_fx, convert_to_reference_fx, prepare_fx, prepare_qat_fx

RNG = np.random.default_rng(0)


def data(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def quantized(model: nn.Module, x: Any, mapping: Any = None, **options: Any) -> GraphModule:
    prepared = prepare_fx(model.eval(), get_default_qconfig_mapping() if mapping is None else mapping, (x,), **options)
    prepared(x)
    return convert_fx(prepared)


def kinds(model: nn.Module) -> list[type[Any]]:
    return [type(module) for module in model.modules()]


class Block(nn.Module):
    """Everything at once: shapes, slices, sums, functions, a ReLU used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 1)
        self.weight, self.fc = nn.Parameter(data(6, 32)), nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn(self.conv(x)))
        y = self.relu(y + self.conv2(y))
        y = nq.cat([y, F.relu(self.conv2(y))], dim=1)
        y = F.max_pool2d(y, 2)
        n, _, h, w = y.shape
        y = y.view(n, 8, h * w).mean(2)
        y = nq.cat([y, y, y, y], 1)
        return self.fc(F.linear(y, self.weight)[:, :6])


# ---- tracing ---------------------------------------------------------------------------------------------------------


def test_a_graph_computes_what_the_model_computes_and_prints_as_torch_prints() -> None:
    model, x = Block().eval(), data(2, 3, 8, 8)
    traced = symbolic_trace(model)
    assert np.array_equal(traced(x), model(x))
    text = str(traced.graph)
    assert text.startswith("graph():\n    %x : [num_users=1] = placeholder[target=x]\n    %conv : [num_users=1] = call_module")
    assert "%getattr_1 : [num_users=4] = call_function[target=getattr](args = (%y" not in text
    assert [n.name for n in traced.graph.nodes][:8] == ["x", "conv", "bn", "relu", "conv2", "add", "relu_1", "conv2_1"]
    assert "add = relu + conv2" in traced.code
    assert "torch" not in traced.code
    assert traced.print_readable(print_output=False).startswith("class Block(nn.Module):\n    def forward(self, x):")
    svg = traced.graph.to_svg()
    assert svg.startswith("<svg")
    assert svg.count("<rect") == len(traced.graph.nodes)
    assert repr(traced).startswith("Block(")


def test_the_watched_functions_are_put_back() -> None:
    before = nn.Module.__call__, F.relu, nq.cat
    symbolic_trace(Block())
    with pytest.raises(TraceError):
        symbolic_trace(Branch())
    assert (nn.Module.__call__, F.relu, nq.cat) == before


def test_functions_are_watched_under_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = types.ModuleType("helper")
    exec("from nanoquant import cat as joined\n\ndef doubled(x):\n    return joined([x, x], 1)\n", vars(helper))
    monkeypatch.setitem(sys.modules, "helper", helper)
    summed, doubled = nq.matmul, helper.doubled

    class Helped(nn.Module):
        def forward(self, x: Any) -> Any:
            return summed(doubled(x), self.weights(x))

        def weights(self, x: Any) -> Any:
            return doubled(nq.transpose(x, 0, 1))

    assert [n.name for n in symbolic_trace(Helped()).graph.nodes] == [
        "x", "cat", "transpose", "cat_1", "matmul", "output",
    ]  # fmt: skip
    assert (summed, helper.joined) == (nq.matmul, nq.cat)


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.LSTM(2, 2)])
def test_a_layer_alone_is_no_graph(layer: nn.Module) -> None:
    kind = type(layer).__name__
    with pytest.raises(TraceError, match=rf"put it into a model, nn.Sequential\({kind}\(...\)\); got {kind}"):
        symbolic_trace(layer)


def test_what_cannot_be_watched_is_named_by_the_users_line() -> None:
    class Hides(nn.Module):
        def forward(self, x: Any) -> Any:
            return functions["cat"]([x, x])

    functions = {"cat": nq.cat}
    with pytest.raises(TraceError, match=r'test_graph\.py, line \d+: return functions\["cat"\]'):
        symbolic_trace(Hides())


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        if x.sum() > 0:
            return self.fc(x)
        return x


class Counts(nn.Module):
    def forward(self, x: Any) -> Any:
        return list(x)


class Asks(nn.Module):
    def forward(self, x: Any) -> Any:
        return nq.zeros(int(x.max()))


class Hidden(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.Linear(2, 2)(x)


class Many(nn.Module):
    def forward(self, *x: Any) -> Any:
        return x[0]


class Assigns(nn.Module):
    def forward(self, x: Any) -> Any:
        x[0] = 0
        return x


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Branch(), r"line \d+: if x.sum\(\) > 0:\nthe truth of a symbolic value.*set_non_traceable_module_classes\(\[Branch\]\).*"
         r"set_standalone_module_name.*rewrite.*eager mode"),
        (Counts(), r"return list\(x\)\niterating of a symbolic value"),
        (Asks(), r"int\(x.max\(\)\)\)\nthe integer value"),
        (Hidden(), "Linear is called in forward, but is no part of the model"),
        (Many(), r"forward of Many must name its inputs; got \*x"),
        (Assigns(), "assigning to a part"),
    ],
)  # fmt: skip
def test_what_cannot_be_traced_says_where_and_what_to_do(model: nn.Module, text: str) -> None:
    with pytest.raises(TraceError, match=f"(?s){text}"):
        symbolic_trace(model)


def test_a_tensor_has_no_such_attribute() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.flaten(1)

    with pytest.raises(AttributeError, match="a Tensor has no attribute 'flaten'"):
        symbolic_trace(Wrong())


def test_the_verifier() -> None:
    def broken(change: Any) -> None:
        traced = symbolic_trace(Block())
        change(traced.graph)
        traced.recompile()

    with pytest.raises(GraphError, match="relu takes bn, which does not run before it"):
        broken(lambda graph: graph.nodes.remove(graph.nodes[2]))
    with pytest.raises(GraphError, match="conv: a second node of that name"):
        broken(lambda graph: setattr(graph.nodes[2], "name", "conv"))
    with pytest.raises(GraphError, match="one output"):
        broken(lambda graph: graph.nodes.pop())
    with pytest.raises(GraphError, match="the module has no 'nowhere'"):
        broken(lambda graph: setattr(graph.nodes[1], "target", "nowhere"))


# ---- the same integers -----------------------------------------------------------------------------------------------


class Eager(nn.Module):
    """A model between stubs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.quant, self.model, self.dequant = QuantStub(), model, DeQuantStub()

    def forward(self, x: Any) -> Any:
        return self.dequant(self.model(self.quant(x)))


class EagerBlock(nn.Module):
    """resnet8's block, as eager mode needs it."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = block.conv1, block.bn1, nn.ReLU()
        self.conv2, self.bn2, self.downsample, self.sum = block.conv2, block.bn2, block.downsample, FloatFunctional()

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.sum.add_relu(y, x if self.downsample is None else self.downsample(x))


def eager_resnet() -> tuple[nn.Module, list[list[str]]]:
    model = resnet8()
    groups = [["conv1", "bn1", "relu"]]
    for stage in (1, 2, 3):
        layer = getattr(model, f"layer{stage}")
        layer[0] = EagerBlock(layer[0])
        at = f"layer{stage}.0"
        groups += [[f"{at}.conv1", f"{at}.bn1", f"{at}.relu"], [f"{at}.conv2", f"{at}.bn2"]]
        groups += [[f"{at}.downsample.0", f"{at}.downsample.1"]] * (stage > 1)
    return model, groups


def pair(name: str) -> tuple[nn.Module, nn.Module, list[list[str]], tuple[int, ...]]:
    """A model for graph mode, the same for eager mode, what to fuse there, the shape of its input."""
    made: dict[str, Any] = {"lenet": LeNet, "resnet": resnet8, "mobilenet": MobileNetV1}
    nq.manual_seed(0)
    model = made[name]().eval()
    if name == "resnet":
        nq.manual_seed(0)
        eager, groups = eager_resnet()
        return model, eager.eval(), groups, (2, 3, 32, 32)
    if name == "lenet":
        groups = [["conv1", "relu1"], ["conv2", "relu2"], ["fc1", "relu3"], ["fc2", "relu4"]]
        return model, copy.deepcopy(model), groups, (2, 1, 28, 28)
    groups = [[f"model.0.{i}" for i in range(3)]]
    groups += [[f"model.{block}.{i + k}" for i in range(3)] for block in range(1, 14) for k in (0, 3)]
    return model, copy.deepcopy(model), groups, (1, 3, 32, 32)


@pytest.mark.parametrize("name", ["lenet", "resnet", "mobilenet"])
def test_eager_graph_and_reference_give_the_same_bits(name: str) -> None:
    model, eager, groups, shape = pair(name)
    x = data(*shape)
    wrapped = fuse_modules(Eager(eager).eval(), [[f"model.{path}" for path in group] for group in groups])
    wrapped.qconfig = get_default_qconfig("x86")
    wrapped = prepare(wrapped)
    wrapped(x)
    by_hand = convert(wrapped)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    prepared(x)
    lowered, reference = convert_fx(prepared), convert_to_reference_fx(prepared)
    other = data(*shape)[::-1].copy()
    expected = by_hand(other).numpy()
    assert len(np.unique(expected)) > 5
    assert np.array_equal(lowered(other), expected)
    assert np.array_equal(reference(other), expected)
    assert not needless_pairs(lowered)
    assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 1


def test_functions_views_and_sizes_stay_in_integers() -> None:
    model, x = Block().eval(), data(2, 3, 8, 8)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), x)
    prepared(x)
    lowered, reference = convert_fx(prepared), convert_to_reference_fx(prepared)
    y = np.asarray(lowered(x))
    assert np.array_equal(y, np.asarray(reference(x)))
    assert np.abs(y - np.asarray(model(x))).max() < 0.05 * np.abs(np.asarray(model(x))).max()
    assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 1
    assert not needless_pairs(lowered)
    assert kinds(lowered).count(QFunctional) == 3
    assert "add_relu" in lowered.code
    assert np.array_equal(lowered(data(5, 3, 8, 8)[:1]), np.asarray(lowered(data(5, 3, 8, 8)))[:1])  # sizes are not frozen


def test_fused_layers_without_a_reference_stay_as_they_are() -> None:
    model, x = nn.Sequential(nn.intrinsic.LinearLeakyReLU(nn.Linear(4, 4), nn.LeakyReLU(0.5))).eval(), data(8, 4)
    prepared = prepare_after(model, x)
    lowered, reference = convert_fx(prepared), convert_to_reference_fx(prepared)
    assert nn.quantized.LinearLeakyReLU in kinds(reference)
    assert np.array_equal(lowered(x), np.asarray(reference(x)))


def test_relu6_is_a_clamp_of_the_integers() -> None:
    class Clipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 2, 3), nn.ReLU6()

        def forward(self, x: Any) -> Any:
            y = self.relu(self.conv(x))
            return y + F.relu6(self.conv(x))

    nq.manual_seed(0)
    model, x = Clipped().eval(), 20 * data(1, 1, 8, 8)
    lowered = quantized(model, x)
    assert kinds(lowered).count(nn.ReLU6) == 2
    assert kinds(lowered).count(Quantize) == 1
    y, expected = np.asarray(lowered(x)), np.asarray(model(x))
    assert expected.max() == 12
    assert abs(y.max() - 12) < 0.2
    assert np.abs(y - expected).max() < 1  # three steps of ranges of 60


class Scaled(nn.Module):
    """Numbers on both sides, as operators, functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        y = 2 + (-0.35 * self.a(x) + np.float32(0.5)).add(1)
        return self.b(nq.relu(y * 3))


class ScaledEagerly(nn.Module):
    """The same with stubs and functionals."""

    def __init__(self, model: Scaled) -> None:
        super().__init__()
        self.a, self.b, self.relu = model.a, model.b, nn.ReLU()
        self.number, self.quant, self.dequant = FloatFunctional(), QuantStub(), DeQuantStub()

    def forward(self, x: Any) -> Any:
        f = self.number
        y = f.add_scalar(f.add_scalar(f.add_scalar(f.mul_scalar(self.a(self.quant(x)), -0.35), 0.5), 1), 2)
        return self.dequant(self.b(self.relu(f.mul_scalar(y, 3))))


def test_sums_and_products_with_numbers_keep_the_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    x, model = data(8, 4), Scaled()
    lowered = quantized(model, x)
    assert kinds(lowered).count(QScalarFunctional) == 5
    assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 1
    eager = ScaledEagerly(model).eval()
    eager.qconfig = get_default_qconfig()
    eager = prepare(eager)
    eager(x)
    eager = convert(eager)
    assert type(eager.number) is QScalarFunctional
    assert np.array_equal(lowered(x), eager(x))
    assert np.abs(np.asarray(lowered(x)) - np.asarray(model(x))).max() < 0.1
    assert {explain(lowered)[f"{name}_functional"].computes for name in ("mul", "add", "add_1")} == {"integers"}
    with pytest.raises(RuntimeError, match=r"QScalarFunctional is used by its methods: add_scalar, mul_scalar"):
        eager.number(x)
    y = np.asarray(lowered(x))
    monkeypatch.setattr(PackedWeights, "prepare", None)  # the layers behind them find their calls again
    assert np.array_equal(lowered(x), y)


def test_a_second_pass_prepares_nothing_and_sees_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    x = data(2, 3, 32, 32)
    lowered = quantized(resnet8(), x)
    y = np.asarray(lowered(x))
    with monkeypatch.context() as patch:
        patch.setattr(PackedWeights, "prepare", None)
        assert np.array_equal(lowered(x), y)
    seen: list[Any] = []
    handle = lowered.fc.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    assert np.array_equal(lowered(x), seen[0].dequantize())
    handle.remove()
    lowered.fc.scale = 2 * lowered.fc.scale
    assert np.abs(np.asarray(lowered(x)) - y).max() > 0
    block = lowered.layer1
    lowered.layer1 = copy.deepcopy(block)
    conv: Any = lowered.layer1.get_submodule("0.conv1")
    conv.set_weight_bias(nq.quantize_per_tensor(np.zeros(conv.weight().shape), 1.0, 0, nq.qint8), None)
    changed = np.asarray(lowered(x))
    assert np.array_equal(changed, np.asarray(copy.deepcopy(lowered)(x)))
    lowered.layer1 = block
    assert np.abs(np.asarray(lowered(x)) - changed).max() > 0
    lowered.fc.relu = True
    assert np.asarray(lowered(x)).min() == 0
    lowered.fc = nn.quantized.Linear(64, 3)
    assert np.asarray(lowered(x)).shape == (2, 3)


@pytest.mark.parametrize("dtype", [nq.quint8, nq.qint8])
def test_a_relu6_behind_weights_is_their_limit(dtype: Any) -> None:
    nq.manual_seed(0)  # some of what the layers put out is above 6
    x, layers = 5 * data(2, 3, 6, 6), [nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(64, 5), nn.ReLU6()]
    qscheme = nq.per_tensor_symmetric if dtype.signed else nq.per_tensor_affine
    qconfig = QConfig(MinMaxObserver.with_args(dtype=dtype, qscheme=qscheme), default_weight_observer)
    lowered = quantized(nn.Sequential(*layers), x, QConfigMapping(qconfig))
    assert nn.ReLU6 not in kinds(lowered)
    eager = nn.Sequential(QuantStub(), *layers, DeQuantStub()).eval()
    eager.qconfig = qconfig
    eager = prepare(eager)
    eager(x)
    eager = convert(eager)
    assert np.array_equal(lowered(x), eager(x))
    assert 5.9 < np.asarray(eager[:3](x).dequantize()).max() < 6.1


def test_a_relu6_stays_where_another_takes_what_it_clips() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu6 = nn.Conv2d(3, 4, 3), nn.ReLU6()

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return self.relu6(y) + y

    assert nn.ReLU6 in kinds(quantized(Both(), data(2, 3, 6, 6)))


def test_eager_mode_may_observe_behind_a_relu6_and_graph_mode_observes_before_it() -> None:
    x, layers = 20 * data(2, 3, 6, 6), [nn.Conv2d(3, 4, 3), nn.ReLU6()]
    fused = fuse_modules(nn.Sequential(QuantStub(), *layers, DeQuantStub()).eval(), ["1", "2"])
    fused.qconfig = default_qconfig
    eager, graph = prepare(fused), prepare_fx(nn.Sequential(*layers).eval(), QConfigMapping(default_qconfig))
    eager(x), graph(x)
    behind, before = (model.get_submodule(path).activation_post_process for model, path in ((eager, "1"), (graph, "0")))
    assert (float(behind.min_val), float(behind.max_val)) == (0, 6)
    assert before.max_val > 10 > 0 > before.min_val


def test_a_parameters_own_methods_are_floats() -> None:
    class Weighing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.fc = nn.Parameter(data(4, 4)), nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(nq.relu(self.weight.add(x).abs()))

    lowered = quantized(Weighing(), data(4, 4), QConfigMapping(None).set_object_type(nn.Linear, get_default_qconfig()))
    assert explain(lowered)["add"].computes.startswith("float")
    assert "self.weight" in lowered.code


def test_a_difference_with_a_number_and_a_scaled_sum_stay_float() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return (1 - self.a(x)).add(x, alpha=0.5)

    lowered = quantized(Shifted(), data(8, 4))
    assert explain(lowered)["sub"].computes.startswith("float")
    assert explain(lowered)["add"].computes.startswith("float")


def test_user_stubs_and_functionals_are_taken_as_they_stand() -> None:
    model = Eager(eager_resnet()[0])
    lowered = quantized(model, data(1, 3, 32, 32))
    assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 1
    assert kinds(lowered).count(QFunctional) == 3


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Any, y: Any) -> Any:
        z = self.a(x) * self.b(y).exp()
        return {"z": self.c(z.sigmoid()), "x": x}


def test_borders_are_where_floats_and_integers_meet() -> None:
    x = data(3, 4)
    prepared = prepare_fx(Mixed().eval(), get_default_qconfig_mapping())
    prepared(x, x)
    lowered = convert_fx(prepared)
    assert kinds(lowered).count(Quantize) == 3
    assert kinds(lowered).count(DeQuantize) == 2
    assert "exp" in lowered.code
    assert isinstance(lowered(x, x)["x"], np.ndarray)
    assert explain(lowered)["exp"].computes.startswith("float")


def test_a_layer_called_twice_has_one_observer_and_one_twin() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.fc(self.fc(x))

    lowered = quantized(Twice(), data(8, 4))
    assert kinds(lowered).count(nn.quantized.Linear) == 1
    assert lowered.code.count("self.fc(") == 2


# ---- qconfigs --------------------------------------------------------------------------------------------------------


def test_mappings_and_their_old_form_choose_for_modules_and_functions() -> None:
    x = data(2, 3, 8, 8)
    old = {
        "": default_qconfig,
        "object_type": [("add", None)],
        "module_name": [("fc", None)],
        "module_name_regex": [("conv2", None)],
    }
    lowered = quantized(Block(), x, old)
    assert type(lowered.fc) is nn.Linear
    assert type(lowered.conv2) is nn.Conv2d
    assert kinds(lowered).count(QFunctional) == 2
    rows = explain(lowered)
    assert [rows[path].rule for path in ("conv", "fc", "conv2")] == ["global", "module_name", "module_name_regex"]
    assert rows["conv"].pattern == "Conv2d, BatchNorm2d, ReLU"
    assert rows["fc"].computes.startswith("float")
    assert "module_name_regex" in str(rows)
    lowered = quantized(Block(), x, QConfigMapping().set_object_type(nn.Linear, default_qconfig))
    assert explain(lowered)["fc"].rule == "object_type"
    assert type(lowered.conv) is nn.intrinsic.ConvReLU2d
    with pytest.raises(QConfigError, match="the model has no 'nowhere'"):
        prepare_fx(Block().eval(), QConfigMapping(default_qconfig).set_module_name("nowhere", None))
    with pytest.raises(QConfigError, match="unknown key 'module'"):
        prepare_fx(Block().eval(), {"module": []})
    with pytest.raises(QConfigError, match="must be a QConfigMapping or a dict; got QConfig"):
        prepare_fx(Block().eval(), default_qconfig)
    with pytest.raises(TypeError, match="explain takes what prepare_fx"):
        explain(Block())  # type: ignore[arg-type]


def test_dynamic_and_weight_only() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.fc = nn.LSTM(4, 6), nn.Linear(6, 2)

        def forward(self, x: Any) -> Any:
            y, _ = self.lstm(x)
            return self.fc(y + y)

    x = data(5, 2, 4)
    lowered = convert_fx(prepare_fx(Tagger().eval(), QConfigMapping(default_dynamic_qconfig)))
    assert type(lowered.lstm) is nn.quantized.dynamic.LSTM
    assert type(lowered.fc) is nn.quantized.dynamic.Linear
    assert Quantize not in kinds(lowered)
    assert lowered(x).shape == (5, 2, 2)
    model = nn.Sequential(nn.Linear(64, 4), nn.ReLU()).eval()
    lowered = convert_fx(prepare_fx(model, {"": int8_weight_only_qconfig}))
    assert nn.quantized.WeightOnlyLinear in kinds(lowered)
    assert lowered(data(2, 64)).shape == (2, 4)


def test_training() -> None:
    nq.manual_seed(0)
    model, x = resnet8().train(), data(4, 3, 32, 32)
    with pytest.raises(RuntimeError, match=r"prepare_qat_fx needs training mode: call model.train\(\)"):
        prepare_qat_fx(resnet8().eval(), get_default_qat_qconfig_mapping())
    prepared = prepare_qat_fx(model, get_default_qat_qconfig_mapping(), (x,))
    assert nn.qat.ConvBnReLU2d in kinds(prepared)
    prepared(x).sum().backward()
    assert all(p.grad is not None for p in prepared.parameters())
    trained = prepared.eval()
    lowered, reference = convert_fx(trained), convert_to_reference_fx(trained)
    assert np.array_equal(lowered(x), np.asarray(reference(x)))
    assert nn.quantized.ConvReLU2d in kinds(lowered)
    assert kinds(lowered).count(Quantize) == 1


def test_fuse_alone() -> None:
    model, x = Block().eval(), data(2, 3, 8, 8)
    fused = fuse_fx(model)
    assert nn.intrinsic.ConvReLU2d in kinds(fused)
    assert nn.BatchNorm2d not in kinds(fused)
    assert np.allclose(fused(x), model(x), atol=1e-5)
    with pytest.raises(RuntimeError, match="fuse_fx needs evaluation mode"):
        fuse_fx(Block())


# ---- custom configs --------------------------------------------------------------------------------------------------


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.last, self.note = nn.Linear(2, 2), inner, nn.Linear(2, 2), "kept"

    def forward(self, x: Any) -> Any:
        return self.last(self.inner(self.first(x)))


def test_modules_that_are_not_traced() -> None:
    x = data(4, 2)
    for config in (
        PrepareCustomConfig().set_non_traceable_module_classes([Branch]).set_preserved_attributes(["note"]),
        {"non_traceable_module_name": ["inner"], "preserved_attributes": ["note"]},
    ):
        lowered = quantized(Outer(Branch()), x, prepare_custom_config=config)
        assert type(lowered.inner) is Branch
        assert type(lowered.inner.fc) is nn.Linear
        assert lowered.note == "kept"
        assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 2
    with pytest.raises(AttributeError, match="'missing'"):
        fuse_fx(nn.Sequential(nn.ReLU()).eval(), FuseCustomConfig().set_preserved_attributes(["missing"]))
    with pytest.raises(QConfigError, match="unknown key 'non_traceable'"):
        prepare_fx(Outer(Branch()).eval(), get_default_qconfig_mapping(), None, {"non_traceable": []})


def test_a_module_may_be_called_by_names_alone() -> None:
    class Named(Outer):
        def forward(self, x: Any) -> Any:
            return self.last(self.inner(x=self.first(x)))

    config = PrepareCustomConfig().set_non_traceable_module_classes([Branch])
    lowered = quantized(Named(Branch()), data(4, 2), prepare_custom_config=config)
    assert lowered(data(4, 2)).shape == (4, 2)


def test_standalone_modules_are_quantized_by_themselves() -> None:
    x = data(4, 2)
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    config = PrepareCustomConfig().set_standalone_module_name("inner", None, (x,), None, None)
    lowered = quantized(Outer(inner), x, prepare_custom_config=config)
    assert isinstance(lowered.inner, GraphModule)
    assert nn.quantized.LinearReLU in kinds(lowered.inner)
    assert kinds(lowered).count(Quantize) == 3


def test_integers_at_the_ends() -> None:
    x = data(4, 2)
    config = {"input_quantized_idxs": [0], "output_quantized_idxs": [0]}
    lowered = quantized(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), x, prepare_custom_config=config)
    assert Quantize not in kinds(lowered)
    assert DeQuantize not in kinds(lowered)
    y = lowered(nq.quantize_per_tensor(x, 0.05, 128, nq.quint8))
    assert isinstance(y, QTensor)


def test_custom_modules() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(x)

    class Observed(Doubled):
        @classmethod
        def from_float(cls, module: Any) -> Any:
            twin = cls()
            twin.fc, twin.fc.qconfig = module.fc, module.qconfig
            return twin

    class Integers(Observed):
        @classmethod
        def from_observed(cls, module: Any) -> Any:
            twin = cls()
            twin.fc = module.fc
            return twin

    static = {"float_to_observed_custom_module_class": {"static": {Doubled: Observed}}}
    prepared = prepare_fx(Outer(Doubled()).eval(), get_default_qconfig_mapping(), None, static)
    prepared(data(4, 2))
    lowered = convert_fx(prepared, {"observed_to_quantized_custom_module_class": {"static": {Observed: Integers}}})
    assert type(lowered.inner) is Integers
    assert type(lowered.inner.fc) is nn.quantized.Linear
    assert kinds(lowered).count(Quantize) == kinds(lowered).count(DeQuantize) == 1
    with pytest.raises(QConfigError, match="custom modules are quantized statically; got 'dynamic'"):
        PrepareCustomConfig().set_float_to_observed_mapping(Doubled, Observed, "dynamic")


# ---- the module ------------------------------------------------------------------------------------------------------


def test_a_graph_module_is_a_module() -> None:
    model, x = Block(), data(2, 3, 8, 8)
    seen: list[Any] = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    before = copy.deepcopy(model.eval().state_dict())
    prepared = prepare_fx(model, get_default_qconfig_mapping())
    prepared(x)
    assert seen == [GraphModule]
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())
    lowered = convert_fx(prepared)
    again = convert_fx(prepared)
    assert np.array_equal(lowered(x), np.asarray(again(x)))
    y = np.asarray(lowered(x))
    assert np.array_equal(copy.deepcopy(lowered)(x), y)
    again.load_state_dict(lowered.state_dict())
    assert np.array_equal(again(x), y)
    assert not lowered.training
    assert lowered.train().training
    assert "conv" in dict(lowered.named_modules())
    bare = convert_fx(prepare_after(nn.Sequential(nn.Linear(2, 2)), data(4, 2)))
    assert np.array_equal(pickle.loads(pickle.dumps(bare))(data(4, 2)), np.asarray(bare(data(4, 2))))


def prepare_after(model: nn.Module, x: Any) -> GraphModule:
    prepared = prepare_fx(model.eval(), get_default_qconfig_mapping())
    prepared(x)
    return prepared


def test_errors_of_the_workflow() -> None:
    with pytest.raises(NotCalibratedError, match=r"conv \(ConvReLU2d\): HistogramObserver has seen no data"):
        convert_fx(prepare_fx(Block().eval(), get_default_qconfig_mapping()))
    with pytest.raises(TypeError, match="convert_fx takes what prepare_fx returned; got Block"):
        convert_fx(Block())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="call model.eval"):
        prepare_fx(Block().train(), get_default_qconfig_mapping())
    with pytest.raises(QConfigError, match="nothing to quantize"):
        prepare_fx(Block().eval(), QConfigMapping())
    with pytest.raises(QConfigError, match="rounds what it observes"):
        prepare_fx(Block().eval(), get_default_qat_qconfig_mapping())
    with pytest.raises(NotImplementedError, match="_equalization_config is not supported"):
        prepare_fx(Block().eval(), get_default_qconfig_mapping(), None, None, {})


# ---- README ----------------------------------------------------------------------------------------------------------

EAGER_AND_GRAPH = {
    "where integers begin and end": test_borders_are_where_floats_and_integers_meet,
    "fusion": test_fuse_alone,
    "`x + y`, `cat`, `F.relu`, `F.linear`": test_functions_views_and_sizes_stay_in_integers,
    "a ReLU used twice": test_functions_views_and_sizes_stay_in_integers,
    "`Conv2d`, `ReLU6` (`Hardswish`)": test_eager_mode_may_observe_behind_a_relu6_and_graph_mode_observes_before_it,
    "control flow that depends on values": test_what_cannot_be_traced_says_where_and_what_to_do,
    "integers": test_eager_graph_and_reference_give_the_same_bits,
}


def test_every_row_of_the_readme_has_its_test() -> None:
    section = (Path(__file__).parent.parent / "README.md").read_text().partition("## Graph mode")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:] == list(EAGER_AND_GRAPH)
