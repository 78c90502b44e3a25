"""Records what PyTorch computes into the .npz files of this folder, so that the suite can compare without PyTorch.

    python tests/golden/record.py [name]     with torch==2.13.0 installed, on an x86-64 CPU with AVX-512 VNNI

Inputs are drawn from a seeded generator, so that a second recording gives the same files. `record_runtimes.py` records
the other runtimes, `recorder.py` describes the files.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.ao.quantization as taq
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

sys.path.insert(0, str(Path(__file__).parent))
from recorder import OPERATORS, F, Recorder, halfway

quantized = torch.ops.quantized


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def quantized_weights(g: np.random.Generator, shape: tuple[int, ...], per_channel: bool, asymmetric: bool) -> torch.Tensor:
    channels = shape[0] if per_channel else 1
    scale = g.uniform(0.005, 0.05, channels).astype(F)
    zero_point = g.integers(-12, 13, channels) if asymmetric else np.zeros(channels, np.int64)
    values = tensor(g.integers(-128, 128, shape).astype(np.int8))
    if per_channel:
        return torch._make_per_channel_quantized_tensor(values, tensor(scale.astype(np.float64)), tensor(zero_point), 0)
    return torch._make_per_tensor_quantized_tensor(values, float(scale[0]), int(zero_point[0]))


def weight_arrays(w: torch.Tensor) -> dict[str, Any]:
    per_channel = w.qscheme() == torch.per_channel_affine
    scale = w.q_per_channel_scales().numpy() if per_channel else np.array(w.q_scale())
    zero_point = w.q_per_channel_zero_points().numpy() if per_channel else np.array(w.q_zero_point())
    return {"w": w.int_repr().numpy(), "w_scale": scale.astype(F), "w_zero_point": zero_point}


def output_scale(g: np.random.Generator, w: torch.Tensor, x_scale: float) -> float:
    """A scale that spreads the outputs over the integers."""
    per_channel = w.qscheme() == torch.per_channel_affine
    w_scale = float(w.q_per_channel_scales().mean()) if per_channel else w.q_scale()
    fan_in = w[0].numel()
    return float(F(x_scale * w_scale * 74 * 74 * fan_in**0.5 / 50 * g.uniform(0.3, 2)))


def halfway_bias(g: np.random.Generator, w: torch.Tensor, x: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """A bias that brings one pixel's outputs midway between two integers."""
    real_x, real_w = tensor(x.astype(np.float64) - options["x_zero_point"]), w.int_repr().double()
    if options["kind"] == "linear":
        acc = (real_x @ real_w.T)[0].numpy()
    else:
        geometry = (options["stride"], options["padding"], options["dilation"], options["groups"])
        acc = torch.nn.functional.conv2d(real_x, real_w, None, *geometry)[0, :, 0, 0].numpy()
    target = halfway(g, acc, options["y_zero_point"])
    return (target * options["y_scale"] - acc * options["x_scale"] * weight_arrays(w)["w_scale"]).astype(F)


