"""ops.quantized: torch's operators, and torch's answers."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from golden.recorder import OPERATORS
from golden_vectors import cases

import nanoquant as nq
from nanoquant import QParams, QTensor
from nanoquant.backends import quantized as backend
from nanoquant.kernels import native
from nanoquant.kernels.grid import Grid
from nanoquant.kernels.packed import Output, PackedWeights
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


def test_fbgemms_bias_is_fused() -> None:
    """Next to ties: torch's integers are those of one rounding of bias * (1 / a) + acc, and not always those of two."""
    differ = 0
    for options, arrays in cases("fused_bias"):
        y, acc = arrays["y"], (arrays["x"].astype(np.float32) - 128) * arrays["w"].T
        assert np.array_equal(answer(options, arrays), y), options
        a = np.float32(options["x_scale"]) * arrays["w_scale"]
        twice = (acc + arrays["bias"] * (1 / a)) * (a / np.float32(options["y_scale"]))
        low = options["y_zero_point"] if options["relu"] else 0
        differ += (np.clip(np.rint(twice) + options["y_zero_point"], low, 255) != y).sum()
    assert differ > 10


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
        packed = getattr(ops, f"{kind.removesuffix('_relu')}_prepack")(weights(arrays), arrays["bias"], *options["geometry"])
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
    assert compare_operators(layout) == 0


def compare_operators(layout: str) -> int:
    """How many integers differ, never by more than a step; 0 in the recorded cases.

    Not compared are averages whose exact value lies between two integers: there we round before the zero point is added.
    """
    seen, differing = set(), 0
    for options, arrays in cases("operators"):
        y = operator_answer(options, arrays, layout)
        seen.add(options["op"])
        if "exact" in arrays:
            tie = np.abs(np.abs(arrays["exact"] % 1) - 0.5) < 1e-9
            assert np.array_equal(y[tie].astype(int) - options["a"][1], np.rint(np.round(arrays["exact"][tie], 6)))
            y = np.where(tie, arrays["y"], y)
        assert np.abs(y.astype(int) - arrays["y"]).max() <= 1, options
        differing += int((y != arrays["y"]).sum())
    assert seen == set(OPERATORS)
    return differing


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
    flat = ops.linear(QTensor(np.array(values[::-1, :, ::2]).reshape(-1, 5), QParams(0.1, 5)), packed, 0.1, 9).int_repr()
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
    assert ops.conv2d(nq.quantize_per_tensor(np.ones((0, 5, 4, 4)), 1.0, 0, nq.quint8), packed, 1.0, 0).shape == (0, 3, 4, 4)


# ---- layouts, shapes, grids --------------------------------------------------------------------------------------------


def drawn(g: np.random.Generator, shape: tuple[int, ...], last: bool = False, dtype: Any = nq.quint8) -> QTensor:
    """Integers of a random grid, in either memory order."""
    low = dtype.quant_min
    values = g.integers(low, low + 256, shape).astype(dtype.storage)
    if last:
        values = np.moveaxis(np.moveaxis(values, 1, -1).copy(), -1, 1)
    return QTensor(values, QParams(g.uniform(0.01, 0.1), int(g.integers(low, low + 256)), dtype))


def exactly(q: QTensor) -> np.ndarray:
    """The reals that the integers mean, in float64, where sums and products of two are exact enough."""
    return (q.values.astype(np.float64) - q.q_zero_point()) * q.q_scale()


