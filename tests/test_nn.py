"""nn: float layers, for floats and for integers that pass through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant import nn
from nanoquant.errors import ModuleError
from nanoquant.nn import functional as F


def test_linear() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.array[:] = [[1, 2], [3, 4], [5, 6]]
    layer.bias.array[:] = [1, 0, -1]
    assert layer([[1.0, 1.0]]).tolist() == [[4, 7, 10]]
    assert layer(np.ones((2, 4, 2))).shape == (2, 4, 3)
    assert layer(np.ones((0, 2))).shape == (0, 3)


def test_conv2d_padding() -> None:
    """Every way to pad gives what NumPy's pad gives to an unpadded convolution."""
    nq.manual_seed(0)
    x = nq.randn(2, 4, 5, 6)
    modes = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    for mode, numpy_mode in modes.items():
        layer = nn.Conv2d(4, 6, (3, 2), padding=(2, 1), groups=2, padding_mode=mode)
        padded = np.pad(x.array, ((0, 0), (0, 0), (2, 2), (1, 1)), mode=numpy_mode)
        assert np.allclose(layer(x).array, F.conv2d(nq.Tensor(padded), layer.weight, layer.bias, groups=2).array, atol=1e-6)
    same = nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2))
    assert same(x).shape == (2, 6, 5, 6)
    assert same.borders() == ((1, 2), (2, 2))
    assert nn.Conv2d(4, 6, 3, padding="valid")(x).shape == (2, 6, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 2}, "groups must divide in_channels=3"),
        ({"stride": 0}, "must be at least 1"),
        ({"padding": "full"}, "'valid' or 'same'"),
        ({"padding": "same", "stride": 2}, "needs stride 1"),
        ({"padding_mode": "mirror"}, "must be one of zeros, reflect"),
        ({"kernel_size": (1, 2, 3)}, "kernel_size must be an integer or 2 of them"),
    ],
)
def test_conv2d_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3, **arguments})


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"images of shape \(batch, 3, height, width\); got \(1, 2, 5, 5\)"):
        nn.Conv2d(3, 4, 3)(nq.ones(1, 2, 5, 5))
    with pytest.raises(ValueError, match="2 x 5 with padding .* holds no kernel of 3 x 3"):
        nn.Conv2d(3, 4, 3)(nq.ones(1, 3, 2, 5))
    with pytest.raises(ValueError, match="has 3 input features"):
        nn.Linear(3, 4)(nq.ones(1, 2))
    with pytest.raises(ValueError, match=r"BatchNorm2d\(3\) takes 4 axes"):
        nn.BatchNorm2d(3)(nq.ones(1, 3))
    with pytest.raises(ValueError, match="more than one value per channel"):
        nn.BatchNorm1d(3)(nq.ones(1, 3))
    with pytest.raises(ValueError, match="logits"):
        nn.CrossEntropyLoss()(nq.ones(2, 3), np.ones(2))
    with pytest.raises(ValueError, match="one shape"):
        nn.MSELoss()(nq.ones(2, 3), np.ones(2))
    with pytest.raises(ValueError, match="p is a probability"):
        nn.Dropout(2)


def test_batch_norm_learns_statistics() -> None:
    nq.manual_seed(0)
    bn, x = nn.BatchNorm2d(3, momentum=0.1), nq.randn(8, 3, 4, 4) * 3 + 2
    y = bn(x)
    assert np.allclose(y.array.mean((0, 2, 3)), 0, atol=1e-5)
    assert np.allclose(y.array.std((0, 2, 3)), 1, atol=1e-3)
    assert np.allclose(bn.running_mean, 0.1 * x.array.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(bn.running_var, 0.9 + 0.1 * x.array.var((0, 2, 3), ddof=1), atol=1e-5)
    assert bn.num_batches_tracked == 1
    before = bn.running_mean.copy()
    bn.eval()
    expected = (x.array - before.reshape(3, 1, 1)) / np.sqrt(bn.running_var.reshape(3, 1, 1) + 1e-5)
    assert np.allclose(bn(x).array, expected, atol=1e-5)
    assert np.array_equal(bn.running_mean, before)


def test_dropout() -> None:
    nq.manual_seed(0)
    x, layer = nq.ones(10_000), nn.Dropout(0.25)
    y = layer(x).array
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x
    assert not nn.Dropout(1.0)(x).array.any()


def test_sequential() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).append(nn.Linear(3, 1))
    assert len(model) == 3
    assert isinstance(model[-1], nn.Linear)
    assert [type(m).__name__ for m in model[1:]] == ["ReLU", "Linear"]
    model[1] = nn.Identity()
    assert isinstance(model[1], nn.Identity)


# ---- integers through float layers that leave a scale alone ----------------------------------------------------------


@given(strategies.seeds, st.sampled_from([nq.quint8, nq.qint8]))
def test_integers_commute_with_what_leaves_the_order_alone(seed: int, dtype: nq.QDType) -> None:
    """relu, max pooling and reshaping give the same whether one quantizes before or after."""
    x = np.random.default_rng(seed).standard_normal((2, 3, 6, 4)).astype(np.float32)
    zero_point = int(np.random.default_rng(seed).integers(dtype.quant_min, dtype.quant_max + 1))
    quantize = lambda v: nq.quantize_per_tensor(v, 0.05, zero_point, dtype)  # noqa: E731
    for layer in (nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1), nn.Flatten(), nn.Identity(), nn.Dropout().eval()):
        got, expected = layer(quantize(x)), quantize(layer(nq.Tensor(x)).array)
        assert got.shape == expected.shape
        assert np.array_equal(got.int_repr().array, expected.int_repr().array), layer


@given(strategies.seeds)
def test_integer_averages_round_half_to_even(seed: int) -> None:
    g = np.random.default_rng(seed)
    values = g.integers(0, 256, (2, 3, 6, 5)).astype(np.uint8)
    q = nq.QTensor(values, nq.QParams(0.1, 77))
    pooled = nn.AvgPool2d((2, 3), stride=(1, 2), padding=(1, 0))(q).int_repr().array
    padded = np.pad(values.astype(int) - 77, ((0, 0), (0, 0), (1, 1), (0, 0)))
    for n, c, i, j in np.ndindex(pooled.shape):
        total = int(padded[n, c, i : i + 2, 2 * j : 2 * j + 3].sum())
        assert pooled[n, c, i, j] == round(total / 6) + 77
    totals = (values.astype(int) - 77).sum((2, 3))
    for y in (nn.AdaptiveAvgPool2d(1)(q).flatten(1), q.mean((2, 3))):
        assert np.array_equal(y.int_repr().array, [[round(int(t) / 30) + 77 for t in row] for row in totals])


def test_adaptive_pooling_keeps_sizes() -> None:
    x = nq.randn(1, 2, 5, 7)
    assert nn.AdaptiveAvgPool2d((None, 3))(x).shape == (1, 2, 5, 3)
    assert np.allclose(nn.AdaptiveAvgPool2d((5, 7))(x).array, x.array)


@pytest.mark.parametrize("layer", [nn.Linear(4, 2), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(4)])
def test_a_float_layer_that_meets_integers_says_what_is_missing(layer: nn.Module) -> None:
    q = nq.quantize_per_tensor(np.zeros((1, 4, 1, 1)), 1.0, 0, nq.quint8)
    with pytest.raises(ModuleError, match=r"^1 \(.*a float layer received a quantized tensor.*DeQuantStub.*qconfig"):
        nn.Sequential(nn.Identity(), layer)(q)
