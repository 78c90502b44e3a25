"""QConfigMapping: priorities against an oracle, the forms it is written in, and names that match nothing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.module import Module
from nanoquant.nn import intrinsic
from nanoquant.quantization import DeQuantStub, QConfigError, QConfigMapping, QuantStub, propagate_qconfig_
from nanoquant.quantization.qconfig_mapping import occurrences

LEAVES: list[Any] = [
    lambda: nn.Linear(1, 1),
    nn.ReLU,
    lambda: nn.Conv2d(1, 1, 1),
    lambda: intrinsic.LinearReLU(nn.Linear(1, 1), nn.ReLU()),
]
trees = st.recursive(
    st.sampled_from(LEAVES).map(lambda make: make()),
    lambda children: st.lists(children, min_size=1, max_size=3).map(lambda parts: nn.Sequential(*parts)),
    max_leaves=8,
).map(lambda tree: nn.Sequential(tree, nn.Linear(1, 1)))
TYPES = [nn.Linear, nn.ReLU, nn.Sequential, intrinsic.LinearReLU, "Linear", "Conv2d"]
REGEXES = ["0", r"0\.", r".*0$", r"\d\.\d", "1"]


@st.composite
def cases(draw: Any) -> tuple[nn.Sequential, dict[str, Any], dict[str, Any]]:
    """A model, a mapping's dict, and the `qconfig` attributes of some modules. Qconfigs are numbers: nothing looks inside."""
    model = draw(trees)
    paths = [path for path, _ in model.named_modules() if path]
    numbers = iter(range(100))
    pick = lambda options, most=3: draw(st.lists(st.sampled_from(options), max_size=most, unique=True))  # noqa: E731
    value = lambda: draw(st.sampled_from([None, next(numbers)]))  # noqa: E731
    regexes = [r for r in REGEXES if any(re.match(r, path) for path in paths)]
    places = sorted(
        {(path.rpartition(".")[0], *place) for path, _, kinds in occurrences(model) if path for place in kinds.items()}, key=str
    )
    spec = {
        "": value(),
        "object_type": [(kind, value()) for kind in pick(TYPES)],
        "module_name_regex": [(regex, value()) for regex in pick(regexes)],
        "module_name": [(path, value()) for path in pick(paths)],
        "module_name_object_type_order": [(*place, value()) for place in pick(places)],
    }
    return model, spec, {path: value() for path in pick(["", *paths], 2)}


def names_of(module: Any) -> set[Any]:
    """The types that the oracle says a module goes by."""
    kinds = [type(module), *([nn.Linear] if type(module) is intrinsic.LinearReLU else [])]
    return {*kinds, *(kind.__name__ for kind in kinds)}


def strongest(model: Any, path: str, spec: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """The oracle: every rule that applies, with its strength; the strongest wins."""
    module = model.get_submodule(path)
    rules: list[tuple[tuple[float, ...], Any]] = [((0, -1), spec[""])]
    rules += [((0, len(a)), q) for a, q in attributes.items() if a == "" or f"{path}.".startswith(f"{a}.")]
    own_first = {type(module): 3, type(module).__name__: 1}  # then the first part of a fused module: 2, 0
    rules += [
        ((1, own_first.get(kind, 2 if isinstance(kind, type) else 0)), q)
        for kind, q in spec["object_type"]
        if kind in names_of(module)
    ]
    rules += [((2, -i), q) for i, (regex, q) in enumerate(spec["module_name_regex"]) if re.compile(regex).match(path) and path]
    rules += [((3, name.count(".")), q) for name, q in spec["module_name"] if path == name or path.startswith(name + ".")]
    parent, _, own_name = path.rpartition(".")
    for name, kind, index, q in spec["module_name_object_type_order"]:
        siblings = [n for n, child in model.get_submodule(name).named_children() if kind in names_of(child)]
        if path and name == parent and own_name in siblings and siblings.index(own_name) == index:
            rules.append(((4, own_first.get(kind, 2 if isinstance(kind, type) else 0)), q))
    if path in attributes:
        rules.append(((5,), attributes[path]))
    return max(rules, key=lambda rule: rule[0])[1]


@given(cases())
def test_the_strongest_rule_wins(case: tuple[nn.Sequential, dict[str, Any], dict[str, Any]]) -> None:
    model, spec, attributes = case
    for path, qconfig in attributes.items():
        model.get_submodule(path).qconfig = qconfig
    expected = {path: strongest(model, path, spec, attributes) for path, _ in model.named_modules()}
    propagate_qconfig_(model, QConfigMapping.from_dict(spec))
    assert {path: module.qconfig for path, module in model.named_modules()} == expected


@given(cases())
def test_dicts_and_back(case: tuple[Any, dict[str, Any], Any]) -> None:
    _, spec, _ = case
    mapping = QConfigMapping.from_dict(spec)
    assert mapping.to_dict() == spec
    assert QConfigMapping.from_dict(mapping.to_dict()) == mapping


def test_setters_are_those_of_torch() -> None:
    a, b, c, d, e = "abcde"
    mapping = (
        QConfigMapping()
        .set_global(a)
        .set_object_type(nn.Linear, b)
        .set_module_name_regex("x", c)
        .set_module_name("y", d)
        .set_module_name_object_type_order("z", nn.Linear, 1, e)
    )
    assert mapping.to_dict() == {
        "": a,
        "object_type": [(nn.Linear, b)],
        "module_name_regex": [("x", c)],
        "module_name": [("y", d)],
        "module_name_object_type_order": [("z", nn.Linear, 1, e)],
    }
    assert QConfigMapping.from_flat({"": a, nn.Linear: b, "y": d}).to_dict()["module_name"] == [("y", d)]
    for text in ("global_qconfig\n  a", "object_type_qconfigs\n  <class", "module_name_qconfigs\n  y: d", "('z', <class"):
        assert text in repr(mapping)
    with pytest.raises(QConfigError, match="unknown key 'module_names'; the keys are '', 'object_type'"):
        QConfigMapping.from_dict({"module_names": []})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (QConfigMapping().set_module_name("block.fc2", None), "_name: the model has no 'block.fc2'; nearest: block.fc1, "),
        (QConfigMapping().set_module_name_regex("blck.*", None), r"_regex: .* no 'blck\.\*'; nearest: block"),
        (
            QConfigMapping().set_module_name_object_type_order("block", nn.Linear, 1, None),
            r"_order: .* no \('block', <.*Linear'>, 1\); nearest: \('block', <.*Linear'>, 0\), ",
        ),
    ],
)
def test_what_matches_nothing_is_an_error(mapping: QConfigMapping, message: str) -> None:
    class Net(Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(2, 2))
            self.block._modules = {"fc1": nn.Linear(2, 2)}
            self.head = nn.Linear(2, 2)

    with pytest.raises(QConfigError, match=message):
        quantization.prepare(Net().eval(), qconfig_mapping=mapping.set_global(quantization.default_qconfig))


