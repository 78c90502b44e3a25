"""The deliberate differences from torch: the README's table, row by row.

Each test states what torch 2.13 does (the recorded vectors, or, where torch is installed, test_torch.py show it) and asserts
what nanoquant does instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import oracles
import pytest
import test_eager
import test_ops_quantized
from golden_vectors import cases

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.observers import MinMaxObserver, MovingAverageMinMaxObserver, NotCalibratedError
from nanoquant.quantization import QConfigError, QuantStub
from nanoquant.scheme import QDTYPES

README = Path(__file__).parent.parent / "README.md"
TESTS: dict[str, Callable[[], None]] = {}


def row(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Names the row of the table that a function tests."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        TESTS[name] = function
        return function

    return register


@row("ties in `quantize_per_tensor`")
def ties() -> None:
    differing = 0
    for options, arrays in cases("affine"):
        dtype, scale, zero_point = QDTYPES[options["dtype"]], options["scale"], options["zero_point"]
        ours = np.asarray(nq.quantize_per_tensor(arrays["x"], scale, zero_point, dtype).int_repr())
        for x, mine, theirs in zip(arrays["x"], ours, arrays["q"], strict=True):
            assert theirs == oracles.quantize_adding_first(x, scale, zero_point, dtype.quant_min, dtype.quant_max)
            assert mine == oracles.quantize(x, scale, zero_point, dtype.quant_min, dtype.quant_max)
            differing += mine != theirs
    assert differing > 50


@row("ties in averages of integers (pooling, `mean`)")
def ties_in_averages() -> None:
    differing = 0
    for options, arrays in cases("operators"):
        if "exact" in arrays:
            zero_point = options["a"][1]
            mean, ours = np.round(arrays["exact"], 6), test_ops_quantized.operator_answer(options, arrays)
            assert np.array_equal(arrays["y"], np.rint(mean + zero_point))
            assert np.array_equal(ours, np.rint(mean) + zero_point)
            differing += (ours != arrays["y"]).sum()
    assert differing > 20


@row("NaN")
def not_a_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        nq.quantize_per_tensor([np.nan], 1.0, 0, nq.quint8)
    with pytest.raises(ValueError, match="NaN"):
        MinMaxObserver()([np.nan])


@row("convert without calibration")
def uncalibrated() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(2, 2)).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    with pytest.raises(NotCalibratedError, match=r"^0 \(QuantStub\)"):
        quantization.convert(quantization.prepare(model))


@row("QAT with a post-training qconfig")
def qat_with_observers() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(2, 2)).train()
    model.qconfig = quantization.get_default_qconfig("x86")
    with pytest.raises(QConfigError, match="use get_default_qat_qconfig"):
        quantization.prepare_qat(model)


@row("a qconfig that no kernel honours")
def unhonoured() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(2, 2)).eval()
    model.qconfig = quantization.float16_static_qconfig
    with pytest.raises(QConfigError, match=r"^0 \(QuantStub\): its qconfig asks for activation float16.* x86 can do: "):
        quantization.prepare(model)


@row("a QAT qconfig given to `prepare`")
def training_without_training() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(2, 2)).eval()
    model.qconfig = quantization.get_default_qat_qconfig("x86")
    with pytest.raises(QConfigError, match="use get_default_qconfig, or prepare_qat"):
        quantization.prepare(model)


@row("names in a QConfigMapping that match nothing")
def misspelt() -> None:
    mapping = quantization.get_default_qconfig_mapping().set_module_name("2", None)
    with pytest.raises(QConfigError, match="the model has no '2'; nearest: "):
        quantization.prepare(nn.Sequential(QuantStub(), nn.Linear(2, 2)).eval(), qconfig_mapping=mapping)


@row("weight ranges in QAT")
def memoryless_weights() -> None:
    fake = quantization.get_default_qat_qconfig("x86").weight()
    w = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    fake(w)
    fake(2 * w)
    assert np.array_equal(fake.scale, 2 * np.abs(w).max(axis=1) / np.float32(127.5))


@row("scales in QAT and after convert")
def one_rule() -> None:
    prepared, _ = test_eager.trained_for_quantization("x86")
    converted = quantization.convert(prepared)
    assert np.array_equal(converted.fc1.weight_scale, prepared.fc1.weight_fake_quant.scale)


@row("integer range after QAT")
def range_of_training() -> None:
    prepared, _ = test_eager.trained_for_quantization("x86")
    layer = quantization.convert(prepared).fc1
    assert (layer.quant_min, layer.quant_max) == (0, 127)
    huge = nq.quantize_per_tensor(np.full((1, 40), 1e6), layer.scale, layer.zero_point, nq.quint8)
    assert layer(huge).int_repr().max().item() <= 127


@row("averages (pooling, mean) in QAT")
def rounded_averages() -> None:
    fake = quantization.FakeQuantize()
    x = fake(np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4))
    y = nn.AvgPool2d(2)(x)
    integers = nq.qtensor.quantize(x, fake.qparams())
    assert np.array_equal(y.array, nn.AvgPool2d(2)(integers).dequantize().array)


@row("learned zero points")
def learned_zero_points() -> None:
    """Where torch's backward takes -3 for -2, an element on the last step but one counts as clamped."""
    fake = quantization.LearnableFakeQuantize(MinMaxObserver, -8, 7, zero_point=-3.0, dtype=nq.qint8)
    fake.enable_param_learning()
    x = nq.tensor(np.float32([-5.0, 10.0, 11.0]), requires_grad=True)
    fake(x).sum().backward()
    assert x.grad.array.tolist() == [1, 1, 0]
    unsigned = quantization.LearnableFakeQuantize(MinMaxObserver, dtype=nq.quint8, qscheme=nq.per_tensor_symmetric)
    unsigned(np.float32([-1.0, 1.0]))
    assert unsigned.calculate_qparams()[1] == 127


