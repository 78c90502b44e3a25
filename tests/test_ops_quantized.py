"""ops.quantized: torch's operators, and torch's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden.recorder import OPERATORS
from golden_vectors import cases

import nanoquant as nq
from nanoquant import QParams, QTensor
from nanoquant.backends import quantized as backend
from nanoquant.kernels import native
from nanoquant.ops import quantized as ops


def weights(arrays: dict[str, np.ndarray]) -> QTensor:
    axis = 0 if arrays["w_scale"].ndim else None
    return QTensor(arrays["w"], QParams(arrays["w_scale"], arrays["w_zero_point"], nq.qint8, axis))


def answer(options: dict[str, Any], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What we compute for a recorded case."""
    backend.engine = options["engine"]
    x = QTensor(arrays["x"], QParams(options["x_scale"], options["x_zero_point"]))
    output = (options["y_scale"], options["y_zero_point"])
    if options["kind"] == "linear":
        packed, run = (
            ops.linear_prepack(weights(arrays), arrays.get("bias")),
            ops.linear_relu if options["relu"] else ops.linear,
        )
    else:
        geometry = [options[name] for name in ("stride", "padding", "dilation", "groups")]
        packed = ops.conv2d_prepack(weights(arrays), arrays.get("bias"), *geometry)
        run = ops.conv2d_relu if options["relu"] else ops.conv2d
    return np.asarray(run(x, packed, *output).int_repr())


@pytest.mark.parametrize("kind", ["linear", "conv2d", "depthwise"])
@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack", "onednn"])
def test_static_layers_equal_torch_bit_for_bit(engine: str, kind: str) -> None:
    recorded = cases("onednn" if engine == "onednn" else "static")
    chosen = [c for c in recorded if (c[0]["engine"], c[0]["kind"]) == (engine, kind)]
    assert len(chosen) >= 20
    spread = set()
    for options, arrays in chosen:
        y = answer(options, arrays)
        assert np.array_equal(y, arrays["y"]), options
        spread.update(np.unique(y).tolist())
    assert len(spread) > 200, "the vectors exercise the whole range of outputs"


def test_ties_equal_torch() -> None:
    """Accumulators that land exactly between two integers: half to even, then the zero point; oneDNN adds it first."""
    for options, arrays in cases("ties") + cases("onednn_ties"):
        assert np.array_equal(answer(options, arrays), arrays["y"]), options


def test_dynamic_layers_equal_torch_bit_for_bit() -> None:
    for options, arrays in cases("dynamic") + cases("onednn_dynamic"):
        backend.engine = options["engine"]
        packed = ops.linear_prepack(weights(arrays), arrays.get("bias"))
        y = ops.linear_dynamic(arrays["x"], packed, options["reduce_range"])
        assert np.array_equal(y.array, arrays["y"]), options


def test_convolutions_equal_torch_bit_for_bit() -> None:
    """Signals, volumes, transposed ones."""
    backend.engine = "fbgemm"
    spread = set()
    for options, arrays in cases("convolutions"):
        kind, x = options["kind"], QTensor(arrays["x"], QParams(*options["x"]))
        packed = getattr(ops, f"{kind.removesuffix('_relu')}_prepack")(
            weights(arrays), arrays["bias"], *options["geometry"]
        )
        y = np.asarray(getattr(ops, kind)(x, packed, *options["y"]).int_repr())
        assert np.array_equal(y, arrays["y"]), options
        spread.update(np.unique(y).tolist())
    assert len(spread) > 200


def operator_answer(options: dict[str, Any], arrays: dict[str, np.ndarray], layout: str = "C") -> np.ndarray:
    """What our operator computes for a recorded case. layout: of the inputs, channels first or last ('last')."""
    name, dtype = options["op"], getattr(nq, options["dtype"])
    known = {**arrays, "S": options["y"][0], "Z": options["y"][1]}
    for key in ("a", "b"):
        if key in arrays:
            v = arrays[key].astype(dtype.storage)
            v = np.moveaxis(np.moveaxis(v, 1, -1).copy(), -1, 1) if layout == "last" else v
            known[key] = QTensor(v, QParams(*options[key], dtype))
    arguments = [known.get(v, v) if isinstance(v, str) else v for v in OPERATORS[name]]
    first = [known["a"], known["b"]] if name.startswith("cat") else known["a"]
    return np.asarray(getattr(ops, name)(first, *arguments).int_repr())


