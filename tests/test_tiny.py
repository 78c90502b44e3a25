"""The whole library in one screen, from the smallest thing up. Read this first."""

import numpy as np

import nanoquant as nq
from nanoquant import nn, quantization


def test_a_float_becomes_a_byte_and_comes_back() -> None:
    q = nq.quantize_per_tensor([0.0, 0.26, 9.9], scale=0.1, zero_point=10, dtype=nq.quint8)
    assert q.int_repr().tolist() == [10, 13, 109]
    assert np.allclose(q.dequantize(), [0.0, 0.3, 9.9])


def test_an_observer_chooses_the_scale() -> None:
    observer = quantization.MinMaxObserver()
    observer([-1.0, 3.0])
    scale, zero_point = observer.calculate_qparams()
    assert (scale[0], zero_point[0]) == (np.float32(4 / 255), 64)


def test_a_linear_layer_in_integers() -> None:
    x = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 0, nq.quint8)  # integers 2, 4
    w = nq.quantize_per_tensor([[3.0, -1.0]], 1.0, 0, nq.qint8)  # integers 3, -1
    packed = nq.ops.quantized.linear_prepack(w, [10.0])
    y = nq.ops.quantized.linear(x, packed, scale=0.5, zero_point=0)
    assert y.int_repr().tolist() == [[(2 * 3 - 4 * 1) + 20]]  # accumulator 2 and bias 10 / 0.5, in steps of 0.5
    assert y.dequantize().item() == 1 * 3 - 2 * 1 + 10


def test_a_gradient() -> None:
    x = nq.tensor([1.0, 2.0], requires_grad=True)
    (x * x * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 12.0]


def test_a_network_quantized_after_training() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(
        quantization.QuantStub(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), quantization.DeQuantStub()
    ).eval()
    x = nq.randn(64, 4)
    model.qconfig = quantization.get_default_qconfig("onednn")
    prepared = quantization.prepare(quantization.fuse_modules(model, ["1", "2"]))
    prepared(x)
    converted = quantization.convert(prepared)
    error = np.abs(converted(x).array - model(x).array).max()
    assert 0 < error < 0.03


def test_a_network_trained_to_be_quantized() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(quantization.QuantStub(), nn.Linear(4, 3), quantization.DeQuantStub())
    model.qconfig = quantization.get_default_qat_qconfig("onednn")
    prepared = quantization.prepare_qat(model.train())
    x, target = nq.randn(64, 4), np.arange(64) % 3
    optimizer, loss = nq.optim.SGD(prepared.parameters(), lr=0.1), nn.CrossEntropyLoss()
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(prepared(x), target)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    prepared.eval().apply(quantization.disable_observer)
    assert np.array_equal(quantization.convert(prepared)(x), prepared(x))
