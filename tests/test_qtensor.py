"""qtensor: integers and what they mean."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import QParams, QTensor, nn
from nanoquant.kernels.elementwise import swap_axes


def image() -> QTensor:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    return nq.quantize_per_tensor(x, 0.5, 10, nq.quint8)


def test_what_it_says_of_itself() -> None:
    q = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 3, nq.qint8)
    assert (q.q_scale(), q.q_zero_point(), q.qscheme(), q.dtype) == (0.5, 3, nq.per_tensor_affine, nq.qint8)
    assert (q.shape, q.size(1), q.dim(), q.ndim, q.numel(), q.element_size(), len(q)) == ((1, 2), 2, 2, 2, 2, 1, 1)
    assert not q.requires_grad
    assert repr(q) == "tensor([[1., 2.]], size=(1, 2), dtype=qint8, per_tensor_affine, scale=0.5, zero_point=3)"


def test_what_it_says_per_channel() -> None:
    q = nq.quantize_per_channel([[1.0], [2.0]], [0.5, 0.25], [0, 1], 0, nq.qint8)
    assert q.qscheme() == nq.per_channel_affine
    assert q.q_per_channel_scales().tolist() == [0.5, 0.25]
    assert q.q_per_channel_zero_points().tolist() == [0, 1]
    assert q.q_per_channel_axis() == 0
    assert q.int_repr().tolist() == [[2], [9]]
    assert q.dequantize().tolist() == [[1.0], [2.0]]
    assert "scale=[0.5 , 0.25], zero_point=[0, 1], axis=0" in repr(q)
    with pytest.raises(RuntimeError, match=r"quantized per channel; ask for q_per_channel_scales\(\)"):
        q.q_scale()
    with pytest.raises(RuntimeError, match=r"quantized per tensor; ask for q_scale\(\)"):
        image().q_per_channel_scales()


def test_integers_are_a_view() -> None:
    q = image()
    assert np.shares_memory(np.asarray(q.int_repr()), q.values)


def test_an_image_has_its_channels_last_in_memory() -> None:
    q = image()
    assert q.shape == (2, 3, 4, 5)
    assert q.values.strides == (60, 1, 15, 3)
    assert q.channels_last().flags.c_contiguous
    assert np.shares_memory(q.channels_last(), q.values)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)])
def test_kernels_see_what_is_written_to_the_integers(order: tuple[int, ...]) -> None:
    q = image()
    q = QTensor(np.ascontiguousarray(q.values.transpose(order)).transpose(np.argsort(order)), q.qparams)
    for use in (q, q.relu()):
        before = use.relu()
        use.values[0, 1, 2, 3] = 200
        assert before.values[0, 1, 2, 3] < 200
        assert use.relu().values[0, 1, 2, 3] == nq.nn.functional.max_pool2d(use, 1).values[0, 1, 2, 3] == 200
        assert np.array_equal(use.dequantize(), (use.values.astype(np.float32) - 10) / 2)


def test_a_copy_has_memory_of_its_own() -> None:
    q = image().relu()
    for twin in (copy.deepcopy(q), pickle.loads(pickle.dumps(q))):
        twin.values[:] = 7
        assert (twin.dequantize().array == -1.5).all()
        assert (q.relu().values >= 10).all()


def test_shape_methods_follow_the_logical_order() -> None:
    q = image()
    values = np.asarray(q.int_repr())
    assert np.array_equal(q.flatten(1).int_repr(), values.reshape(2, -1))
    assert np.array_equal(q.view(6, -1).int_repr(), values.reshape(6, -1))
    assert np.array_equal(q.reshape((3, 2, 20)).int_repr(), values.reshape(3, 2, 20))
    assert np.array_equal(q.permute(1, 0, 3, 2).int_repr(), values.transpose(1, 0, 3, 2))
    assert np.array_equal(q.transpose(0, 1).int_repr(), values.swapaxes(0, 1))
    assert np.array_equal(q[:, 1, ::2].int_repr(), values[:, 1, ::2])
    assert q.max().dequantize().item() == q.dequantize().max().item()
    assert q.clone().values is not q.values
    assert q.relu().int_repr().min().item() >= 10


def test_dtypes_and_shapes_are_checked() -> None:
    with pytest.raises(TypeError, match="quint8 integers are stored as uint8; got int64"):
        QTensor(np.zeros(3, np.int64), QParams(1.0, 0))
    with pytest.raises(ValueError, match=r"scales of shape \(2,\) on axis 0 do not fit an array of shape \(3,\)"):
        QTensor(np.zeros(3, np.uint8), QParams([1.0, 1.0], [0, 0], axis=0))


def test_it_has_no_arithmetic_and_says_why() -> None:
    q = image()
    for operation in (lambda: q + q, lambda: 2 * q, lambda: q - 1, lambda: q / 2, lambda: q @ q, lambda: -q, lambda: q**2):
        with pytest.raises(TypeError, match="the result needs a scale of its own"):
            operation()
    with pytest.raises(TypeError, match=r"call dequantize\(\) for its real values or int_repr\(\)"):
        np.asarray(q)


def test_empty_and_scalar() -> None:
    for shape in ((0,), (0, 3, 4, 4), (), (2, 0)):
        q = nq.quantize_per_tensor(np.zeros(shape), 1.0, 7, nq.quint8)
        assert q.shape == q.dequantize().shape == shape


def test_going_backward_through_integers_is_an_error() -> None:
    x = nq.ones(2, requires_grad=True)
    y = nq.quantize_per_tensor(x * 2, 0.5, 0, nq.quint8).relu().dequantize()
    assert y.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="backward through an int8 module.*QAT twin"):
        y.sum().backward()
    assert not nq.quantize_per_tensor(x, 0.5, 0, nq.quint8).detach().dequantize().requires_grad


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 7, 9), (2, 5, 1, 1), (1, 20, 30, 30), (0, 3, 4, 4), (2, 3, 0, 4)])
@pytest.mark.parametrize("dtype", [nq.quint8, nq.qint32])
def test_images_are_quantized_in_any_order(shape: tuple[int, ...], dtype: nq.QDType) -> None:
    x = np.random.default_rng(0).uniform(-1, 8, shape).astype(np.float32)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for given in (x, last):
        q = nq.quantize_per_tensor(given, 0.1, 10, dtype)
        assert np.array_equal(q.values, np.rint(x * (1 / np.float32(0.1))) + 10)
        assert q.values.transpose(0, 2, 3, 1).flags.c_contiguous
        assert np.array_equal(q.channels_last(), q.values.transpose(0, 2, 3, 1))
        assert np.array_equal(q.reshape(-1).reshape(shape).channels_last(), q.values.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("dtype", [nq.quint8, nq.qint8, nq.qint32])
def test_clamps_are_those_of_the_ends_integers(dtype: Any) -> None:
    x = np.linspace(-9, 9, 61, dtype=np.float32)
    q = nq.quantize_per_tensor(x, 0.1, 0 if dtype.signed else 100, dtype)
    for got, ends in (
        (nn.ReLU6()(q), (0, 6)),
        (nn.functional.relu6(q), (0, 6)),
        (nn.Hardtanh(-2, 3)(q), (-2, 3)),
        (nn.functional.hardtanh(q, max_val=0.5), (-1, 0.5)),
        (q.clamp(max=0.25), (-np.inf, 0.25)),
    ):
        wanted = np.clip(q.dequantize().array, *(np.rint(end / 0.1) * 0.1 for end in ends))
        np.testing.assert_allclose(got.dequantize().array, wanted, atol=1e-6)
        assert got.qparams is q.qparams
    with pytest.raises(ValueError, match="clamp: give min, max or both"):
        q.clamp()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 9, 16])
def test_channels_move_to_their_place(channels: int) -> None:
    g = np.random.default_rng(channels)
    for pixels in (0, 1, 7, 8, 9, 31, 511, 512, 513, 1031, 88_000):
        x = g.integers(0, 256, (2, channels, pixels)).astype(np.uint8)
        y = swap_axes(x)
        assert np.array_equal(y, x.transpose(0, 2, 1))
        assert np.array_equal(swap_axes(y), x)
