"""Linear layers with weights of few bits: the formula in NumPy, every instruction set, the workflow, training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, optim, quantization
from nanoquant.errors import ModuleError
from nanoquant.kernels.weight_only import GroupedWeights
from nanoquant.observers import PerGroupMinMaxObserver
from nanoquant.quantization import QConfig, default_placeholder_observer

SIZES = [
    (1, 16, 16, 1),
    (17, 64, 16, 1),
    (33, 96, 32, 3),
    (16, 100, 100, 5),
    (50, 256, 128, 9),
    (40, 512, 512, 4),
    (5, 300, 300, 2),
]


def fused(a: Any, b: Any, c: Any) -> Any:
    """a b + c of float32, rounded once: exact in long double, for numbers as tame as these."""
    return (a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)).astype(np.float32)


def by_definition(x: Any, q: Any, scale: Any, zero: Any, group: int) -> Any:
    """The formula of kernels/weight_only.py, group by group."""
    y = np.zeros((len(x), len(q)), np.float32)
    for g, first in enumerate(range(0, x.shape[1], group)):
        part, weights = x[:, first : first + group], q[:, first : first + group].astype(np.int64)
        steps = np.abs(part).max(axis=1) / np.float32(127)
        inverse = np.divide(np.float32(1), steps, where=steps > 0, out=np.zeros_like(steps))
        a = np.rint(part * inverse[:, None]).astype(np.int64)
        sums = (a @ (weights - zero[:, g, None]).T).astype(np.float32)
        y = fused(sums, scale[:, g] * steps[:, None], y)
    return y


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_formula(isa: str, size: tuple[int, ...], bits: int) -> None:
    outputs, inputs, group, rows = size
    g = np.random.default_rng(0)
    groups = -(-inputs // group)
    scale = g.uniform(0.01, 0.1, (outputs, groups)).astype(np.float32)
    x = g.standard_normal((rows, inputs)).astype(np.float32)
    x[0] = 0
    bias = g.standard_normal(outputs).astype(np.float32)
    for q in (g.integers(0, 1 << bits, (outputs, inputs)), np.full((outputs, inputs), (1 << bits) - 1)):
        for zero in (g.integers(0, 1 << bits, scale.shape), np.full(scale.shape, 1 << (bits - 1))):
            layer = GroupedWeights(q, scale, zero, group, bits, bias)
            where = np.arange(-(-inputs // layer.group)) * layer.group // group  # long groups come in parts
            expected = by_definition(x, q, scale[:, where], zero[:, where], layer.group) + bias
            assert np.array_equal(layer(x, isa), expected)


def test_threads_do_not_matter() -> None:
    g = np.random.default_rng(0)
    layer = GroupedWeights(g.integers(0, 16, (300, 512)), np.full((300, 16), 0.1, np.float32), np.full((300, 16), 8), 32, 4)
    x, before = g.standard_normal((5, 512)).astype(np.float32), nq.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        nq.set_num_threads(threads)
        results.append(layer(x))
    nq.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert np.array_equal(layer(x[2:3])[0], results[0][2])  # nor do batch mates


def test_bad_arguments() -> None:
    one = np.ones((2, 4), np.float32)
    good: dict[str, Any] = {"q": np.ones((2, 64), int), "scale": one, "zero_point": one, "group": 16, "bits": 4}
    for change, message in (
        ({"q": np.full((2, 64), 16)}, r"weights of 4 bits lie in \[0, 15\]; got 16 .. 16"),
        ({"bits": 5}, "have 4 or 8 bits"),
        ({"group": 24}, r"scales and zero points of shape \(2, 3\)"),
        ({"group": 8, "scale": np.ones((2, 8), np.float32), "zero_point": np.ones((2, 8))}, "multiples of 16; got 8"),
        ({"scale": -one}, "packing weights: .*scale"),
    ):
        with pytest.raises(ValueError, match=message):
            GroupedWeights(**{**good, **change})
    layer = GroupedWeights(**good)
    for x, message in (
        (np.ones((1, 63), np.float32), r"\(rows, 64\); got"),
        (np.full((1, 64), np.inf, np.float32), "NaN or inf"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(x)


def network() -> tuple[nn.Sequential, Any]:
    nq.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)), nq.randn(32, 64).array


def noise(y: Any, wanted: Any) -> float:
    return float(np.linalg.norm(np.asarray(y) - np.asarray(wanted.detach())) / np.linalg.norm(np.asarray(wanted.detach())))


def by_group(dtype: Any) -> QConfig:
    return QConfig(default_placeholder_observer, PerGroupMinMaxObserver.with_args(group_size=16, dtype=dtype))


@pytest.mark.parametrize(
    ("qconfig", "most"),
    [
        (quantization.int8_weight_only_qconfig, 0.02),
        (by_group(nq.qint8), 0.02),
        (by_group(nq.quint8), 0.02),
        (by_group(nq.qint4), 0.15),
        (by_group(nq.quint4), 0.15),
    ],
)
def test_the_workflow(qconfig: QConfig, most: float) -> None:
    model, x = network()
    model.eval().qconfig = qconfig
    converted = quantization.convert(quantization.prepare(model))
    wanted = model(x)
    assert type(converted[0]) is nn.quantized.WeightOnlyLinear
    assert noise(converted(x), wanted) < most
    # what it computes is the layer with the weights it shows, but for 8 bits of x
    shown = nn.Linear(64, 48)
    shown.weight.data, shown.bias = converted[0].weight().dequantize(), model[0].bias
    assert noise(converted[0](x), shown(x)) < 0.01
    assert np.array_equal(copy.deepcopy(converted)(x), converted(x))
    twin = quantization.convert(quantization.prepare(network()[0].eval().apply(lambda m: setattr(m, "qconfig", qconfig))))
    twin.load_state_dict(converted.state_dict())
    assert np.array_equal(twin(x), converted(x))
    assert np.array_equal(quantization.quantize_dynamic(model, {nn.Linear: qconfig})(x), converted(x))


def test_four_bits_take_half_the_bytes_of_eight() -> None:
    layers = [
        quantization.quantize_dynamic(nn.Sequential(nn.Linear(64, 48)), {nn.Linear: by_group(t)})[0] for t in (nq.qint8, nq.qint4)
    ]
    eight, four = (layer.state_dict()["weight_values"].nbytes for layer in layers)
    assert (eight, four) == (64 * 48, 32 * 48)
    assert layers[1].packed().nbytes < 0.7 * layers[0].packed().nbytes


@pytest.mark.parametrize("qconfig", [quantization.int8_weight_only_qat_qconfig, quantization.int4_weight_only_qat_qconfig])
def test_training_equals_deployment(qconfig: QConfig) -> None:
    """Weights are the very integers of training; x is rounded on top, to 8 bits in each group, of which the bound is derived."""
    nq.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    x, labels = nq.randn(64, 64), np.arange(64) % 10
    model.qconfig = qconfig
    prepared = quantization.prepare_qat(model.train())
    assert type(prepared[0]) is nn.qat.Linear
    optimizer, loss = optim.SGD(prepared.parameters(), lr=0.5), nn.CrossEntropyLoss()
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(prepared(x), labels)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]
    converted = quantization.convert(prepared.eval())
    first, twin = prepared[0], converted[0]
    trained = np.asarray(first.weight_fake_quant(first.weight).detach())
    assert np.array_equal(trained, np.asarray(twin.weight().dequantize()))
    group = twin.packed().group
    steps = np.abs(x.array.reshape(64, -1, group)).max(axis=2) / 127
    bound = np.repeat(steps, group, axis=1) @ np.abs(trained).T / 2 + 1e-5
    assert (np.abs(np.asarray(twin(x)) - np.asarray(first(x).detach())) <= bound).all()


def test_what_no_kernel_takes_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(32, 4)).eval()
    model.qconfig = QConfig(default_placeholder_observer, quantization.MinMaxObserver.with_args(dtype=nq.qint16))
    with pytest.raises(quantization.QConfigError, match=r"^0 \(Linear\): .* weight qint16"):
        quantization.prepare(model)
    model[0].qconfig = model.qconfig
    with pytest.raises(ModuleError, match="must have 4 or 8 bits"):
        nn.quantized.WeightOnlyLinear.from_float(model[0])
    twin = quantization.quantize_dynamic(nn.Sequential(nn.Linear(32, 4)), {nn.Linear: by_group(nq.qint4)})
    with pytest.raises(ValueError, match="has 32 input features"):
        twin(nq.ones(1, 31))
    with pytest.raises(RuntimeError, match="integers have no gradient"):
        twin(nq.ones(1, 32, requires_grad=True)).sum().backward()