def record_static(
    g: np.random.Generator, name: str = "static", engines: tuple[str, str] = ("fbgemm", "qnnpack"), count: int = 160
) -> None:
    """Linear and convolution, integers to integers, by two engines."""
    recorder = Recorder(name)
    for number in range(count):
        engine = engines[number % 2]
        kind = ("linear", "conv2d", "conv2d", "depthwise")[number // 2 % 4]
        torch.backends.quantized.engine = engine
        per_channel, asymmetric, bias, relu = (bool(v) for v in g.integers(2, size=4))
        asymmetric &= engine != "onednn"
        options: dict[str, Any] = {"engine": engine, "kind": kind, "relu": relu}
        high = 128 if kind == "depthwise" else 256  # FBGEMM's depthwise kernel saturates on 8-bit activations
        if kind == "linear":
            rows, features, outputs = (int(v) for v in g.integers(1, 40, 3))
            w = quantized_weights(g, (outputs, features), per_channel, asymmetric)
            x = g.integers(0, high, (rows, features)).astype(np.uint8)
        else:
            groups = 8 * int(g.integers(1, 4)) if kind == "depthwise" else int(g.choice([1, 1, 2, 3]))
            inputs, outputs = (1, 1) if kind == "depthwise" else (int(v) for v in g.integers(1, 7, 2))
            kernel = [3, 3] if kind == "depthwise" else [int(v) for v in g.integers(1, 4, 2)]
            options["stride"] = [int(g.integers(1, 3))] * 2 if kind == "depthwise" else [int(v) for v in g.integers(1, 3, 2)]
            options["padding"] = [1, 1] if kind == "depthwise" else [int(v) for v in g.integers(0, 2, 2)]
            options["dilation"] = [1, 1] if kind == "depthwise" else [int(v) for v in g.integers(1, 3, 2)]
            options["groups"] = groups
            w = quantized_weights(g, (groups * outputs, inputs, *kernel), per_channel, asymmetric)
            x = g.integers(0, high, (2, groups * inputs, 7, 6)).astype(np.uint8)
        b = (g.standard_normal(w.shape[0]) * 20).astype(F) if bias else None
        x_scale, x_zero_point = float(F(g.uniform(0.001, 0.1))), int(g.integers(0, high))
        y_scale, y_zero_point = output_scale(g, w, x_scale), int(g.integers(0, 256))
        options.update(x_scale=x_scale, x_zero_point=x_zero_point, y_scale=y_scale, y_zero_point=y_zero_point)
        if engine == "onednn" and b is not None:
            b = halfway_bias(g, w, x, options)
        qx = torch._make_per_tensor_quantized_tensor(tensor(x), x_scale, x_zero_point)
        tb = None if b is None else tensor(b)
        if kind == "linear":
            packed, run = quantized.linear_prepack(w, tb), quantized.linear_relu if relu else quantized.linear
        else:
            geometry = (options["stride"], options["padding"], options["dilation"], options["groups"])
            packed, run = (quantized.conv2d_prepack(w, tb, *geometry), quantized.conv2d_relu if relu else quantized.conv2d)
        y = run(qx, packed, y_scale, y_zero_point).int_repr().numpy()
        recorder.add(options, x=x, bias=b, y=y, **weight_arrays(w))
    recorder.write()


def record_onednn(g: np.random.Generator) -> None:
    """The same by oneDNN, which takes symmetric weights only. Where there is a bias, one pixel is all near-ties."""
    record_static(g, "onednn", ("onednn", "onednn"), 80)


def record_onednn_ties(g: np.random.Generator) -> None:
    """`record_ties` by oneDNN."""
    record_ties(g, "onednn_ties", ("onednn",))


def record_onednn_dynamic(g: np.random.Generator) -> None:
    """`record_dynamic` by oneDNN."""
    record_dynamic(g, "onednn_dynamic", ("onednn", "onednn"))


def record_ties(_: np.random.Generator, name: str = "ties", engines: tuple[str, ...] = ("fbgemm", "qnnpack")) -> None:
    """Linear layers whose scaled accumulators are exact halves: where rounding rules part."""
    recorder = Recorder(name)
    for engine in engines:
        torch.backends.quantized.engine = engine
        for y_zero_point in (0, 1, 100, 101, 255):
            for bias in (None, np.array([0.25, -0.25, 0.5], F)):
                x = np.arange(256, dtype=np.uint8).reshape(-1, 1)
                w = torch._make_per_tensor_quantized_tensor(tensor(np.array([[1], [-1], [3]], np.int8)), 0.5, 0)
                qx = torch._make_per_tensor_quantized_tensor(tensor(x), 1.0, 128)
                packed = quantized.linear_prepack(w, None if bias is None else tensor(bias))
                y = quantized.linear(qx, packed, 1.0, y_zero_point).int_repr().numpy()
                options = {"engine": engine, "kind": "linear", "relu": False, "x_scale": 1.0, "x_zero_point": 128}
                options.update(y_scale=1.0, y_zero_point=y_zero_point)
                recorder.add(options, x=x, bias=bias, y=y, **weight_arrays(w))
    recorder.write()


def record_fused_bias(g: np.random.Generator) -> None:
    """FBGEMM with one scale for all weights, each output next to a tie for one input: where a product and a sum that are
    rounded apart part from a fused multiply-add."""
    recorder, x = Recorder("fused_bias"), np.arange(256, dtype=np.uint8).reshape(-1, 1)
    torch.backends.quantized.engine = "fbgemm"
    for number in range(8):
        x_scale, w_scale, y_scale = (float(F(g.uniform(low, 5 * low))) for low in (0.02, 0.01, 0.1))
        options = {"engine": "fbgemm", "kind": "linear", "relu": bool(number % 2), "x_scale": x_scale, "x_zero_point": 128}
        options.update(y_scale=y_scale, y_zero_point=int(g.integers(90, 160)))
        weights = g.integers(1, 128, (64, 1)).astype(np.int8)
        w = torch._make_per_tensor_quantized_tensor(tensor(weights), w_scale, 0)
        acc = (g.integers(0, 256, 64) - 128) * weights[:, 0].astype(np.float64)
        bias = (halfway(g, acc, options["y_zero_point"]) * y_scale - acc * x_scale * w_scale).astype(F)
        qx = torch._make_per_tensor_quantized_tensor(tensor(x), x_scale, 128)
        run = quantized.linear_relu if options["relu"] else quantized.linear
        y = run(qx, quantized.linear_prepack(w, tensor(bias)), y_scale, options["y_zero_point"]).int_repr().numpy()
        recorder.add(options, x=x, bias=bias, y=y, **weight_arrays(w))
    recorder.write()


def record_dynamic(g: np.random.Generator, name: str = "dynamic", engines: tuple[str, str] = ("fbgemm", "qnnpack")) -> None:
    """Dynamic linear layers, on inputs that no rounding rule quantizes differently."""
    recorder = Recorder(name)
    while len(recorder.cases) < 48:
        engine = engines[len(recorder.cases) % 2]
        torch.backends.quantized.engine = engine
        rows, features, outputs = (int(v) for v in g.integers(1, 24, 3))
        per_channel, asymmetric, bias, reduce_range = (bool(v) for v in g.integers(2, size=4))
        w = quantized_weights(g, (outputs, features), per_channel, asymmetric and engine != "onednn")
        x = (g.standard_normal((rows, features)) * 3).astype(F)
        scale, zero_point = torch._choose_qparams_per_tensor(tensor(x), reduce_range)
        steps = x * (F(1) / F(scale))
        if not np.array_equal(np.rint(steps) + zero_point, np.rint(steps + F(zero_point))):
            continue
        b = g.standard_normal(outputs).astype(F) if bias else None
        packed = quantized.linear_prepack(w, None if b is None else tensor(b))
        y = quantized.linear_dynamic(tensor(x), packed, reduce_range).numpy()
        recorder.add({"engine": engine, "reduce_range": reduce_range}, x=x, bias=b, y=y, **weight_arrays(w))
    recorder.write()


def stream(g: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One batch of data of a random shape of distribution."""
    scale = 10 ** g.uniform(-3, 3)
    kinds = [
        lambda: g.standard_normal(shape),
        lambda: np.abs(g.standard_normal(shape)),
        lambda: g.laplace(size=shape),
        lambda: g.standard_normal(shape) * np.where(g.random(shape) < 0.02, 50, 1),
        lambda: g.uniform(2, 3, shape),
        lambda: -np.abs(g.standard_t(2, shape)),
        lambda: np.full(shape, g.standard_normal()),
    ]
    return (kinds[g.integers(len(kinds))]() * scale).astype(F)


def record_observers(g: np.random.Generator) -> None:
    """Observers over streams of one to four batches."""
    recorder = Recorder("observers")
    names = ["MinMax", "MovingAverageMinMax", "PerChannelMinMax", "MovingAveragePerChannelMinMax", "Histogram"]
    while len(recorder.cases) < 160:
        name = names[len(recorder.cases) % len(names)] + "Observer"
        per_channel, symmetric = "PerChannel" in name, bool(g.integers(2))
        dtype = ("quint8", "qint8")[g.integers(2)]
        qscheme = f"per_{'channel' if per_channel else 'tensor'}_{'symmetric' if symmetric else 'affine'}"
        options: dict[str, Any] = {"dtype": dtype, "qscheme": qscheme}
        if g.integers(2) and not (symmetric and dtype == "quint8"):
            options["reduce_range"] = True
        elif g.integers(3) == 0:
            options["quant_min"], options["quant_max"] = (0, 15) if dtype == "quint8" else (-8, 7)
        if per_channel:
            options["ch_axis"] = int(g.integers(3))
        if "MovingAverage" in name:
            options["averaging_constant"] = float(g.choice([0.01, 0.5]))
        if len(recorder.cases) >= 120:
            dtype, qscheme = ("quint8", "per_channel_affine_float_qparams") if per_channel else ("qint32", "per_tensor_symmetric")
            options.update(dtype=dtype, qscheme=qscheme, reduce_range=False)
            options = {k: v for k, v in options.items() if k not in ("quant_min", "quant_max")}
        batches = [stream(g, (4, 5, 6)) for _ in range(g.integers(1, 5))]
        arguments = {**options, "dtype": getattr(torch, dtype), "qscheme": getattr(torch, qscheme)}
        observer = getattr(taq, name)(**arguments)
        try:
            for x in batches:
                observer(tensor(x))
            scale, zero_point = observer.calculate_qparams()
        except AssertionError:  # torch's own: an average of constant data crossed its bounds
            continue
        arrays = {f"batch{i}": x for i, x in enumerate(batches)}
        recorder.add({"observer": name, **options}, scale=scale.numpy(), zero_point=zero_point.numpy(), **arrays)
    recorder.write()


def record_affine(g: np.random.Generator) -> None:
    """quantize, dequantize, and fake-quantize with its gradient, ties included."""
    recorder = Recorder("affine")
    for number in range(40):
        dtype = ("quint8", "qint8")[number % 2]
        low, high = (0, 255) if dtype == "quint8" else (-128, 127)
        scale, zero_point = (
            float(F(2.0 ** g.integers(-6, 3) if number % 4 < 2 else g.uniform(0.001, 2))),
            int(g.integers(low, high + 1)),
        )
        on_grid = (g.integers(-600, 600, 60) / 2).astype(F) * F(scale)
        x = np.concatenate([on_grid, (g.standard_normal(60) * 100 * scale).astype(F), [F(0), F(-0.0)]]).astype(F)
        q = torch.quantize_per_tensor(tensor(x), scale, zero_point, getattr(torch, dtype))
        leaf = tensor(x).requires_grad_()
        fake = torch.fake_quantize_per_tensor_affine(leaf, scale, zero_point, low, high)
        fake.sum().backward()
        recorder.add(
            {"dtype": dtype, "scale": scale, "zero_point": zero_point},
            x=x, q=q.int_repr().numpy(), dequantized=q.dequantize().numpy(),
            fake=fake.detach().numpy(), gradient=leaf.grad.numpy(),
        )  # fmt: skip
    recorder.write()


def record_dynamic_qparams(g: np.random.Generator) -> None:
    """The dynamic rule, on ordinary, one-sided, tiny and near-tie ranges."""
    recorder = Recorder("dynamic_qparams")
    torch.backends.quantized.engine = "fbgemm"  # under qnnpack, torch ignores reduce_range here too
    bounds = []
    for number in range(400):
        scale = 10 ** g.uniform(-9, 4)
        low, high = (g.standard_normal(2) * scale).astype(F)
        if number % 4 == 0:
            low, high = F(-scale * g.integers(1, 255)), F(scale * g.integers(1, 255))
        bounds.append((min(low, high), max(low, high)))
    for reduce_range in (False, True):
        results = [torch._choose_qparams_per_tensor(tensor(np.array(b, F)), reduce_range) for b in bounds]
        scale, zero_point = np.array([r[0] for r in results]), np.array([r[1] for r in results])
        recorder.add({"reduce_range": reduce_range}, bounds=np.array(bounds, F), scale=scale, zero_point=zero_point)
    recorder.write()


def record_fake_quantizers(g: np.random.Generator) -> None:
    """Unfused fake-quantizers over two batches: what the second becomes, and its gradient."""
    recorder = Recorder("fake_quantizers")
    observers = [
        "MinMax", "MovingAverageMinMax", "Histogram", "PerChannelMinMax", "MovingAveragePerChannelMinMax",
    ]  # fmt: skip
    for number in range(60):
        name, kind = observers[number % 5] + "Observer", ("FakeQuantize", "Learnable")[number // 5 % 2]
        per_channel, dtype = "PerChannel" in name, ("quint8", "qint8")[g.integers(2)]
        scheme = f"per_{'channel' if per_channel else 'tensor'}_{('affine', 'symmetric')[g.integers(2)]}"
        if per_channel and kind == "FakeQuantize" and g.integers(3) == 0:
            dtype, scheme = "quint8", "per_channel_affine_float_qparams"
        if kind == "Learnable" and "symmetric" in scheme:
            dtype = "qint8"  # torch puts the zero point of an unsigned symmetric range at 0
        bits = int(g.integers(3, 9))
        low, high = (0, 2**bits - 1) if dtype == "quint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        options = {"observer": name, "kind": kind, "dtype": dtype, "qscheme": scheme, "quant_min": low, "quant_max": high}
        if per_channel:
            options["ch_axis"] = 1
        arguments = {k: v for k, v in options.items() if k not in ("observer", "kind")}
        arguments.update(dtype=getattr(torch, dtype), qscheme=getattr(torch, scheme), observer=getattr(taq, name))
        if kind == "Learnable":
            options["use_grad_scaling"] = arguments["use_grad_scaling"] = bool(g.integers(2))
            fake = _LearnableFakeQuantize(**arguments, channel_len=5 if per_channel else -1)
        else:
            fake = taq.FakeQuantize(**arguments)
        first, x, gradient = (stream(g, (4, 5, 6)), stream(g, (4, 5, 6)), g.standard_normal((4, 5, 6)).astype(F))
        x = (x / np.abs(x).max() * np.abs(first).max() * F(0.8)).astype(F)
        fake(tensor(first))
        arrays: dict[str, Any] = {}
        if kind == "Learnable":
            fake.enable_param_learning()
            with torch.no_grad():  # half the range; a whole, non-negative zero point: torch's backward mistakes others
                fake.scale *= 0.5
                if "affine" in scheme:
                    fake.zero_point.copy_(tensor(g.integers(0, high, fake.zero_point.numel()).astype(F)))
            arrays.update(
                start_scale=fake.scale.detach().numpy().copy(), start_zero_point=fake.zero_point.detach().numpy().copy()
            )
        leaf = tensor(x).requires_grad_()
        y = fake(leaf)
        y.backward(tensor(gradient))
        if kind == "Learnable":
            arrays["scale_gradient"] = fake.scale.grad.numpy()
            if "affine" in scheme:
                arrays["zero_point_gradient"] = fake.zero_point.grad.numpy()
        arrays.update(scale=fake.scale.detach().numpy(), zero_point=fake.zero_point.detach().numpy())
        recorder.add(options, first=first, x=x, g=gradient, y=y.detach().numpy(), dx=leaf.grad.numpy(), **arrays)
    recorder.write()


def record_convolutions(g: np.random.Generator) -> None:
    """Signals, volumes and transposed convolutions; activations of seven bits, which no FBGEMM saturates on."""
    recorder = Recorder("convolutions")
    torch.backends.quantized.engine = "fbgemm"
    kinds = {"conv1d": 1, "conv1d_relu": 1, "conv3d": 3, "conv3d_relu": 3, "conv_transpose1d": 1, "conv_transpose2d": 2}
    for number in range(96):
        kind = list(kinds)[number % len(kinds)]
        axes, transposed = kinds[kind], "transpose" in kind
        groups, inputs, outputs = (int(v) for v in g.integers(1, 4, 3))
        kernel, dilation, stride = (g.integers(1, end, axes).tolist() for end in (4, 3, 4))
        padding = [int(g.integers(k)) for k in kernel]
        extra = [int(g.integers(s)) for s in stride]
        per_channel = bool(g.integers(2)) and not transposed
        shape = (groups * inputs, outputs, *kernel) if transposed else (groups * outputs, inputs, *kernel)
        w = quantized_weights(g, shape, per_channel, asymmetric=not transposed and bool(g.integers(2)))
        b = (g.standard_normal(groups * outputs) * 20).astype(F)
        x = g.integers(0, 128, (2, groups * inputs, *g.integers(5, 8, axes))).astype(np.uint8)
        x_scale, x_zero_point = float(F(g.uniform(0.001, 0.1))), int(g.integers(0, 128))
        y_scale, y_zero_point = output_scale(g, w, x_scale) / 2, int(g.integers(0, 256))
        geometry = [stride, padding, *([extra] if transposed else []), dilation, groups]
        packed = getattr(quantized, f"{kind.removesuffix('_relu')}_prepack")(w, tensor(b), *geometry)
        qx = torch._make_per_tensor_quantized_tensor(tensor(x), x_scale, x_zero_point)
        y = getattr(quantized, kind)(qx, packed, y_scale, y_zero_point).int_repr().numpy()
        options = {"kind": kind, "geometry": geometry, "x": [x_scale, x_zero_point], "y": [y_scale, y_zero_point]}
        recorder.add(options, x=x, bias=b, y=y, **weight_arrays(w))
    recorder.write()


ELSEWHERE = {
    "tanh": torch.tanh, "mean": torch.mean, "hardsigmoid": torch.nn.functional.hardsigmoid,
    "avg_pool2d": torch.nn.functional.avg_pool2d, "adaptive_avg_pool2d": torch.nn.functional.adaptive_avg_pool2d,
}  # fmt: skip
AVERAGES = ("avg_pool2d", "adaptive_avg_pool2d", "mean")


def record_operators(g: np.random.Generator) -> None:
    """What lies between products. `exact`, of averages: the mean of q - zero_point, since ties are ours alone."""
    recorder = Recorder("operators")
    torch.backends.quantized.engine = "fbgemm"
    for number in range(4 * len(OPERATORS)):
        name = list(OPERATORS)[number % len(OPERATORS)]
        dtype = "quint8" if name == "softmax" else ("quint8", "qint8")[g.integers(2)]
        low, high = (0, 256) if dtype == "quint8" else (-128, 128)
        shape = (2, 5, 9) if name == "max_pool1d" else (2, 5, 4, 6)
        grids = {key: (float(F(g.uniform(0.005, 0.2))), int(g.integers(low, high))) for key in "aby"}
        values = {key: g.integers(low, high, shape).astype("u1" if dtype == "quint8" else "i1") for key in "ab"}
        numbers = {key: g.standard_normal(5).astype(F) for key in ("gamma", "beta", "mean")}
        numbers |= {f"rows_{key}": g.standard_normal((4, 6)).astype(F) for key in ("gamma", "beta")}
        numbers["var"] = g.uniform(0.1, 3, 5).astype(F)
        made = {k: torch._make_per_tensor_quantized_tensor(tensor(v), *grids[k]) for k, v in values.items()}
        known = {**made, **{k: tensor(v) for k, v in numbers.items()}, "S": grids["y"][0], "Z": grids["y"][1]}
        arguments = [known.get(v, v) if isinstance(v, str) else v for v in OPERATORS[name]]
        first = [made["a"], made["b"]] if name.startswith("cat") else made["a"]
        y = (ELSEWHERE.get(name) or getattr(quantized, name))(first, *arguments)
        exact = None
        if name in AVERAGES:
            exact = ELSEWHERE[name](tensor(values["a"].astype(np.float64) - grids["a"][1]), *arguments).numpy()
        used = {k: v for k, v in {**values, **numbers}.items() if k == "a" or k in OPERATORS[name] or name[:3] == "cat"}
        recorder.add({"op": name, "dtype": dtype, **grids}, y=y.int_repr().numpy(), exact=exact, **used)
    recorder.write()


RECORDS = [
    record_static, record_ties, record_dynamic, record_observers, record_affine, record_dynamic_qparams, record_onednn,
    record_onednn_ties, record_onednn_dynamic, record_fake_quantizers, record_convolutions, record_operators,
    record_fused_bias,
]  # fmt: skip

if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for seed, record in enumerate(RECORDS):
        if record.__name__.removeprefix("record_") in (sys.argv[1:] or record.__name__):
            record(np.random.default_rng(seed))