@pytest.mark.parametrize("layout", ["C", "last"])
def test_operators_equal_torch_bit_for_bit(layout: str) -> None:
    """All but averages whose exact value lies between two integers: there we round before the zero point is added."""
    seen = set()
    for options, arrays in cases("operators"):
        y = operator_answer(options, arrays, layout)
        seen.add(options["op"])
        if "exact" in arrays:
            tie = np.abs(np.abs(arrays["exact"] % 1) - 0.5) < 1e-9
            assert np.array_equal(y[tie].astype(int) - options["a"][1], np.rint(np.round(arrays["exact"][tie], 6)))
            y = np.where(tie, arrays["y"], y)
        assert np.array_equal(y, arrays["y"]), options
    assert seen == set(OPERATORS)


def test_the_engine_is_read_when_weights_are_packed() -> None:
    """Half an accumulator unit of bias, which only QNNPACK rounds away."""
    w = nq.quantize_per_tensor([[1.0]], 1.0, 0, nq.qint8)
    x = nq.quantize_per_tensor([[1.0]], 1.0, 0, nq.quint8)
    answers = {}
    for engine in backend.supported_engines:
        backend.engine = engine
        packed = ops.linear_prepack(w, [0.5])
        backend.engine = "qnnpack" if engine != "qnnpack" else "x86"
        answers[engine] = ops.linear(x, packed, 0.25, 0).int_repr().item()
    assert answers == {"qnnpack": 4, "fbgemm": 6, "x86": 6, "onednn": 6}


def test_int8_activations() -> None:
    """q in int8 with zero point z is q + 128 in uint8 with z + 128: the same real numbers, the same answers."""
    g = np.random.default_rng(0)
    q = g.integers(-128, 128, (5, 7)).astype(np.int8)
    w = nq.quantize_per_tensor(g.standard_normal((3, 7)), 0.02, 0, nq.qint8)
    packed = ops.linear_prepack(w, [0.1, -0.2, 0.3])
    signed = ops.linear(QTensor(q, QParams(0.1, -5, nq.qint8)), packed, 0.05, 7)
    unsigned = ops.linear(QTensor((q.astype(int) + 128).astype(np.uint8), QParams(0.1, 123)), packed, 0.05, 135)
    assert signed.dtype == nq.qint8
    assert np.array_equal(signed.dequantize().array, unsigned.dequantize().array)


def test_leading_axes_and_strides() -> None:
    g = np.random.default_rng(0)
    values = g.integers(0, 256, (6, 4, 10)).astype(np.uint8)
    packed = ops.linear_prepack(nq.quantize_per_tensor(g.standard_normal((3, 5)), 0.02, 0, nq.qint8))
    flat = ops.linear(
        QTensor(np.array(values[::-1, :, ::2]).reshape(-1, 5), QParams(0.1, 5)), packed, 0.1, 9
    ).int_repr()
    strided = ops.linear(QTensor(values[::-1, :, ::2], QParams(0.1, 5)), packed, 0.1, 9).int_repr()
    assert strided.shape == (6, 4, 3)
    assert np.array_equal(strided.array.reshape(-1, 3), flat.array)


def test_images_in_any_memory_order() -> None:
    g = np.random.default_rng(0)
    values = g.integers(0, 256, (2, 5, 6, 7)).astype(np.uint8)
    packed = ops.conv2d_prepack(nq.quantize_per_tensor(g.standard_normal((4, 5, 3, 3)), 0.02, 0, nq.qint8), padding=1)
    plain = ops.conv2d(QTensor(values, QParams(0.1, 5)), packed, 0.5, 9).int_repr().array
    last = np.asarray(values.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)
    assert np.array_equal(ops.conv2d(QTensor(last, QParams(0.1, 5)), packed, 0.5, 9).int_repr().array, plain)
    doubled = np.repeat(values, 2, axis=3)[:, :, :, ::2]
    assert np.array_equal(ops.conv2d(QTensor(doubled, QParams(0.1, 5)), packed, 0.5, 9).int_repr().array, plain)