def test_workflows_take_mappings() -> None:
    model, x = nn.Sequential(QuantStub(), nn.Linear(3, 4), nn.Linear(4, 2), DeQuantStub()).eval(), nq.randn(8, 3)
    for get, prepare in (
        (quantization.get_default_qconfig_mapping, quantization.prepare),
        (quantization.get_default_qat_qconfig_mapping, quantization.prepare_qat),
    ):
        mapping = get("onednn").set_module_name("2", get("qnnpack").global_qconfig)
        prepared = prepare(model.train(prepare is quantization.prepare_qat), qconfig_mapping=mapping)
        prepared(x)
        converted = quantization.convert(prepared.eval())
        assert [converted[i].weight_scale.shape for i in (1, 2)] == [(4,), ()]
        assert np.abs(converted(x).array - model(x).array).max() < 0.1
    one = QConfigMapping().set_module_name_object_type_order("", nn.Linear, 1, quantization.default_dynamic_qconfig)
    dynamic = quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), one)
    assert [type(part) for part in dynamic] == [nn.Linear, nn.ReLU, nn.quantized.dynamic.Linear]


def test_a_layer_kept_in_float_stays_so_when_quantized_dynamically() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].qconfig = None
    assert [type(part) for part in quantization.quantize_dynamic(model)] == [nn.Linear, nn.quantized.dynamic.Linear]
    assert not any(hasattr(part, "qconfig") for part in quantization.quantize_dynamic(model).modules())


@pytest.mark.parametrize("engine", ["fbgemm", "x86", "qnnpack", "onednn"])
@pytest.mark.parametrize("qat", [False, True])
def test_default_special_cases(engine: str, qat: bool) -> None:
    """torch 2.13's, printed from get_default_qconfig_mapping."""
    get = quantization.get_default_qat_qconfig_mapping if qat else quantization.get_default_qconfig_mapping
    mapping = get(engine)
    default = (quantization.get_default_qat_qconfig if qat else quantization.get_default_qconfig)(engine)
    weight = quantization.default_weight_fake_quant if qat else quantization.default_weight_observer
    of = lambda name: mapping.resolve("m", {name: 0}, mapping.global_qconfig)  # noqa: E731
    assert of("Linear") == default
    assert of("reshape") == quantization.default_reuse_input_qconfig
    assert of("PReLU") == quantization.default_quint8_weight_qconfig
    assert of("conv_transpose3d") == of("ConvTranspose1d")
    assert of("ConvTranspose1d").weight == (weight if engine in ("fbgemm", "x86") else default.weight)
    assert of("LayerNorm") == of("layer_norm") == (default.activation, quantization.default_placeholder_observer)
    for name, scale, zero_point in (("Softmax", 1 / 256, 0), ("sigmoid_", 1 / 256, 0), ("Tanh", 1 / 128, 128)):
        made = of(name).activation()
        assert (type(made).__name__ == "FixedQParamsFakeQuantize") is qat
        assert (made.qparams().scale, made.qparams().zero_point) == (scale, zero_point)
        assert of(name).weight == weight
    assert len(mapping.object_type_qconfigs) == 20