@row("float zero points of signed dtypes")
def float_zero_points() -> None:
    with pytest.raises(ValueError, match="counts from 0: use an unsigned dtype; got qint8 from -128"):
        quantization.PerChannelMinMaxObserver(dtype=nq.qint8, qscheme=nq.per_channel_affine_float_qparams)


@row("the observer of a fused layer")
def observed_once() -> None:
    model = quantization.fuse_modules(nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval(), ["0", "1"])
    model.qconfig = quantization.QConfig(
        MovingAverageMinMaxObserver.with_args(averaging_constant=0.5), quantization.default_weight_observer
    )
    layer = quantization.prepare(model)[0]
    layer[0].weight.array[:], layer[0].bias.array[:] = 1, 0
    layer(np.float32([[0], [4]]))
    layer(np.float32([[0], [8]]))
    assert layer.activation_post_process.max_val == 6  # torch: 7


@row("engine `x86`")
def engine_x86() -> None:
    nq.backends.quantized.engine = "x86"
    assert nn.quantized.Conv2d(2, 2, 1).profile is nq.numerics.Profile.fbgemm


@row("`scale` of a quantized tensor")
def float32_scales() -> None:
    assert nq.quantize_per_tensor([1.0], 0.1, 0, nq.quint8).q_scale() == float(np.float32(0.1)) != 0.1


@row("weights of dynamic recurrent layers")
def scales_of_recurrent_layers() -> None:
    twin = quantization.quantize_dynamic(nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 2)))
    assert (twin[0].hh_l0.weight_scale.shape, twin[1].weight_scale.shape) == ((12,), ())  # torch: () for both


@row("results of dynamic convolutions")
def dynamic_convolutions() -> None:
    options, arrays = next(case for case in cases("dynamic_layers") if case[0]["kind"] == "Conv1d")
    layer = nn.Conv1d(*options["arguments"], **options["options"])
    layer.load_state_dict({n.removeprefix("state "): v for n, v in arrays.items() if n.startswith("state ")})
    x, theirs, exact = arrays["x"], arrays["y0"], np.asarray(layer(arrays["x"]).detach())
    ours = np.asarray(quantization.quantize_dynamic(nn.Sequential(layer), {nn.Conv1d})[0](x))
    step = np.ptp(x) / 127
    assert theirs.min() >= x.min() - step > exact.min()
    assert len(np.unique(theirs)) < len(np.unique(ours))
    assert np.abs(theirs - exact).max() > 10 * np.abs(ours - exact).max()


@row("scales of 4-bit embeddings")
def float32_scales_of_embeddings() -> None:
    table = nn.Embedding.from_pretrained(nq.tensor([[0.0, 1.0]]))
    twin = quantization.quantize_dynamic(nn.Sequential(table), dtype=nq.quint4)
    assert twin[0].weight_scale == np.float32(1) / np.float32(15)
    assert twin(np.array([0])).array.tolist() == [[0, 1]]  # torch: 15 f16(1 / 15) is 0.99976