def test_empty_batches() -> None:
    w = nq.quantize_per_tensor(np.ones((3, 5)), 0.02, 0, nq.qint8)
    packed = ops.linear_prepack(w, [1.0, 2.0, 3.0])
    assert ops.linear(nq.quantize_per_tensor(np.ones((0, 5)), 1.0, 0, nq.quint8), packed, 1.0, 0).shape == (0, 3)
    assert ops.linear_dynamic(np.ones((0, 5), np.float32), packed).shape == (0, 3)
    packed = ops.conv2d_prepack(nq.quantize_per_tensor(np.ones((3, 5, 1, 1)), 0.02, 0, nq.qint8))
    assert ops.conv2d(nq.quantize_per_tensor(np.ones((0, 5, 4, 4)), 1.0, 0, nq.quint8), packed, 1.0, 0).shape == (
        0,
        3,
        4,
        4,
    )


X, W = (
    nq.quantize_per_tensor(np.ones((1, 4)), 1.0, 0, nq.quint8),
    nq.quantize_per_tensor(np.ones((2, 4)), 1.0, 0, nq.qint8),
)
IMAGE = nq.quantize_per_tensor(np.ones((1, 4, 5, 5)), 1.0, 0, nq.quint8)
KERNEL = nq.quantize_per_tensor(np.ones((2, 4, 3, 3)), 1.0, 0, nq.qint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.linear_prepack(X), TypeError, r"must be a qint8 tensor with 2 axes.*got quint8 of shape \(1, 4\)"),
        (lambda: ops.linear_prepack(np.ones((2, 4))), TypeError, "got ndarray: make one with quantize_per_tensor"),
        (lambda: ops.linear_prepack(KERNEL), TypeError, "with 2 axes"),
        (lambda: ops.linear_prepack(W, [1.0]), ValueError, r"bias must have shape \(2,\)"),
        (
            lambda: ops.linear(np.ones((1, 4)), ops.linear_prepack(W), 1.0, 0),
            TypeError,
            "8-bit tensor with one scale; got ndarray",
        ),
        (
            lambda: ops.linear(IMAGE, ops.linear_prepack(W), 1.0, 0),
            ValueError,
            "have 4 input features; got an input of shape",
        ),
        (lambda: ops.linear(X, ops.linear_prepack(W), 0.0, 0), ValueError, "positive, normal and finite"),
        (lambda: ops.linear(X, ops.linear_prepack(W), 1e-39, 0), ValueError, "positive, normal and finite"),
        (
            lambda: ops.linear(X, ops.linear_prepack(W), 1.0, 256),
            ValueError,
            r"zero_point must be an integer in \[0, 255\]",
        ),
        (lambda: ops.linear_dynamic(X, ops.linear_prepack(W)), TypeError, "linear_dynamic: X must be float"),
        (lambda: ops.linear_dynamic([[1.0]], ops.linear_prepack(W)), ValueError, "have 4 input features"),
        (lambda: ops.linear_dynamic([[1, np.nan, 0, 0]], ops.linear_prepack(W)), ValueError, "NaN or infinity"),
        (lambda: ops.conv2d(X, ops.conv2d_prepack(KERNEL), 1.0, 0), ValueError, r"conv2d: .* \(batch, 4, height, w"),
        (
            lambda: ops.conv2d(IMAGE[:, :2], ops.conv2d_prepack(KERNEL), 1.0, 0),
            ValueError,
            r"must have shape \(batch, 4, .* got \(1, 2, 5, 5\)",
        ),
        (lambda: ops.conv2d(IMAGE[:, :, :2], ops.conv2d_prepack(KERNEL), 1.0, 0), ValueError, "input is too small"),
        (
            lambda: ops.conv2d_prepack(KERNEL, stride=(1, 2, 3)),
            ValueError,
            "stride must be one integer of at least 1, or 2",
        ),
        (lambda: ops.conv2d_prepack(KERNEL, groups=3), ValueError, "groups must divide"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_int32_weights_are_refused() -> None:
    q = nq.quantize_per_tensor(np.ones((2, 4)), 1.0, 0, nq.qint32)
    with pytest.raises(TypeError, match="got qint32"):
        ops.linear_prepack(q)
    with pytest.raises(TypeError, match="got qint32"):
        ops.linear(q, ops.linear_prepack(W), 1.0, 0)


def test_every_thread_count_agrees() -> None:
    before, results = native.get_num_threads(), []
    for threads in (1, 4):
        nq.set_num_threads(threads)
        assert nq.get_num_threads() == threads
        results.append(ops.conv2d(IMAGE, ops.conv2d_prepack(KERNEL), 0.5, 3).int_repr().array)
    nq.set_num_threads(before)
    assert np.array_equal(*results)
