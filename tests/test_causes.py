"""The classic causes of trouble, each of which torch answers with a page of dispatch keys, or with silence: what is said here.

Each function is one cause; its text is a pattern that the error must match, or '' if the thing works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn
from nanoquant import quantization as tq

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
PER_TENSOR = tq.MinMaxObserver.with_args(dtype=nq.qint8, qscheme=nq.per_tensor_symmetric)
SIGNED = tq.QConfig(activation=PER_TENSOR, weight=PER_TENSOR)
ASYMMETRIC = tq.QConfig(tq.MinMaxObserver, tq.MinMaxObserver.with_args(dtype=nq.qint8, qscheme=nq.per_tensor_affine))
CAUSES: dict[Callable[[], Any], tuple[type[Exception], str]] = {}


def cause(error: type[Exception] = Exception, text: str = "") -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        CAUSES[function] = error, text
        return function

    return register


def network(*layers: nn.Module, stubs: bool = True, qconfig: Any = None) -> nn.Module:
    model = nn.Sequential(*([tq.QuantStub(), *layers, tq.DeQuantStub()] if stubs else layers)).eval()
    model.qconfig = qconfig or tq.get_default_qconfig("x86")
    return model


def integers(model: nn.Module) -> Any:
    """Converted, and what it computes: finite, near what the float model does."""
    prepared = tq.prepare(model)
    wanted = np.asarray(prepared(X))
    converted = tq.convert(prepared)
    y = np.asarray(converted(X))
    assert np.abs(y - wanted).max() < 0.05 * np.abs(wanted).max()
    return converted


def quantized() -> Any:
    return nq.quantize_per_tensor(X, 0.1, 128, nq.quint8)


@cause(ValueError, r"^0 \(QuantizedConv2d\): an int8 layer received a float32 tensor.* Put a QuantStub before it")
def float_into_a_quantized_layer() -> None:
    integers(network(nn.Conv2d(3, 4, 3), stubs=False))


@cause(TypeError, r"no \+ - \* / @.* call a FloatFunctional \(add, mul, .*let prepare_fx place it; elsewhere, dequantize\(\)")
def a_sum_of_quantized_tensors() -> None:
    quantized() + quantized()


@cause(TypeError, r"no \+ - \* / @.* FloatFunctional \(.*mul_scalar\)")
def a_quantized_tensor_times_a_number() -> None:
    2 * quantized()


@cause(AttributeError, r"a quantized tensor has no 'matmul'.* call a FloatFunctional; elsewhere, dequantize\(\) first")
def a_product_of_quantized_matrices() -> None:
    nq.matmul(quantized(), quantized())


@cause(AttributeError, r"a quantized tensor has no 'softmax': in a model, give the layer of that name a qconfig")
def a_softmax_of_a_quantized_tensor() -> None:
    quantized().softmax(-1)


@cause(ValueError, r"^1 \(Conv2d\): a float layer received a quantized tensor.*no qconfig.* put a DeQuantStub before it")
def integers_into_a_float_layer() -> None:
    model = network(nn.Conv2d(3, 4, 3))
    model.get_submodule("1").qconfig = None
    prepared = tq.prepare(model)
    prepared(X)
    tq.convert(prepared)(X)


@cause()
def a_signed_activation() -> None:
    assert "qint8: scale" in str(integers(network(nn.Conv2d(3, 4, 3), qconfig=SIGNED)))


@cause()
def a_signed_activation_in_graph_mode() -> None:
    prepared = tq.prepare_fx(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), tq.QConfigMapping(SIGNED))
    prepared(X)
    assert "qint8: scale" in str(tq.convert_fx(prepared))


@cause()
def the_symmetric_preset_of_qnnpack_on_x86() -> None:
    integers(network(nn.Conv2d(3, 4, 3), qconfig=tq.default_symmetric_qnnpack_qconfig))


@cause()
def a_preset_for_another_engine() -> None:
    """No sum overflows: 0..255 is exact under every instruction set (`kernels.saturation`)."""
    integers(network(nn.Conv2d(3, 4, 3), qconfig=tq.get_default_qconfig("qnnpack")))


@cause(RuntimeError, r"^0 \(QuantStub\): HistogramObserver has seen no data: run calibration data")
def a_conversion_without_calibration() -> None:
    tq.convert(tq.prepare(network(nn.Conv2d(3, 4, 3))))


@cause(ValueError, r"nothing to quantize: .* Set it before, for example model.qconfig = get_default_qconfig\('x86'\)")
def a_preparation_without_a_qconfig() -> None:
    tq.prepare(nn.Sequential(nn.Conv2d(3, 4, 3)).eval())


@cause()
def a_dynamic_convolution() -> None:
    model = tq.quantize_dynamic(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), {nn.Conv2d})
    assert type(model.get_submodule("0")) is nn.quantized.dynamic.Conv2d


@cause()
def a_transposed_convolution_per_channel() -> None:
    assert "per-channel" in str(integers(network(nn.ConvTranspose2d(3, 4, 3))))


@cause(ValueError, r"^1 \(Conv2d\): .* weight qint8 per_tensor_affine .*\. onednn can do: .*per_tensor_symmetric")
def an_asymmetric_weight_for_onednn() -> None:
    nq.backends.quantized.engine = "onednn"
    tq.prepare(network(nn.Conv2d(3, 4, 3), qconfig=ASYMMETRIC))


@cause(ValueError, r"unknown quantized engine 'foo'; supported_engines are qnnpack, fbgemm, x86, onednn")
def an_engine_that_does_not_exist() -> None:
    nq.backends.quantized.engine = "foo"


@cause(ValueError, r"cannot fuse 0, 1: ReLU, Conv2d is no pattern; the patterns are: Linear, ReLU; .*Conv2d, ReLU")
def a_pattern_that_does_not_exist() -> None:
    tq.fuse_modules(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3)).eval(), ["0", "1"])


@pytest.mark.parametrize("function", CAUSES, ids=lambda function: function.__name__)
def test_cause(function: Callable[[], Any]) -> None:
    error, text = CAUSES[function]
    if text:
        with pytest.raises(error, match=text):
            function()
    else:
        function()
