"""Functionals, activations between integers, and LSTMs taken apart: their integers, against the definition and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import affine, nn, quantization
from nanoquant.errors import ModuleError
from nanoquant.observers import NotCalibratedError

OPERATIONS: dict[str, Any] = {
    "add": lambda a, b: a + b, "add_relu": lambda a, b: np.maximum(a + b, np.float32(0)), "mul": lambda a, b: a * b,
    "matmul": lambda a, b: a @ b,
}  # fmt: skip


def quantized(seed: int, scale: float, zero_point: int) -> nq.QTensor:
    values = np.random.default_rng(seed).integers(0, 256, (4, 4)).astype(np.uint8)
    return nq.QTensor(values, nq.QParams(scale, zero_point))


class Adding(nn.Module):
    """Two inputs, one operation between stubs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.first, self.second, self.out = (quantization.QuantStub(), quantization.QuantStub(), quantization.DeQuantStub())
        self.functional, self.name = nn.quantized.FloatFunctional(), name

    def forward(self, a: Any, b: Any) -> Any:
        return self.out(getattr(self.functional, self.name)(self.first(a), self.second(b)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_functionals_are_observed_and_become_integers(name: str) -> None:
    g = np.random.default_rng(0)
    a, b = (g.standard_normal((4, 4)).astype(np.float32) for _ in range(2))
    model = Adding(name).eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(model)
    np.testing.assert_allclose(np.asarray(prepared(a, b)), OPERATIONS[name](a, b), rtol=1e-6)
    converted = quantization.convert(prepared)
    inside = converted.functional
    assert isinstance(inside, nn.quantized.QFunctional)
    x, y = converted.first(a), converted.second(b)
    exact = OPERATIONS[name](np.asarray(x.dequantize()), np.asarray(y.dequantize()))
    wanted = affine.quantize_as(exact, inside.output()).astype(np.int64)
    got = np.asarray(getattr(inside, name)(x, y).int_repr()).astype(np.int64)
    assert np.abs(got - wanted).max() <= 1  # products are rounded once, the definition twice: within a tie, a step
    assert (got != wanted).mean() < 0.1
    converted.first = nn.Identity()
    with pytest.raises(ModuleError, match=r"functional \(QFunctional\): an int8 layer received a float32 tensor"):
        converted(nq.tensor(a), b)


def test_cat_requantizes_to_its_own_grid() -> None:
    f = nn.quantized.QFunctional()
    f.set_output(nq.QParams(0.5, 10))
    a, b = quantized(1, 0.25, 3), quantized(2, 0.5, 200)
    both = np.concatenate([np.asarray(part.dequantize()) for part in (a, b)], 1)
    np.testing.assert_array_equal(np.asarray(f.cat([a, b], 1).int_repr()), affine.quantize(both, 0.5, 10))


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("number", [0.3, -0.3, 0.0, 20.0, -30.0])
def test_scalars_move_the_grid(number: float) -> None:
    f, x = nn.quantized.QFunctional(), quantized(3, 0.1, 120)
    real = np.asarray(x.dequantize())
    moved, scaled = f.add_scalar(x, number), f.mul_scalar(x, number)
    assert np.abs(np.asarray(moved.dequantize()) - (real + number)).max() <= 0.5 * float(moved.q_scale()) + 0.05
    np.testing.assert_allclose(np.asarray(scaled.dequantize()), real * number, rtol=1e-5, atol=1e-6)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch._make_per_tensor_quantized_tensor(torch.from_numpy(x.values), float(np.float32(0.1)), 120)
    other = torch.ao.nn.quantized.QFunctional()
    for got, wanted in ((moved, other.add_scalar(theirs, number)), (scaled, other.mul_scalar(theirs, number))):
        np.testing.assert_array_equal(np.asarray(got.int_repr()), wanted.int_repr().numpy())
        assert (got.q_zero_point(), float(got.q_scale())) == (wanted.q_zero_point(), pytest.approx(wanted.q_scale(), rel=1e-6))


def test_an_unobserved_functional_is_an_error_and_a_call_too() -> None:
    with pytest.raises(RuntimeError, match="is used by its methods"):
        nn.quantized.FloatFunctional()(1)
    model = Adding("add").eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    with pytest.raises(NotCalibratedError, match=r"first \(QuantStub\)"):
        quantization.convert(quantization.prepare(model))


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Hardsigmoid", "Hardswish", "LeakyReLU", "ELU"])
@pytest.mark.parametrize("qat", [False, True])
def test_activations_become_tables(kind: str, qat: bool) -> None:
    model = nn.Sequential(quantization.QuantStub(), getattr(nn, kind)(), quantization.DeQuantStub())
    model.qconfig = (quantization.get_default_qat_qconfig if qat else quantization.get_default_qconfig)("fbgemm")
    prepared = quantization.prepare_qat(model.train()) if qat else quantization.prepare(model.eval())
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    prepared(x)
    converted = quantization.convert(prepared.eval())
    q = converted[0](x)
    y, grid = converted[1](q), converted[1].output()
    exact = np.asarray(getattr(nn, kind)()(q.dequantize()))
    wanted = affine.quantize_as(exact, grid)
    assert np.abs(np.asarray(y.int_repr()).astype(int) - wanted).max() <= 1  # tables are correctly rounded, float is not
    fixed = {"Sigmoid": (1 / 256, 0), "Hardsigmoid": (1 / 256, 0), "Tanh": (1 / 128, 128)}
    if kind in fixed:
        assert (float(grid.scale), int(grid.zero_point)) == fixed[kind]


class Sequences(nn.Module):
    """An LSTM and a linear layer between stubs."""

    def __init__(self, bidirectional: bool = False) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.lstm = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(12 if bidirectional else 6, 3)

    def forward(self, x: Any) -> Any:
        return self.dequant(self.fc(self.lstm(self.quant(x))[0][:, -1]))


def sequence_data(count: int = 4) -> list[np.ndarray]:
    g = np.random.default_rng(0)
    return [g.standard_normal((5, 7, 4)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_is_observed_inside_and_becomes_integers(bidirectional: bool) -> None:
    nq.manual_seed(0)
    model = Sequences(bidirectional).eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(model)
    for x in sequence_data():
        np.testing.assert_allclose(np.asarray(prepared(x)), np.asarray(model(x).detach()), rtol=1e-5, atol=1e-6)
    converted = quantization.convert(prepared)
    assert not [m for m in converted.modules() if type(m) in (nn.Linear, nn.quantized.FloatFunctional, nn.Sigmoid)]
    error = np.abs(np.asarray(converted(x)) - np.asarray(model(x).detach())).max()
    assert error < 0.05 * np.abs(np.asarray(model(x).detach())).max() + 0.02


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("qat", [False, True])
def test_lstms_are_torchs(qat: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs_of = torch.ao.quantization

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.dequant = theirs_of.QuantStub(), theirs_of.DeQuantStub()
            self.lstm, self.fc = torch.nn.LSTM(4, 6, 2, batch_first=True), torch.nn.Linear(6, 3)

        forward = Sequences.forward

    nq.manual_seed(0)
    model, other = Sequences(), Theirs()
    other.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.state_dict().items()})
    torch.backends.quantized.engine = "fbgemm"
    if qat:
        # torch's fused fake-quantizers have another rule for qparams (the table of differences): so its plain ones here
        plain = {"dtype": (nq.quint8, torch.quint8), "weight": (nq.qint8, torch.qint8)}
        for side, module, library in ((model, quantization, 0), (other, theirs_of, 1)):
            fake = module.FakeQuantize.with_args
            symmetric = (nq.per_tensor_symmetric, torch.per_tensor_symmetric)[library]
            side.qconfig = module.QConfig(
                activation=fake(observer=module.MovingAverageMinMaxObserver, quant_min=0, quant_max=127,
                                dtype=plain["dtype"][library], reduce_range=True),
                weight=fake(observer=module.MinMaxObserver, quant_min=-128, quant_max=127, dtype=plain["weight"][library],
                            qscheme=symmetric),
            )  # fmt: skip
        prepared, wanted = quantization.prepare_qat(model.train()), theirs_of.prepare_qat(other.train())
    else:
        model.qconfig, other.qconfig = (m.get_default_qconfig("fbgemm") for m in (quantization, theirs_of))
        prepared, wanted = quantization.prepare(model.eval()), theirs_of.prepare(other.eval())
    for x in sequence_data():
        y, z = prepared(x), wanted(torch.from_numpy(x))
        np.testing.assert_allclose(np.asarray(y.detach()), z.detach().numpy(), atol=2e-6 if not qat else 0.02)
    if qat:
        y.sum().backward()
        assert all(p.grad is not None for p in prepared.parameters())
        return
    converted, theirs = quantization.convert(prepared), theirs_of.convert(wanted)
    scales = {n: float(np.asarray(v).reshape(-1)[0]) for n, v in converted.state_dict().items() if n.endswith(".scale")}
    for name, value in theirs.state_dict().items():
        if name.endswith(".scale"):
            assert scales[name] == pytest.approx(float(value), rel=1e-5), name
    for x in sequence_data():
        np.testing.assert_allclose(np.asarray(converted(x)), theirs(torch.from_numpy(x)).numpy(), atol=1e-6)


class Attending(nn.Module):
    """Attention between stubs."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x: Any) -> Any:
        q = self.quant(x)
        return self.dequant(self.attention(q, q, q, need_weights=False)[0])


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("qat", [False, True])
def test_attention_is_observed_inside(qat: bool, integers: bool) -> None:
    nq.manual_seed(0)
    model, x = Attending().train(qat), np.random.default_rng(0).standard_normal((16, 5, 8)).astype(np.float32)
    model.qconfig = (quantization.get_default_qat_qconfig if qat else quantization.get_default_qconfig)("fbgemm")
    model.attention.integers = integers
    prepared = (quantization.prepare_qat if qat else quantization.prepare)(model)
    prepared(x)
    converted = quantization.convert(prepared.eval())
    attention = converted.attention
    for name in ("linear_Q", "linear_K", "linear_V", "out_proj"):
        assert type(getattr(attention, name)) is nn.quantized.Linear
    if integers:
        kinds = [type(part) for part in (attention.scores, attention.softmax, attention.mixed)]
        assert kinds == [nn.quantized.QFunctional, nn.quantized.Softmax, nn.quantized.QFunctional]
        q = converted.quant(x)
        with pytest.raises(ModuleError, match="masks are floats' affair"):
            attention(q, q, q, is_causal=True)
    else:
        assert type(attention.quant_attn_output) is nn.quantized.Quantize
    wanted = np.asarray(model.eval()(x).detach())
    assert np.abs(np.asarray(converted(x)) - wanted).max() < 0.1 * np.abs(wanted).max()
    if qat:  # training equals deployment, to a step of the output's grid
        trained, step = np.asarray(prepared(x).detach()), float(attention.out_proj.scale)
        assert np.abs(np.asarray(converted(x)) - trained).max() <= (2.01 if integers else 1.01) * step


@pytest.mark.parametrize(("a", "b"), [((3, 5), (5, 4)), ((2, 3, 4, 17), (3, 17, 33)), ((1, 70), (2, 70, 1)), ((0, 3), (3, 2))])
@pytest.mark.parametrize("dtype", [nq.quint8, nq.qint8])
def test_products_of_matrices_are_exact(a: tuple[int, ...], b: tuple[int, ...], dtype: Any) -> None:
    g, info = np.random.default_rng(0), np.iinfo(dtype.storage)
    left, right = (
        nq.QTensor(g.integers(info.min, info.max + 1, s).astype(dtype.storage), nq.QParams(scale, zero + info.min, dtype))
        for s, scale, zero in ((a, 0.1, 100), (b, 0.02, 140))
    )
    sums = (left.values.astype(np.int64) - 100 - info.min) @ (right.values.astype(np.int64) - 140 - info.min)
    scale = np.float32(0.3) * np.sqrt(np.float32(a[-1]))
    mul = np.float32(0.1) * np.float32(0.02) / scale
    wanted = np.clip(np.rint(sums.astype(np.float32) * mul) + 120 + info.min, info.min, info.max)
    got = nq.ops.quantized.matmul(left, right, float(scale), 120 + info.min)
    assert got.shape == sums.shape
    assert np.abs(np.asarray(got.int_repr()).astype(int) - wanted).max(initial=0) <= 1  # FBGEMM multiplies twice
    assert (np.asarray(got.int_repr()) != wanted).sum() <= 0.01 * sums.size
    for shapes, message in ((((2, 3), (2, 3)), "takes matrices"), (((2, 1, 3), (3, 3, 2)), "do not broadcast")):
        x, y = (nq.quantize_per_tensor(np.zeros(s), 1.0, 0, dtype) for s in shapes)
        with pytest.raises(ValueError, match=message):
            nq.ops.quantized.matmul(x, y, 1.0, 0)


def test_attentions_masks_and_weights_are_those_of_the_float_layer() -> None:
    nq.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2)
    twin = nn.quantizable.MultiheadAttention.from_float(layer)
    x = np.random.default_rng(0).standard_normal((5, 3, 8)).astype(np.float32)
    mask, padding = np.triu(np.ones((5, 5), bool), 1), np.zeros((3, 5), bool)
    padding[1, 3:] = True
    for got, expected in zip(twin(x, x, x, padding, attn_mask=mask), layer(x, x, x, padding, attn_mask=mask), strict=True):
        np.testing.assert_allclose(np.asarray(got.detach()), np.asarray(expected.detach()), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # torch's
def test_attention_is_torchs() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.attention = torch.nn.MultiheadAttention(8, 2)  # with batch_first, torch 2.13's observed form is wrong

        forward = Attending.forward

    nq.manual_seed(0)
    model, other = Attending(batch_first=False).eval(), Theirs().eval()
    other.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.state_dict().items()})
    torch.backends.quantized.engine, x = ("fbgemm", np.random.default_rng(0).standard_normal((16, 5, 8)).astype(np.float32))
    outputs = []
    for network, library, given in ((model, quantization, x), (other, torch.ao.quantization, torch.from_numpy(x))):
        network.qconfig = library.default_qconfig
        prepared = library.prepare(network)
        prepared(given)
        converted = library.convert(prepared)
        outputs.append((np.asarray(converted(given)), float(converted.attention.out_proj.scale)))
    (ours, step), (theirs, their_step) = outputs
    assert step == pytest.approx(their_step, rel=1e-4)
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert (np.abs(ours - theirs) > 0.5 * step).mean() < 0.02


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_of_an_lstm_taken_apart_are_those_of_the_float_layer(bidirectional: bool) -> None:
    """In their order by layer and direction, given and returned (torch mixes directions up: pytorch issue 89357)."""
    nq.manual_seed(0)
    layer, ways = nn.LSTM(4, 6, 2, bidirectional=bidirectional), 1 + bidirectional
    twin = nn.quantizable.LSTM.from_float(layer)
    g = np.random.default_rng(0)
    x, h, c = (g.standard_normal(s).astype(np.float32) for s in ((5, 3, 4), (2 * ways, 3, 6), (2 * ways, 3, 6)))
    given = nq.tensor(h), nq.tensor(c)
    for got, wanted in zip(flattened(twin(x, given)), flattened(layer(x, given)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def flattened(result: Any) -> list[np.ndarray]:
    y, (h, c) = result
    return [np.asarray(part.detach()) for part in (y, h, c)]
