"""`nanoquant bench weights`: linear layers with weights of few bits, a few rows at a time, beside the bandwidth that bounds them.

The peer is ONNX Runtime's MatMulNBits of the same sizes: with float32 products (accuracy_level 0), and with integer ones (4),
which round x in blocks as ours do.

Before: `recurrent`. After: `command`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..kernels import native
from ..kernels.weight_only import GroupedWeights
from .machine import Stream
from .sweep import imported, of_sizes, show, sweep
from .timing import Run, interleave

# rows, inputs, outputs, group, bits: of BERT, and of language models; the last three are read from memory
SIZES = (
    (1, 768, 3072, 32, 4), (1, 4096, 4096, 32, 4), (1, 4096, 4096, 128, 4), (4, 4096, 4096, 32, 4), (1, 4096, 4096, 128, 8),
    (1, 8192, 28672, 32, 4), (1, 8192, 28672, 128, 4), (1, 8192, 28672, 128, 8),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The median time over rounds, bytes of weights and scales per second, their part of what a loop that only reads as many
    gets in the same rounds, and the others' time over ours."""

    shape: tuple[int, ...]
    threads: int
    seconds: float
    gbs: float
    percent_of_bandwidth: float
    ratios: dict[str, float]


def matmul_nbits(modules: Any, shape: tuple[int, ...], level: int, threads: int) -> Any:
    """A session of one MatMulNBits node with random weights."""
    (ort, onnx), (_, inputs, outputs, group, bits) = modules, shape
    g, blocks = np.random.default_rng(0), inputs // group
    weights = g.integers(0, 256, (outputs, blocks, group * bits // 8), np.uint8)
    scales = g.uniform(0.01, 0.1, outputs * blocks).astype(np.float32)
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    options: dict[str, Any] = {"K": inputs, "N": outputs, "bits": bits, "block_size": group, "accuracy_level": level}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **options)
    ends = [[helper.make_tensor_value_info(n, float32, ["rows", size])] for n, size in (("x", inputs), ("y", outputs))]
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in (("w", weights), ("s", scales))]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "layer", *ends, arrays), opset_imports=domains, ir_version=8)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = threads, 3
    return ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def measure(shape: tuple[int, ...], threads: int, rounds: int, modules: tuple[Any, ...] | None) -> Row:
    """A row; modules: onnxruntime and onnx, or None."""
    rows, inputs, outputs, group, bits = shape
    native.set_num_threads(threads)
    g, groups = np.random.default_rng(0), (outputs, inputs // group)
    q, scale = g.integers(0, 1 << bits, (outputs, inputs), np.uint8), g.uniform(0.01, 0.1, groups).astype(np.float32)
    layer = GroupedWeights(q, scale, np.full(groups, 1 << (bits - 1)), group, bits)
    x, stream = g.standard_normal((rows, inputs), np.float32), Stream(layer.nbytes, 0)
    runs: dict[str, Run] = {"ours": lambda: layer(x), "reading": stream}
    for level in (0, 4) if modules else ():
        session = matmul_nbits(modules, shape, level, threads)
        runs[f"onnxruntime {level}"] = lambda session=session: session.run(None, {"x": x})  # type: ignore[misc]
    times = interleave(runs, rounds, settles=threads > 1)
    ratios = {name: float(np.median(times[name] / times["ours"])) for name in runs if name not in ("ours", "reading")}
    seconds, share = float(np.median(times["ours"])), np.median(times["reading"] / times["ours"])
    return Row(shape, threads, seconds, 1e-9 * layer.nbytes / seconds, 100 * share * layer.nbytes / stream.bytes, ratios)


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    modules = imported(options, "onnxruntime", "onnx")
    rows = sweep(options, "weights", of_sizes(options, SIZES), partial(measure, modules=modules))
    columns = {"GB/s": lambda row: row.gbs, "%GB/s": lambda row: row.percent_of_bandwidth}
    show(options, rows, "rows inputs outputs group bits", columns)