@pytest.mark.parametrize("dtype", [nq.quint8, nq.qint8], ids=str)
@pytest.mark.parametrize(
    "shapes", [((3, 4), (3, 4)), ((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)), ((4,), ()), ((0, 4), (1, 4))]
)
@pytest.mark.parametrize("last", [False, True])
def test_sums_and_products_in_any_layout(shapes: Any, last: bool, dtype: Any) -> None:
    """Of grids, orders and shapes that differ: within rounding of the exact result, and right where it is not near a tie."""
    g = np.random.default_rng(0)
    a, b = drawn(g, shapes[0], last and len(shapes[0]) > 2, dtype), drawn(g, shapes[1], False, dtype)
    for name, exact in (("add", exactly(a) + exactly(b)), ("mul", exactly(a) * exactly(b))):
        for x, y in ((a, b), (b, a)):
            z = getattr(ops, name)(x, y, 0.05, 7)
            steps = exact / z.q_scale()
            clear = np.abs(np.abs(steps % 1) - 0.5) > 1e-3
            expected = np.clip(np.rint(steps) + 7, dtype.quant_min, dtype.quant_max)
            assert z.dtype == dtype
            assert np.array_equal(z.values[clear], expected[clear])
            relu = getattr(ops, name + "_relu")(x, y, 0.05, 7)
            assert np.array_equal(relu.values, np.maximum(z.values, 7))


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("last", [False, True])
def test_concatenation_along_any_axis(axis: int, last: bool) -> None:
    """Parts already on the output's grid are copied, others requantized; orders in memory may differ."""
    g = np.random.default_rng(0)
    shapes = [[2, 3, 4, 5] for _ in range(3)]
    for i, shape in enumerate(shapes):
        shape[axis] = i + 1
    parts = [drawn(g, tuple(shape), last != (i == 1)) for i, shape in enumerate(shapes)]
    y = ops.cat(parts, axis - 4)
    assert np.array_equal(np.take(y.values, [0], axis), parts[0].values)
    expected = [ops.requantize(p, y.q_scale(), y.q_zero_point()).values for p in parts]
    assert np.array_equal(y.values, np.concatenate(expected, axis))
    relu = ops.cat_relu(parts, axis)
    assert np.array_equal(relu.values, np.maximum(y.values, y.q_zero_point()))


def test_requantize_is_dequantize_and_quantize() -> None:
    x = drawn(np.random.default_rng(0), (2, 3, 4, 5), last=True)
    y = ops.requantize(x, 0.03, 11)
    assert np.array_equal(y.values, nq.quantize_per_tensor(x.dequantize(), 0.03, 11, nq.quint8).values)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "hardsigmoid", "hardswish", "leaky_relu", "elu"])
def test_tables_keep_layout_and_shape(name: str) -> None:
    g = np.random.default_rng(0)
    numbers = {"leaky_relu": (0.2, False)}.get(name, ()), {"elu": (0.5, 1.5, 0.7)}.get(name, ())
    run = lambda x: getattr(ops, name)(x, *numbers[0], 0.01, 100, *numbers[1])  # noqa: E731
    x = drawn(g, (2, 3, 4, 5), last=True)
    flat = run(QTensor(np.arange(256, dtype=np.uint8), x.qparams))
    assert np.array_equal(run(x).values, flat.values[x.values])
    assert run(QTensor(x.values[:, :, ::2, 1:], x.qparams)).shape == (2, 3, 2, 4)
    assert run(x[0, 0, 0, 0]).values == flat.values[x.values[0, 0, 0, 0]]


@pytest.mark.parametrize(("low", "high"), [(-0.5, None), (None, 0.7), (-0.3, 0.6)])
def test_clamps_are_clamps_of_integers(low: float | None, high: float | None) -> None:
    x = drawn(np.random.default_rng(0), (2, 3, 4, 5), last=True)
    quantized = lambda v: nq.quantize_per_tensor([v], x.q_scale(), x.q_zero_point(), x.dtype).values[0]  # noqa: E731
    expected = np.clip(x.values, None if low is None else quantized(low), None if high is None else quantized(high))
    assert np.array_equal(ops.clamp(x, low, high).values, expected)
    assert np.array_equal(ops.relu6(x).values, ops.clamp(x, 0.0, 6.0).values)


