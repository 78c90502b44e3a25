"""Other int8 libraries, for those who have them: found by name, never required, called through their Python operators.

    numpy                             float32 and OpenBLAS: what int8 is to beat
    fbgemm, x86, onednn, qnnpack      torch's engines, prepacked; images channels-last
    onnxruntime, openvino             one QDQ model; the first takes NHWC (its transposes cancel), the second NCHW

Before: `data`. After: `rows`.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import SCALE, ZERO_POINT, Data, Runner, operator


def _numpy(_: Any, data: Data, threads: int) -> Runner:
    if data.shape.operation != "linear":
        raise LookupError("float32 products only")
    set_blas_threads(threads)
    x = (data.x[0, 0].astype(np.float32) - ZERO_POINT) * np.float32(SCALE)
    w = np.ascontiguousarray((data.weights * data.w_scale[:, None]).T)
    return Runner(lambda: x @ w, lambda y: np.clip(np.rint((y + data.bias) / data.y_scale) + 128, 0, 255))


def set_blas_threads(threads: int) -> None:
    """Of NumPy's OpenBLAS; raises LookupError where there is none."""
    maps = Path("/proc/self/maps")
    for path in set(re.findall(r"/\S*openblas\S*", maps.read_text())) if maps.exists() else ():
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(library, name):
                getattr(library, name)(threads)
                return
    raise LookupError("no OpenBLAS whose threads could be set")


def _torch(engine: str) -> Callable[[Any, Data, int], Runner]:
    def prepare(torch: Any, data: Data, threads: int) -> Runner:
        if engine != "fbgemm" and not data.shape.macs:
            raise LookupError("as fbgemm")
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = engine
        make, tensor = torch._make_per_tensor_quantized_tensor, torch.from_numpy
        zero_points = torch.zeros(data.shape.out[3], dtype=torch.int64)
        weights = lambda: torch._make_per_channel_quantized_tensor(  # noqa: E731
            tensor(data.weights), tensor(data.w_scale), zero_points, 0
        )
        return operator(torch, data, lambda x: make(tensor(x), SCALE, ZERO_POINT), weights, tensor)

    return prepare


def _qdq_model(data: Data, nhwc: bool) -> bytes:
    """DequantizeLinear -> Gemm or Conv -> QuantizeLinear, which runtimes fuse into one integer operator."""
    onnx, s = importlib.import_module("onnx"), data.shape
    if not s.macs:
        raise LookupError("linear layers and convolutions only")
    node, linear, scale = onnx.helper.make_node, s.operation == "linear", np.float32(SCALE)
    zeros = np.zeros(s.out[3], np.int32)
    constants = {
        "x_scale": scale, "x_zero": np.uint8(ZERO_POINT), "w": data.weights, "w_scale": data.w_scale,
        "w_zero": zeros.astype(np.int8), "b": data.bias_integers, "b_scale": scale * data.w_scale, "b_zero": zeros,
        "y_scale": np.float32(data.y_scale), "y_zero": np.uint8(128),
    }  # fmt: skip
    geometry = {"pads": [s.padding] * 4, "strides": [s.stride] * 2, "group": s.groups}
    nodes = [node("DequantizeLinear", [t, f"{t}_scale", f"{t}_zero"], [f"{t}_real"], axis=0) for t in "xwb"]
    nodes.append(node("Gemm" if linear else "Conv", ["x_real", "w_real", "b_real"], ["y_real"],
                      **({"transB": 1} if linear else geometry)))  # fmt: skip
    nodes.append(node("QuantizeLinear", ["y_real", "y_scale", "y_zero"], ["y"]))
    shapes = [(n, h, w, c) if nhwc else (n, c, h, w) for n, h, w, c in (s.image, s.out)]
    names = ("x", "y")
    if linear:
        shapes = [s.image[2:], s.out[2:]]  # type: ignore[list-item]
    elif nhwc:
        nodes.insert(0, node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]))
        nodes.append(node("Transpose", ["y"], ["outputs"], perm=[0, 2, 3, 1]))
        names = ("images", "outputs")
    ends = [
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, shape)] for n, shape in zip(names, shapes, strict=True)
    ]
    arrays = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "layer", *ends, arrays)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _onnxruntime(ort: Any, data: Data, threads: int) -> Runner:
    linear, options = data.shape.operation == "linear", ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(_qdq_model(data, nhwc=True), options, providers=["CPUExecutionProvider"])
    binding, (x,), (y,) = session.io_binding(), session.get_inputs(), session.get_outputs()
    output = ort.OrtValue.ortvalue_from_shape_and_type(y.shape, np.uint8)
    binding.bind_cpu_input(x.name, data.x[0, 0] if linear else data.x)
    binding.bind_ortvalue_output(y.name, output)
    return Runner(lambda: session.run_with_iobinding(binding), lambda _: output.numpy())


def _openvino(openvino: Any, data: Data, threads: int) -> Runner:
    core, linear = openvino.Core(), data.shape.operation == "linear"
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(_qdq_model(data, nhwc=False)), "CPU", settings)
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    products = ("FullyConnected", "Convolution", "GroupConvolution", "MatMul")
    precisions = {f["runtimePrecision"].astype(str) for f in facts if f["layerType"].astype(str) in products}
    if not precisions <= {"u8", "i8"}:
        raise LookupError(f"it chooses {', '.join(precisions)} here, not int8")
    request = compiled.create_infer_request()
    x = data.x[0, 0] if linear else np.ascontiguousarray(data.x.transpose(0, 3, 1, 2))
    request.set_input_tensor(openvino.Tensor(x))

    def integers(_: Any) -> NDArray[Any]:
        y = np.array(request.get_output_tensor().data)
        return y if linear else y.transpose(0, 2, 3, 1)

    return Runner(request.infer, integers)


# name: its module, what else it needs, and its operator on some data and threads
PEERS: dict[str, tuple[str, str, Callable[[Any, Data, int], Runner]]] = {
    "numpy": ("numpy", "numpy", _numpy),
    **{engine: ("torch", "torch", _torch(engine)) for engine in ("fbgemm", "x86", "onednn", "qnnpack")},
    "onnxruntime": ("onnxruntime", "onnx", _onnxruntime),
    "openvino": ("openvino", "onnx", _openvino),
}


def find(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The versions of these peers, and why the others of them cannot be imported."""
    versions, missing = {}, {}
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers takes none, or some of {','.join(PEERS)}; got {name!r}")
        try:
            module, _ = (importlib.import_module(needed) for needed in PEERS[name][:2])
            versions[name] = f"{module.__name__} {module.__version__}"
        except ImportError as error:
            missing[name] = str(error)
    return versions, missing


def prepare(name: str, data: Data, threads: int) -> Runner:
    """The peer's operator on this data. Raises LookupError, with the reason, where it has none."""
    module, _, make = PEERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        try:
            runner = make(importlib.import_module(module), data, threads)
            runner.run()
        except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
            raise LookupError(str(error).splitlines()[0]) from error
    return runner
