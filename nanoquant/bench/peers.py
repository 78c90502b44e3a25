"""Other int8 libraries, for those who have them: found by name, never required, called through their Python operators.

    numpy                                    float32 and BLAS: what int8 is to beat
    fbgemm, x86, onednn, qnnpack             torch's engines, prepacked; images channels-last
    onnxruntime, openvino                    one QDQ model; onnxruntime's takes NHWC (its transposes cancel), openvino's NCHW

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

from .data import X_SCALE, X_ZERO_POINT, Y_ZERO_POINT, Data, Runner


def _numpy(data: Data, threads: int) -> Runner:
    """A float32 product; its BLAS is told the number of threads by the one name that OpenBLAS gives out."""
    if data.shape.operation != "linear":
        raise LookupError("NumPy has only the matrix product")
    _set_blas_threads(threads)
    x = (data.x[0, 0].astype(np.float32) - X_ZERO_POINT) * np.float32(X_SCALE)
    w = np.ascontiguousarray((data.weights[:, :, 0, 0] * data.w_scale[:, None]).T)
    as_bytes = lambda y: np.clip(np.rint((y + data.bias) / data.y_scale) + Y_ZERO_POINT, 0, 255)  # noqa: E731
    return Runner(lambda: x @ w, as_bytes)


def _set_blas_threads(threads: int) -> None:
    for path in set(re.findall(r"/\S*openblas\S*", Path("/proc/self/maps").read_text())):
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(library, name):
                return getattr(library, name)(threads)  # type: ignore[no-any-return]
    raise LookupError("no OpenBLAS whose threads could be set")


def _torch(engine: str) -> Callable[[Data, int], Runner]:
    def prepare(data: Data, threads: int) -> Runner:
        torch, s = importlib.import_module("torch"), data.shape
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = engine
        ops = torch.ops.quantized
        as_tensor = lambda a: torch._make_per_tensor_quantized_tensor(torch.from_numpy(a), X_SCALE, X_ZERO_POINT)  # noqa: E731
        if not s.macs:
            return _torch_elementwise(torch, as_tensor(data.x.reshape(-1)), as_tensor(data.x).permute(0, 3, 1, 2), s)
        zero_points = torch.zeros(s.out[3], dtype=torch.int64)
        scales, bias = torch.from_numpy(data.w_scale), torch.from_numpy(data.bias)
        linear = s.operation == "linear"
        weights = torch.from_numpy(data.weights[:, :, 0, 0].copy() if linear else data.weights)
        w = torch._make_per_channel_quantized_tensor(weights, scales, zero_points, 0)
        if linear:
            x, packed = as_tensor(data.x[0, 0]), ops.linear_prepack(w, bias)
            return Runner(lambda: ops.linear(x, packed, data.y_scale, Y_ZERO_POINT), lambda y: y.int_repr().numpy())
        x = as_tensor(data.x).permute(0, 3, 1, 2)
        pairs = [[n, n] for n in (s.stride, s.padding, 1)]
        packed = ops.conv2d_prepack(w, bias, *pairs, s.groups)
        return Runner(
            lambda: ops.conv2d(x, packed, data.y_scale, Y_ZERO_POINT),
            lambda y: y.int_repr().permute(0, 2, 3, 1).numpy(),
        )

    return prepare


def _torch_elementwise(torch: Any, flat: Any, image: Any, s: Any) -> Runner:
    real, dtype = flat.dequantize(), torch.quint8
    ints = lambda y: y.int_repr().numpy()  # noqa: E731
    channels_last = lambda y: y.int_repr().permute(0, 2, 3, 1).numpy()  # noqa: E731
    F = torch.nn.functional
    table: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "quantize": (lambda: torch.quantize_per_tensor(real, X_SCALE, X_ZERO_POINT, dtype), ints),
        "dequantize": (flat.dequantize, lambda y: np.rint(y.numpy() / X_SCALE)),
        "relu": (lambda: torch.relu(flat), ints),
        "max_pool2d": (lambda: F.max_pool2d(image, 2), channels_last),
        "avg_pool2d": (lambda: F.avg_pool2d(image, 2), channels_last),
    }
    return Runner(*table[s.operation])


def _qdq_model(data: Data, nhwc: bool) -> bytes:
    """DequantizeLinear -> Gemm or Conv -> QuantizeLinear, which runtimes fuse into one integer operator."""
    onnx, s = importlib.import_module("onnx"), data.shape
    if not s.macs:
        raise LookupError("only products so far")
    node, linear = onnx.helper.make_node, s.operation == "linear"
    x_scale = np.float32(X_SCALE)
    constants = {
        "xs": x_scale, "xz": np.uint8(X_ZERO_POINT), "ws": data.w_scale, "wz": np.zeros(s.out[3], np.int8),
        "w": data.weights[:, :, 0, 0] if linear else data.weights, "b": data.bias_integers, "bs": x_scale * data.w_scale,
        "bz": np.zeros(s.out[3], np.int32), "ys": np.float32(data.y_scale), "yz": np.uint8(Y_ZERO_POINT),
    }  # fmt: skip
    product = (
        node("Gemm", ["xf", "wf", "bf"], ["yf"], transB=1)
        if linear
        else node("Conv", ["xf", "wf", "bf"], ["yf"], pads=[s.padding] * 4, strides=[s.stride] * 2, group=s.groups)
    )
    nodes = [
        node("DequantizeLinear", ["xt" if nhwc else "x", "xs", "xz"], ["xf"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0),
        product,
        node("QuantizeLinear", ["yf", "ys", "yz"], ["yt" if nhwc else "y"]),
    ]
    shapes = [s.image[2:], s.out[2:]] if linear else [s.image, s.out] if nhwc else [_nchw(s.image), _nchw(s.out)]
    if nhwc:
        nodes = [
            node("Transpose", ["x"], ["xt"], perm=[0, 3, 1, 2]), *nodes,
            node("Transpose", ["yt"], ["y"], perm=[0, 2, 3, 1]),
        ]  # fmt: skip
    value = lambda name, shape: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape)  # noqa: E731
    initializers = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "layer", [value("x", shapes[0])], [value("y", shapes[1])], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()  # type: ignore[no-any-return]


def _nchw(shape: tuple[int, ...]) -> list[int]:
    return [shape[0], shape[3], shape[1], shape[2]]


def _onnxruntime(data: Data, threads: int) -> Runner:
    ort, linear = importlib.import_module("onnxruntime"), data.shape.operation == "linear"
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    model = _qdq_model(data, nhwc=not linear)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", data.x[0, 0] if linear else data.x)
    y = ort.OrtValue.ortvalue_from_shape_and_type(session.get_outputs()[0].shape, np.uint8)
    binding.bind_ortvalue_output("y", y)
    return Runner(lambda: session.run_with_iobinding(binding), lambda _: y.numpy())


def _openvino(data: Data, threads: int) -> Runner:
    openvino, linear = importlib.import_module("openvino"), data.shape.operation == "linear"
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(_qdq_model(data, nhwc=False)), "CPU", settings)
    products = ("FullyConnected", "Convolution", "GroupConvolution", "MatMul")
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    precisions = {f["runtimePrecision"].astype(str) for f in facts if f["layerType"].astype(str) in products}
    if not precisions <= {"u8", "i8"}:
        raise LookupError(f"it would run in {', '.join(precisions)}")
    request = compiled.create_infer_request()
    x = data.x[0, 0] if linear else np.ascontiguousarray(data.x.transpose(0, 3, 1, 2))
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    as_bytes = lambda _: request.get_output_tensor().data.copy()  # noqa: E731
    return Runner(request.infer, as_bytes if linear else lambda _: as_bytes(_).transpose(0, 2, 3, 1))


PEERS: dict[str, tuple[str, Callable[[Data, int], Runner]]] = {
    "numpy": ("numpy", _numpy),
    **{engine: ("torch", _torch(engine)) for engine in ("fbgemm", "x86", "onednn", "qnnpack")},
    "onnxruntime": ("onnxruntime onnx", _onnxruntime),
    "openvino": ("openvino onnx", _openvino),
}


def find(names: list[str]) -> dict[str, str]:
    """The versions of the peers of these names; all of them for none. What cannot be imported is said, not raised."""
    versions = {}
    for name in names or PEERS:
        if name not in PEERS:
            raise ValueError(f"--peers knows {', '.join(PEERS)}; got {name!r}")
        try:
            modules = [importlib.import_module(module) for module in PEERS[name][0].split()]
            versions[name] = ", ".join(f"{module.__name__} {module.__version__}" for module in modules)
        except ImportError as error:
            versions[name] = f"not here: {error}"
    return versions


def prepare(name: str, data: Data, threads: int) -> Runner:
    """The peer's operator on this data. Raises LookupError, with the reason, if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        try:
            return PEERS[name][1](data, threads)
        except (RuntimeError, NotImplementedError, KeyError, ValueError) as error:
            raise LookupError(str(error).splitlines()[0]) from error