@row("dynamic and weight-only qconfigs in `prepare`")
def kinds_of_layers() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 2)).eval()
    model[0].qconfig, model[1].qconfig = quantization.default_dynamic_qconfig, quantization.int4_weight_only_qconfig
    converted = quantization.convert(quantization.prepare(model))
    assert type(converted[0]) is nn.quantized.dynamic.Linear
    assert type(converted[1]) is nn.quantized.WeightOnlyLinear


@row("`matmul` of quantized tensors")
def products_in_integers() -> None:
    a, b = (nq.quantize_per_tensor(np.full(s, 255.0), 1.0, 0, nq.quint8) for s in ((1, 3000), (3000, 1)))
    b.values[0, 0] = 254
    assert 255 * 255 * 3000 - 255 > 2**24  # where float32 has even numbers only
    assert nq.ops.quantized.matmul(a, b, 765000.0, 0).int_repr().tolist() == [[255]]
    assert nn.quantized.QFunctional().matmul.__doc__ == "The product of matrices, in integers (torch multiplies floats)."


@row("activations in dynamic QAT")
def dynamic_training() -> None:
    layer = nn.Sequential(nn.Linear(1, 1, bias=False)).train()
    layer[0].weight.data = np.ones((1, 1), np.float32)
    layer.qconfig = quantization.default_dynamic_qat_qconfig
    prepared, x = quantization.prepare_qat(layer), np.linspace(-1, 1, 5000, dtype=np.float32)[:, None]
    trained, deployed = (np.unique(np.asarray(m(x).detach())) for m in (prepared, quantization.convert(prepared.eval())))
    assert len(trained) == len(deployed) == 128  # torch: 255, and 129


@row("`cat` in graph mode")
def ranges_of_concatenations() -> None:
    class Joins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: nq.Tensor) -> nq.Tensor:
            return nq.cat([self.a(x), 9 * self.b(x)], 1)

    prepared = quantization.prepare_fx(Joins().eval(), quantization.get_default_qconfig_mapping())
    prepared(np.eye(2, dtype=np.float32))
    converted = quantization.convert_fx(prepared)
    assert converted.a.scale != converted.cat_functional.scale


class _Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: nq.Tensor, again: bool = True) -> nq.Tensor:
        y = self.fc(x)
        return self.fc(y) if again else y


@row("ranges of sigmoid, tanh, softmax")
def functions_with_a_known_range_have_it() -> None:
    mapping = quantization.QConfigMapping(quantization.default_qconfig)
    prepared = quantization.prepare_fx(nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)).eval(), mapping)
    prepared(np.ones((2, 4), np.float32))
    softmax = quantization.convert_fx(prepared).get_submodule("1")
    assert (float(softmax.scale), int(softmax.zero_point)) == (1 / 256, 0)


@row("a layer called twice in graph mode")
def one_range() -> None:
    prepared = quantization.prepare_fx(_Optional().eval(), quantization.get_default_qconfig_mapping())
    prepared(np.eye(2, dtype=np.float32))
    assert prepared.code.count("self.fc(") == 2
    assert sum(hasattr(m, "activation_post_process") for m in prepared.modules()) == 2  # the input's, and fc's


@row("arguments with a default in graph mode")
def defaults_are_kept() -> None:
    traced = quantization.symbolic_trace(_Optional())
    assert [node.name for node in traced.graph.nodes if node.op == "placeholder"] == ["x"]
    with pytest.raises(TypeError, match="takes 2 positional arguments"):
        traced(np.eye(2, dtype=np.float32), False)


@row("`prepare_fx` and the model")
def the_model_is_copied() -> None:
    model = _Optional().eval()
    assert quantization.prepare_fx(model, quantization.get_default_qconfig_mapping()).fc is not model.fc
    assert not hasattr(model.fc, "qconfig")


def table() -> list[str]:
    section = README.read_text().partition("## What differs")[2].partition("\n## ")[0]
    return re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:]


@pytest.mark.parametrize("name", table())
def test_row(name: str) -> None:
    TESTS[name]()


def test_the_table_is_complete() -> None:
    assert table() == list(TESTS)
