"""Quantized embeddings: torch's numbers, the formula on every instruction set, the workflow, training, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, optim, quantization
from nanoquant.kernels.embedding import Table, nibbles, whole
from nanoquant.quantization import (
    default_embedding_qat_qconfig,
    default_embedding_qat_qconfig_4bit,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
)

QCONFIGS = {8: float_qparams_weight_only_qconfig, 4: float_qparams_weight_only_qconfig_4bit}
INDEX, OFFSETS = np.array([1, 9, 4, 5, 4, 0, 2, 9]), np.array([0, 3, 3, 7])


def converted(layer: Any, bits: int) -> Any:
    model = nn.Sequential(layer).eval()
    model.qconfig = QCONFIGS[bits]
    return quantization.convert(quantization.prepare(model))[0]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [1, 2, 7, 8, 33, 64])
def test_the_formula(isa: str, bits: int, columns: int) -> None:
    g = np.random.default_rng(0)
    q = g.integers(0, 1 << bits, (10, columns)).astype(np.uint8)
    scale, zero = (g.uniform(0.1, 9, 10).astype(np.float32) for _ in range(2))
    table = Table(q if bits == 8 else nibbles(q), scale, zero, columns, bits)
    factor = g.standard_normal(len(INDEX)).astype(np.float32)
    for weights in (None, factor):
        y = table.sums([*OFFSETS, len(INDEX)], INDEX, weights, isa=isa)
        for bag, (first, last) in enumerate(zip(OFFSETS, [*OFFSETS[1:], len(INDEX)], strict=True)):
            expected = np.zeros(columns, np.float32)
            for i in range(first, last):
                f = np.float32(1) if weights is None else weights[i]
                s, o = f * scale[INDEX[i]], f * -(scale * zero)[INDEX[i]]
                exact = np.longdouble(s) * q[INDEX[i]] + (expected + o).astype(np.longdouble)
                expected = exact.astype(np.float32)
            assert np.array_equal(y[bag], expected)
        share = np.float32(1) / np.maximum(np.diff([*OFFSETS, len(INDEX)]), 1).astype(np.float32)
        assert np.array_equal(table.sums([*OFFSETS, len(INDEX)], INDEX, weights, True, isa), y * share[:, None])
    assert np.array_equal(whole(nibbles(q), columns), q & 15) or bits == 8


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
@pytest.mark.parametrize("bits", [8, 4])
def test_torchs_numbers(kind: str, bits: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if kind == "Embedding" and bits == 4:
        pytest.skip("torch 2.13's 4-bit Embedding fails when it is called")
    nq.manual_seed(0)
    options = {"mode": "sum"} if kind == "EmbeddingBag" else {}
    ours, theirs = getattr(nn, kind)(10, 6, **options), getattr(torch.nn, kind)(10, 6, **options)
    theirs.load_state_dict({"weight": torch.from_numpy(np.array(ours.weight.detach()))})
    name = f"float_qparams_weight_only_qconfig{'_4bit' * (bits == 4)}"
    theirs.qconfig = getattr(torch.ao.quantization, name)
    twin, other = converted(ours, bits), getattr(torch.ao.nn.quantized, kind).from_float(theirs)
    given = (INDEX, OFFSETS) if kind == "EmbeddingBag" else (INDEX,)
    got, wanted = np.asarray(twin(*given)), other(*map(torch.from_numpy, given)).numpy()
    scales, integers = other.weight().q_per_channel_scales().numpy(), other.weight().int_repr().numpy()
    if bits == 8:
        np.testing.assert_array_equal(integers, twin.integers())
    np.testing.assert_allclose(twin.weight_scale, scales, rtol=1e-6)
    # torch keeps the scales and offsets of 4-bit rows in float16: off by 2^-11 of up to 15 steps and the offset
    size = np.abs(twin.weight_scale).max() * (15 + np.abs(twin.weight_zero_point).max())
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 if bits == 8 else 4 * size * 2**-11)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_are_those_of_the_float_layer(bits: int, mode: str) -> None:
    nq.manual_seed(0)
    layer = nn.EmbeddingBag(10, 7, mode=mode, padding_idx=4)
    twin = converted(layer, bits)
    shown = nn.EmbeddingBag.from_pretrained(twin.weight().dequantize(), mode=mode, padding_idx=4)
    for given in ((INDEX, OFFSETS), (INDEX.reshape(2, 4),)):
        np.testing.assert_allclose(np.asarray(twin(*given)), np.asarray(shown(*given)), atol=1e-5)
    if mode == "sum":
        factor = np.linspace(-1, 1, 8).astype(np.float32)
        np.testing.assert_allclose(np.asarray(twin(INDEX, OFFSETS, factor)), np.asarray(shown(INDEX, OFFSETS, factor)), atol=1e-5)


def test_rows_of_any_shape_and_quantize_dynamic() -> None:
    nq.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 6))
    for dtype, most in ((nq.quint8, 0.01), (nq.quint4, 0.12)):
        twin = quantization.quantize_dynamic(model, dtype=dtype)
        assert type(twin[0]) is nn.quantized.Embedding
        for index in (INDEX, INDEX.reshape(2, 2, 2), np.array(3)):
            assert twin(index).shape == (*index.shape, 6)
            assert np.abs(np.asarray(twin(index)) - np.asarray(model(index).detach())).max() < 2 * most
    assert str(twin[0]) == "QuantizedEmbedding(10, 6, w=quint4 per row)"
    assert twin.state_dict()["0.weight_values"].shape == (10, 3)


@pytest.mark.parametrize("dtype", [nq.qint4, nq.quint4, nq.qint8, nq.quint8])
@pytest.mark.parametrize("group_size", [None, 4, 8])
def test_scales_for_groups_and_signed_integers(dtype: Any, group_size: int | None) -> None:
    nq.manual_seed(0)
    layer = nn.EmbeddingBag(10, 16, mode="sum", padding_idx=4)
    observer = (
        quantization.PerChannelMinMaxObserver.with_args(dtype=dtype)
        if group_size is None
        else quantization.PerGroupMinMaxObserver.with_args(dtype=dtype, group_size=group_size)
    )
    qconfig = quantization.QConfig(quantization.default_placeholder_observer, observer)
    twin = quantization.quantize_dynamic(nn.Sequential(layer), {nn.EmbeddingBag: qconfig})[0]
    assert twin.weight_scale.size == 10 * (1 if group_size is None else 16 // group_size)
    shown = nn.EmbeddingBag.from_pretrained(twin.weight().dequantize(), mode="sum", padding_idx=4)
    np.testing.assert_allclose(np.asarray(twin(INDEX, OFFSETS)), np.asarray(shown(INDEX, OFFSETS)), atol=1e-5)
    steps = np.abs(np.asarray(twin.weight().dequantize()) - layer.weight.detach().array).max() / twin.weight_scale.max()
    assert steps <= 0.51


@pytest.mark.parametrize("qconfig", [default_embedding_qat_qconfig, default_embedding_qat_qconfig_4bit])
@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_training_equals_deployment(kind: str, qconfig: Any) -> None:
    nq.manual_seed(0)
    model = nn.Sequential(getattr(nn, kind)(10, 6)).train()
    model.qconfig = qconfig
    prepared = quantization.prepare_qat(model)
    assert type(prepared[0]) is getattr(nn.qat, kind)
    optimizer = optim.SGD(prepared.parameters(), lr=0.5)
    index = INDEX if kind == "Embedding" else INDEX.reshape(2, 4)
    for _ in range(5):
        optimizer.zero_grad()
        ((prepared(index) - 1) ** 2).sum().backward()
        optimizer.step()
    twin = quantization.convert(prepared.eval())
    trained = np.asarray(prepared(index).detach())
    # fake quantization subtracts the zero point first: a few units in the last place of the larger of the two terms
    size = np.abs(twin[0].weight_scale * (np.abs(twin[0].weight_zero_point) + 255)).max()
    np.testing.assert_allclose(np.asarray(twin(index)), trained, rtol=0, atol=8 * size * 2**-24)
    assert np.abs(trained - 1).mean() < 1


def test_errors() -> None:
    twin = converted(nn.EmbeddingBag(10, 6, mode="sum"), 8)
    with pytest.raises(ValueError, match=r"takes integers in \[0, 10\)"):
        twin(np.array([10]), np.array([0]))
    with pytest.raises(ValueError, match="offsets must begin with 0"):
        twin(INDEX, np.array([1]))
    with pytest.raises(ValueError, match="per_sample_weights are for mode 'sum'"):
        converted(nn.EmbeddingBag(10, 6), 8)(INDEX, OFFSETS, np.ones(8))
    with pytest.raises(nq.errors.ModuleError, match="mode='max' has no quantized form"):
        converted(nn.EmbeddingBag(10, 6, mode="max"), 8)
    with pytest.raises(ValueError, match="no values of"):
        Table(np.zeros((2, 3), np.uint8), np.ones(2, np.float32), np.ones(2, np.float32), 7, 4)
