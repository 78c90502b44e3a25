"""Records what ONNX Runtime and LiteRT (TensorFlow Lite) compute.

    python tests/golden/record_runtimes.py ort         with onnx and onnxruntime==1.31.1 installed
    python tests/golden/record_runtimes.py tflite      with ai-edge-litert==2.3.0 and flatbuffers installed

Every case is a layer of one operator. In half of the cases scales are powers of two, so that outputs are exact halves; in
the others scales bring the first row of outputs as near to halves as float32 allows. In some, accumulators are small
and multipliers near 1, so that form C has no second rounding to hide the first. LiteRT runs its reference kernels.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from recorder import F, Recorder, halfway


def layer(
    g: np.random.Generator, dtype: type[Any], per_channel: bool, with_bias: bool, ties: bool, small: bool
) -> dict[str, Any]:
    """Arrays and options of a linear layer; the bias is int32."""
    rows, features, outputs = 6, 1 if small else int(g.integers(1, 60)), int(g.integers(1, 60))
    low = int(np.iinfo(dtype).min)
    x = g.integers(low, low + 256, (rows, features)).astype(dtype)
    w = g.integers(-127, 128, (outputs, features)).astype(np.int8)
    bias = g.integers(-3000, 3000, outputs).astype(np.int32) * with_bias
    if small:
        w, bias = np.sign(w), bias // 100
    x_zero_point, y_zero_point = (int(v) for v in g.integers(low, low + 256, 2))
    acc = (x.astype(np.int64) - x_zero_point) @ w.astype(np.int64).T + bias
    x_scale, w_scale = F(g.uniform(0.001, 0.1)), g.uniform(0.005, 0.05, outputs if per_channel else 1).astype(F)
    y_scale = F(np.abs(acc).mean() * x_scale * w_scale.mean() / 50 * g.choice([1, 1, 1, 1e-5]) + 1e-9)
    if ties:
        x_scale, y_scale = F(0.5), F(2.0 ** np.ceil(np.log2(y_scale / x_scale / w_scale.mean())))
        w_scale = F(2.0) ** -g.integers(0, 3, w_scale.shape).astype(F)
    elif per_channel:
        target = np.abs(halfway(g, acc[0], 0, low if low else -1))
        near = target * float(y_scale) / np.maximum(np.abs(acc[0]), 1) / float(x_scale)
        w_scale = np.clip(near, 1e-6, 1e3).astype(F)
    else:
        y_scale = F(max(abs(int(acc[0, 0])), 1) * float(x_scale) * float(w_scale[0]) / (g.integers(1, 120) + 0.5))
    options = {"dtype": np.dtype(dtype).name, "x_scale": float(x_scale), "x_zero_point": x_zero_point}
    options.update(y_scale=float(y_scale), y_zero_point=y_zero_point)
    w_scale = w_scale if per_channel else w_scale[0]
    return {"options": options, "x": x, "w": w, "w_scale": w_scale, "bias": bias if with_bias else None}


def run_onnx(kind: str, case: dict[str, Any]) -> np.ndarray:
    """One layer by ONNX Runtime. kind: QLinearMatMul, QLinearConv, QGemm, or MatMulInteger with a float32 output."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    o, x, w, w_scale = case["options"], case["x"], case["w"], np.asarray(case["w_scale"])
    is_conv, is_float = kind == "QLinearConv", kind == "MatMulInteger"
    constants = {
        "x_scale": F(o["x_scale"]), "x_zp": x.dtype.type(o["x_zero_point"]), "w_scale": w_scale,
        "w_zp": np.zeros(w_scale.shape, np.int8), "w": w[:, :, np.newaxis, np.newaxis] if is_conv else w.T.copy(),
        "y_scale": F(o["y_scale"]), "y_zp": x.dtype.type(o["y_zero_point"]), "bias": case["bias"],
    }  # fmt: skip
    if is_float:
        constants.update(bias=case["float_bias"], a=F(o["x_scale"]) * w_scale)
        nodes = [
            helper.make_node("MatMulInteger", ["x", "w", "x_zp"], ["acc"]),
            helper.make_node("Cast", ["acc"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["real", "a"], ["scaled"]),
            helper.make_node("Add", ["scaled", "bias"], ["y"]),
        ]
    else:
        tail = {"QLinearMatMul": ["y_scale", "y_zp"], "QLinearConv": ["y_scale", "y_zp", "bias"]}
        names = ["x", "x_scale", "x_zp", "w", "w_scale", "w_zp", *tail.get(kind, ["bias", "y_scale", "y_zp"])]
        nodes = [helper.make_node(kind, names, ["y"], domain="com.microsoft" if kind == "QGemm" else "")]
    used = {name for node in nodes for name in node.input}
    x_shape = (*x.shape, 1, 1) if is_conv else x.shape
    x_type = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", x_type, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT if is_float else x_type, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x.reshape(x_shape)})[0]).reshape(len(x), -1)


def record_ort(g: np.random.Generator) -> None:
    """QLinearMatMul, QLinearConv, QGemm and MatMulInteger, in uint8 and int8, per tensor and per channel."""
    recorder = Recorder("ort")
    for number in range(96):
        kind = ("QLinearMatMul", "QLinearConv", "QGemm", "MatMulInteger")[number % 4]
        dtype = (np.uint8, np.int8)[number // 4 % 2]
        case = layer(g, dtype, bool(number // 8 % 2), kind != "QLinearMatMul", bool(number // 16 % 2), number % 5 == 0)
        case["float_bias"] = (g.standard_normal(len(case["w"])) * 20).astype(F) if kind == "MatMulInteger" else None
        y = run_onnx(kind, case)
        case["bias"] = None if kind == "MatMulInteger" else case["bias"]
        recorder.add({"kind": kind, **case.pop("options")}, y=y, **case)
    recorder.write("onnxruntime")


def run_tflite(case: dict[str, Any]) -> np.ndarray:
    """One layer, as a 1 x 1 convolution, by LiteRT's reference kernel."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    o, x, w = case["options"], case["x"], case["w"]
    w_scale = np.atleast_1d(case["w_scale"])
    rows, features, outputs = len(x), *reversed(w.shape)

    def quantized(name: str, shape: list[int], scale: Any, zero_point: int, data: Any = None, kind: int = 9) -> Any:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.atleast_1d(np.asarray(scale, F))
        tensor.quantization.zeroPoint = np.full(tensor.quantization.scale.shape, zero_point, np.int64)
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, np.int32(shape), kind, len(model.buffers)
        if data is not None:
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        return tensor

    model, code, graph, operator = schema.ModelT(), schema.OperatorCodeT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, [schema.BufferT()], [code], [graph]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3
    graph.tensors = [
        quantized("x", [rows, 1, 1, features], o["x_scale"], o["x_zero_point"]),
        quantized("w", [outputs, 1, 1, features], w_scale, 0, w),
        quantized("b", [outputs], F(o["x_scale"]) * w_scale, 0, case["bias"], schema.TensorType.INT32),
        quantized("y", [rows, 1, 1, outputs], o["y_scale"], o["y_zero_point"]),
    ]
    graph.operators, graph.inputs, graph.outputs = [operator], np.int32([0]), np.int32([3])
    operator.inputs, operator.outputs = np.int32([0, 1, 2]), np.int32([3])
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT()
    options = operator.builtinOptions
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.padding = schema.Padding.VALID
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(model_content=bytes(builder.Output()), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, x.reshape(rows, 1, 1, features))
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(3)).reshape(rows, outputs)


def record_tflite(g: np.random.Generator) -> None:
    """CONV_2D in int8, per tensor and per channel."""
    recorder = Recorder("tflite")
    for number in range(64):
        case = layer(g, np.int8, bool(number % 2), True, bool(number // 2 % 2), bool(number // 4 % 2))
        y = run_tflite(case)
        recorder.add({"kind": "CONV_2D", **case.pop("options")}, y=y, **case)
    recorder.write("ai-edge-litert")


if __name__ == "__main__":
    {"ort": record_ort, "tflite": record_tflite}[sys.argv[1]](np.random.default_rng(0))