@pytest.mark.parametrize("dim", [None, 0, -1, (1, 2), [2, 3], (0, 1, 2, 3), (0, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_means_are_exact(dim: Any, last: bool) -> None:
    x = drawn(np.random.default_rng(0), (2, 3, 4, 6), last)
    axes = tuple(dim) if isinstance(dim, list) else dim
    for keepdim in (False, True):
        steps = (x.values.astype(np.int64) - x.q_zero_point()).mean(axis=axes, keepdims=keepdim)
        y = ops.mean(x, dim, keepdim)
        assert np.array_equal(y.values, np.rint(steps) + x.q_zero_point())
        assert y.qparams is x.qparams


def test_grouped_transposed_convolution_is_the_transpose() -> None:
    """<conv(x), y> = <x, conv_transpose(y)>: with one scale of 1 and zero points 0, in integers."""
    g = np.random.default_rng(0)
    unit = lambda values, dtype: QTensor(values.astype(dtype.storage), QParams(1.0, 0, dtype))  # noqa: E731
    w = unit(g.integers(-1, 2, (4, 3, 3, 2)), nq.qint8)  # conv: 6 -> 4 channels; transposed: 4 -> 6
    x, y = unit(g.integers(0, 2, (1, 6, 7, 8)), nq.qint8), unit(g.integers(0, 2, (1, 4, 4, 4)), nq.qint8)
    geometry = {"stride": (2, 2), "padding": (1, 0), "groups": 2}
    forward = ops.conv2d(x, ops.conv2d_prepack(w, **geometry), 1.0, 0).values.astype(int)
    back = ops.conv_transpose2d(y, ops.conv_transpose2d_prepack(w, **geometry), 1.0, 0).values.astype(int)
    assert forward.shape == y.shape
    assert back.shape == (1, 6, 7, 8)
    assert (forward * y.values).sum() == (x.values * back).sum() != 0


def test_softmax_and_layer_norm_along_axes() -> None:
    x = drawn(np.random.default_rng(0), (2, 3, 4, 5), last=True)
    y = ops.softmax(x, 1, 1 / 256, 0)
    assert np.array_equal(y.values, ops.softmax(x.permute(0, 2, 3, 1), 3, 1 / 256, 0).permute(0, 3, 1, 2).values)
    real = np.exp(exactly(x) - exactly(x).max(1, keepdims=True))
    assert np.abs(y.values - np.minimum(256 * real / real.sum(1, keepdims=True), 255)).max() <= 0.51
    y = ops.layer_norm(x, (4, 5), None, None, 1e-5, 0.02, 128)
    real = exactly(x) - exactly(x).mean((2, 3), keepdims=True)
    expected = np.clip(real / np.sqrt((real**2).mean((2, 3), keepdims=True) + 1e-5) / y.q_scale() + 128, 0, 255)
    assert np.abs(y.values - expected).max() <= 0.51


@pytest.mark.parametrize("kind", ["batch_norm", "batch_norm1d", "batch_norm2d", "batch_norm3d"])
def test_batch_norms_take_their_shapes(kind: str) -> None:
    g = np.random.default_rng(0)
    weight, bias, mean, var = g.standard_normal((4, 3)).astype(np.float32)
    ndims = {"batch_norm": (2, 3, 4, 5), "batch_norm1d": (2, 3), "batch_norm2d": (4,), "batch_norm3d": (5,)}[kind]
    for ndim in range(2, 6):
        x = drawn(g, (2, 3, 4, 2, 5)[:ndim], last=True)
        arguments = (weight, bias, mean, np.abs(var), 1e-5, 0.03, 100)
        if ndim not in ndims:
            with pytest.raises(ValueError, match=rf"{kind}_relu: the input must have .* axes; got \(2, 3"):
                getattr(ops, kind + "_relu")(x, *arguments)
            continue
        y = getattr(ops, kind)(x, *arguments)
        column = (-1, *(1,) * (ndim - 2))
        real = (exactly(x) - mean.reshape(column)) / np.sqrt(np.abs(var) + 1e-5).reshape(column)
        expected = np.clip((real * weight.reshape(column) + bias.reshape(column)) / y.q_scale() + 100, 0, 255)
        assert np.abs(y.values - expected).max() <= 0.51
        assert np.array_equal(getattr(ops, kind + "_relu")(x, *arguments).values, np.maximum(y.values, 100))


def test_functions_and_operators_share_their_answers() -> None:
    """Layers on integers run what ops.quantized runs."""
    x = drawn(np.random.default_rng(0), (2, 3, 6, 5), last=True)
    pairs = (
        (nq.nn.functional.max_pool2d(x, 3, 2, 1), ops.max_pool2d(x, 3, 2, 1)),
        (nq.nn.functional.avg_pool2d(x, (2, 1)), ops.avg_pool2d(x, (2, 1))),
        (nq.nn.functional.adaptive_avg_pool2d(x, (None, 2)), ops.adaptive_avg_pool2d(x, (None, 2))),
        (x.mean((2, 3)), ops.mean(x, [2, 3])),
    )
    assert all(np.array_equal(a.values, b.values) for a, b in pairs)


# ---- the boundary ------------------------------------------------------------------------------------------------------


def test_equal_scales_are_one_object() -> None:
    packed = ops.linear_prepack(W)
    first, again = ops.linear(X, packed, 0.5, 3), ops.linear(X, packed, np.float64(0.5), np.int64(3))
    assert first.qparams is again.qparams
    assert ops.linear(X, packed, np.float32([0.5]), np.array(3)).qparams is first.qparams
    with pytest.raises(ValueError, match=r"one scale and one zero_point; got shapes \(2,\)"):
        ops.linear(X, packed, np.float32([0.5, 1]), 3)
    with pytest.raises(ValueError, match="zero_point must be an integer"):
        ops.linear(X, packed, 0.5, 3.5)


def test_a_call_seen_before_is_checked_where_it_could_do_harm() -> None:
    packed = PackedWeights(np.ones((2, 4, 1, 1), np.int8), np.float32(1), np.int64(0))
    x, given, wanted = np.ones((3, 4), np.uint8), Grid(1.0, 0), Output(1.0)
    for _ in range(2):
        assert (packed.linear(x, given, wanted) == 4).all()
        for wrong in (x.astype(np.int8), np.ones((3, 8), np.uint8)[:, ::2]):
            with pytest.raises(ValueError, match="x must be a C-contiguous uint8 array"):
                packed.linear(wrong, given, wanted)
        locked = np.empty((3, 2), np.uint8)
        locked.flags.writeable = False
        for out in (locked, np.empty((2, 3), np.uint8), np.empty((3, 2), np.int8), np.empty((3, 4), np.uint8)[:, ::2]):
            with pytest.raises(ValueError, match="out must be a C-contiguous uint8 array"):
                packed.linear(x, given, wanted, out)
    kernel = PackedWeights(np.ones((2, 4, 3, 3), np.int8), np.float32(1), np.int64(0), padding=(5, 5))
    with pytest.raises(ValueError, match="are a convolution's: call conv"):
        kernel.linear(x, given, wanted)


def test_more_shapes_than_are_kept() -> None:
    packed = ops.linear_prepack(W)
    for rows in [*range(2 * PackedWeights.CALLS_KEPT), 1]:
        y = ops.linear(QTensor(np.full((rows, 4), 2, np.uint8), QParams(1.0, 0)), packed, 1.0, 0)
        assert y.shape == (rows, 2)
        assert (y.values == 8).all()


def test_packed_weights_are_pickled_and_copied_without_their_calls() -> None:
    packed = ops.conv2d_prepack(KERNEL, [1.0, 2.0], padding=1)
    before = ops.conv2d(IMAGE, packed, 0.5, 3)
    for twin in (pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)):
        assert np.array_equal(ops.conv2d(IMAGE, twin, 0.5, 3).values, before.values)


def test_the_environment_is_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = ops.linear_prepack(W)
    for name in [*native.available_isas(), "ref"]:
        monkeypatch.setenv("NANOQUANT_ISA", name)
        ops.linear(X, packed, 1.0, 0)
        assert native.isa_number(name) in packed._packed
    monkeypatch.setenv("NANOQUANT_ISA", "sse9")
    with pytest.raises(ValueError, match="'sse9' .* is unknown"):
        ops.linear(X, packed, 1.0, 0)


X, W = (nq.quantize_per_tensor(np.ones((1, 4)), 1.0, 0, nq.quint8), nq.quantize_per_tensor(np.ones((2, 4)), 1.0, 0, nq.qint8))
IMAGE = nq.quantize_per_tensor(np.ones((1, 4, 5, 5)), 1.0, 0, nq.quint8)
KERNEL = nq.quantize_per_tensor(np.ones((2, 4, 3, 3)), 1.0, 0, nq.qint8)
TRANSPOSED = ops.conv_transpose2d_prepack(KERNEL)


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
        (lambda: ops.linear(IMAGE, ops.linear_prepack(W), 1.0, 0), ValueError, "has 4 input features; got an input with"),
        (lambda: ops.linear(X, ops.linear_prepack(W), 0.0, 0), ValueError, "positive, normal and finite"),
        (lambda: ops.linear(X, ops.linear_prepack(W), 1e-39, 0), ValueError, "positive, normal and finite"),
        (lambda: ops.linear(X, ops.linear_prepack(W), 1.0, 256), ValueError, r"zero_point must be an integer in \[0, 255\]"),
        (lambda: ops.linear_dynamic(X, ops.linear_prepack(W)), TypeError, "linear_dynamic: X must be float"),
        (lambda: ops.linear_dynamic([[1.0]], ops.linear_prepack(W)), ValueError, "has 4 input features"),
        (lambda: ops.linear_dynamic([[1, np.nan, 0, 0]], ops.linear_prepack(W)), ValueError, "NaN or infinity"),
        (lambda: ops.conv2d(X, ops.conv2d_prepack(KERNEL), 1.0, 0), ValueError, r"conv2d: .* \(batch, 4, height, w"),
        (
            lambda: ops.conv2d(IMAGE[:, :2], ops.conv2d_prepack(KERNEL), 1.0, 0),
            ValueError,
            r"must have shape \(batch, 4, .* got \(1, 2, 5, 5\)",
        ),
        (lambda: ops.conv2d(IMAGE[:, :, :2], ops.conv2d_prepack(KERNEL), 1.0, 0), ValueError, "input is too small"),
        (lambda: ops.conv2d_prepack(KERNEL, stride=(1, 2, 3)), ValueError, "stride must be one integer of at least 1, or 2"),
        (lambda: ops.conv2d_prepack(KERNEL, groups=3), ValueError, "groups must divide"),
        (lambda: ops.conv1d_prepack(KERNEL), TypeError, "conv1d_prepack: weight must be a qint8 tensor with 3 axes"),
        (lambda: ops.conv1d_relu(IMAGE, ops.conv2d_prepack(KERNEL), 1.0, 0), TypeError, "call conv1d_prepack"),
        (lambda: ops.conv2d(IMAGE, TRANSPOSED, 1.0, 0), TypeError, "conv2d: these are another layer's"),
        (lambda: ops.conv_transpose2d_prepack(KERNEL, groups=3), ValueError, "divide the 2 input channels.* got 3"),
        (lambda: ops.add(X, IMAGE[:, :3], 1.0, 0), ValueError, r"add: shapes \(1, 4\) and \(1, 3, 5, 5\) do not"),
        (lambda: ops.mul_relu(X, W, 1.0, 0), TypeError, "mul_relu: both inputs must have one dtype; got quint8 and qint8"),
        (lambda: ops.add(X, 1.0, 1.0, 0), TypeError, "add: the input must be an 8-bit tensor.*got float"),
        (lambda: ops.cat([]), ValueError, "cat: give at least one"),
        (lambda: ops.cat([X, IMAGE]), ValueError, r"the same sizes but on axis 0; got quint8 \(1, 4\), quint8 \(1, 4, 5"),
        (lambda: ops.clamp(X), ValueError, "clamp: give min, max or both"),
        (lambda: ops.sigmoid(X, 0.0, 0), ValueError, "positive, normal and finite"),
        (lambda: ops.max_pool2d(X, 2), ValueError, r"max_pool2d: the input must have shape \(batch, channels, height"),
        (lambda: ops.avg_pool2d(np.ones((1, 1, 4, 4)), 2), TypeError, "avg_pool2d: the input must be an 8-bit tensor"),
        (lambda: ops.max_pool2d(IMAGE, 9), ValueError, "holds no window"),
        (lambda: ops.batch_norm2d(IMAGE, None, None, [0.0], [1.0] * 4, 1e-5, 1.0, 0), ValueError, r"mean .* \(4,\)"),
        (lambda: ops.layer_norm(X, [5], None, None, 1e-5, 1.0, 0), ValueError, r"normalized_shape=\(5,\); got \(1, 4\)"),
        (lambda: ops.layer_norm(X, [4], None, None, 0.0, 1.0, 0), ValueError, "eps must be positive"),
        (lambda: ops.softmax(X, 2, 1.0, 0), ValueError, r"softmax: dim 2 is out of range .* \(1, 4\)"),
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
