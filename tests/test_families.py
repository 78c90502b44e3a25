"""Convolutions over one, two and three axes, and their transposes: fused, quantized and trained like torch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from oracles import SATURATES, TORCH_SATURATES

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.errors import ModuleError

SIZES = {0: (), 1: (11,), 2: (9, 8), 3: (5, 6, 5)}  # 0: a linear layer, over rows
TAILS = {"": [], "relu": ["ReLU"], "bn": ["BatchNorm"], "bn relu": ["BatchNorm", "ReLU"]}
OPTIONS = {"": {"padding": 1, "stride": 2}, "Transpose": {"stride": 2, "padding": 1, "output_padding": 1}}


def network(library: Any, stubs: Any, axes: int, tail: str, transposed: bool = False) -> Any:
    kind = "Transpose" if transposed else ""
    conv = getattr(library, f"Conv{kind}{axes}d")(4, 6, 3, groups=1, **OPTIONS[kind]) if axes else library.Linear(4, 6)
    rest = [getattr(library, name + (f"{axes or 1}d" if name == "BatchNorm" else ""))(*[6] * (name == "BatchNorm"))
            for name in TAILS[tail]]  # fmt: skip
    return library.Sequential(stubs.QuantStub(), conv, *rest, stubs.DeQuantStub())


def batches(axes: int, count: int = 3) -> list[np.ndarray]:
    g = np.random.default_rng(axes)
    return [g.standard_normal((4 if axes else 200, 4, *SIZES[axes])).astype(np.float32) for _ in range(count)]


def names(tail: str) -> list[str]:
    return [str(i) for i in range(1, 2 + len(TAILS[tail]))]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("tail", TAILS)
def test_static(axes: int, tail: str) -> None:
    nq.manual_seed(axes)
    model = network(nn, quantization, axes, tail).eval()
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_var *= 2.0
            module.running_mean += 0.1
    fused = quantization.fuse_modules(model, names(tail)) if tail else model
    fused.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(fused)
    for x in batches(axes):
        np.testing.assert_allclose(np.asarray(prepared(x)), np.asarray(model(x).detach()), rtol=1e-4, atol=1e-5)
    converted = quantization.convert(prepared)
    assert type(converted[1]) is getattr(nn.quantized, f"Conv{'ReLU' * ('relu' in tail)}{axes}d")
    y = np.asarray(model(x).detach())
    assert np.abs(np.asarray(converted(x)) - y).max() < 3 * float(converted[1].scale)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("per_channel", [False, True])
def test_transposed(axes: int, per_channel: bool) -> None:
    nq.manual_seed(axes)
    model = network(nn, quantization, axes, "", transposed=True).eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm" if per_channel else "qnnpack")
    prepared = quantization.prepare(model)
    for x in batches(axes):
        prepared(x)
    converted = quantization.convert(prepared)
    assert converted[1].weight().qparams.axis == (1 if per_channel else None)
    error = np.abs(np.asarray(converted(x)) - np.asarray(model(x).detach())) / float(converted[1].scale)
    assert np.percentile(error, 99) < 3  # the histogram observer clips a few


def test_groups_of_a_transposed_convolution_have_one_scale() -> None:
    model = nn.Sequential(quantization.QuantStub(), nn.ConvTranspose2d(4, 6, 3, groups=2), quantization.DeQuantStub()).eval()
    for backend in ("qnnpack", "fbgemm"):
        model.qconfig = quantization.get_default_qconfig(backend)
        prepared = quantization.prepare(model)
        prepared(batches(2)[0])
        if backend == "qnnpack":
            y = quantization.convert(prepared)(batches(2)[0])
            assert np.abs(np.asarray(y) - np.asarray(model(batches(2)[0]).detach())).max() < 0.05
        else:
            with pytest.raises(ModuleError, match=r"1 \(ConvTranspose2d\): its weights cannot have scales per channel"):
                quantization.convert(prepared)


def trainable(axes: int, tail: str) -> Any:
    """The network, fused for training, with its QAT twins."""
    nq.manual_seed(axes)
    model = network(nn, quantization, axes, tail).train()
    model = quantization.fuse_modules_qat(model, names(tail)) if tail else model
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    return quantization.prepare_qat(model)


def test_every_twin_is_trained_and_deployed_somewhere() -> None:
    here = {type(trainable(axes, tail)[1]) for axes in SIZES for tail in TAILS}
    elsewhere = {nn.qat.Embedding, nn.qat.EmbeddingBag}  # tests/test_embedding.py; nn.qat.dynamic: tests/test_dynamic.py
    assert here | elsewhere == set(quantization.mappings.QAT.values())


@pytest.mark.parametrize("axes", SIZES)
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("frozen", [False, True])
def test_training_equals_deployment(axes: int, tail: str, frozen: bool) -> None:
    """The integers of the converted layer are those that the fake-quantized one stands for, but for ties."""
    prepared = trainable(axes, tail)
    if frozen:
        prepared.apply(nn.qat.freeze_bn_stats)
    optimizer = nq.optim.SGD(prepared.parameters(), lr=0.05)
    for x in batches(axes, 4):
        optimizer.zero_grad()
        (prepared(x) ** 2).mean().backward()
        optimizer.step()
    assert all(p.grad is not None for p in prepared.parameters())
    prepared.eval().apply(quantization.disable_observer)
    trained = np.asarray(prepared(x).detach())
    converted = quantization.convert(prepared)
    q = converted[1](converted[0](x))
    scale, zero_point = float(q.q_scale()), q.q_zero_point()
    steps = np.asarray(q.int_repr()).astype(np.int64) - zero_point - np.rint(trained / scale)
    assert np.abs(steps).max() <= 1
    assert (steps != 0).mean() < 0.002  # values within float rounding of a tie


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("tail", "transposed"), [("", False), ("relu", False), ("bn relu", False), ("", True)])
def test_integers_are_torchs(axes: int, tail: str, transposed: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if transposed and TORCH_SATURATES:  # the others' activations have 7 bits
        pytest.skip(SATURATES)
    theirs_of = torch.ao.quantization
    nq.manual_seed(axes)
    model = network(nn, quantization, axes, tail, transposed).eval()
    other = network(torch.nn, theirs_of, axes, tail, transposed).eval()
    other.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.state_dict().items()})
    torch.backends.quantized.engine = nq.backends.quantized.engine = "fbgemm"
    if tail:
        model, other = quantization.fuse_modules(model, names(tail)), theirs_of.fuse_modules(other, names(tail))
    backend = "qnnpack" if transposed else "fbgemm"  # the first has one scale for all weights
    model.qconfig, other.qconfig = (library.get_default_qconfig(backend) for library in (quantization, theirs_of))
    prepared, theirs = quantization.prepare(model), theirs_of.prepare(other)
    for x in batches(axes):
        prepared(x), theirs(torch.from_numpy(x))
    converted, wanted = quantization.convert(prepared), theirs_of.convert(theirs)
    assert float(converted[1].scale) == pytest.approx(float(wanted[1].scale), rel=1e-5)
    for x in batches(axes):
        y, z = converted[1](converted[0](x)), wanted[1](wanted[0](torch.from_numpy(x)))
        differ = np.asarray(y.int_repr()).astype(int) - z.int_repr().numpy()
        assert np.abs(differ).max(initial=0) <= 1  # the scales may differ in their last bit, which shows at ties
        assert (differ != 0).mean() < 0.002


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_batch_norm_folds_into_a_transposed_convolution(axes: int) -> None:
    nq.manual_seed(0)
    conv, bn = getattr(nn, f"ConvTranspose{axes}d")(3, 4, 2, stride=2), getattr(nn, f"BatchNorm{axes}d")(4)
    bn.running_mean, bn.running_var = nq.randn(4).array, np.abs(nq.randn(4).array) + 0.5
    model, x = nn.Sequential(conv, bn).eval(), nq.randn(2, 3, *[4] * axes)
    fused = quantization.fuse_modules(model, ["0", "1"])
    assert type(fused[1]) is nn.Identity
    np.testing.assert_allclose(fused(x).detach().array, model(x).detach().array, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="have no twin for training"):
        quantization.fuse_modules_qat(nn.Sequential(conv, bn).train(), ["0", "1"])
    grouped = getattr(nn, f"ConvTranspose{axes}d")(4, 4, 2, groups=2)
    with pytest.raises(ValueError, match="with groups=2 has no axis"):
        quantization.fuse_modules(nn.Sequential(grouped, bn).eval(), ["0", "1"])


def test_linear_bn_relu_trains_as_it_is_deployed() -> None:
    nq.manual_seed(0)
    layers = quantization.QuantStub(), nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), quantization.DeQuantStub()
    model, x = nn.Sequential(*layers), nq.randn(64, 6)
    folded = quantization.fuse_modules(copy.deepcopy(model).eval(), ["1", "2", "3"])
    np.testing.assert_allclose(folded(x).detach().array, model.eval()(x).detach().array, rtol=1e-4, atol=1e-5)
    assert type(folded[1]) is nn.intrinsic.LinearReLU
    fused = quantization.fuse_modules_qat(model.train(), ["1", "2", "3"])
    fused.qconfig = quantization.get_default_qat_qconfig("x86")
    prepared = quantization.prepare_qat(fused)
    assert type(prepared[1]) is nn.qat.LinearBnReLU1d
    for _ in range(3):
        prepared(x).sum().backward()
    converted = quantization.convert(prepared.eval())
    assert type(converted[1]) is nn.quantized.LinearReLU
    step = float(converted[1].scale)
    assert np.abs(converted(x).array - prepared(x).detach().array).max() <= 1.01 * step
    assert converted(x).array.min() >= 0
