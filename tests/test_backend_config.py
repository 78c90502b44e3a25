"""What a backend can do: every preset under every engine, what cannot be honoured, and the data itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn, observers, quantization
from nanoquant.backends import quantized as backend
from nanoquant.observers import MinMaxObserver, NotCalibratedError, PerChannelMinMaxObserver, PerGroupMinMaxObserver
from nanoquant.quantization import (
    BackendConfig,
    BackendPatternConfig,
    DeQuantStub,
    DTypeConfig,
    DTypeWithConstraints,
    ObservationType,
    QConfig,
    QConfigError,
    QuantStub,
    mappings,
)
from nanoquant.quantization.backend_config import backend_config_of, check_qconfig

ENGINES = backend.supported_engines
OWN = {name: getattr(quantization, name) for name in dir(quantization) if isinstance(getattr(quantization, name), QConfig)}

# What each preset can be used for on a Linear or Conv2d: post-training, training, dynamic. All else is an error at once.
STATIC = {"default", "default_per_channel", "default_symmetric_qnnpack", "default_per_channel_symmetric_qnnpack"}
TRAINED = {"default_qat", "default_symmetric_qnnpack_qat", "default_per_channel_symmetric_qnnpack_qat"}
DYNAMIC = {"default_dynamic", "per_channel_dynamic", "default_dynamic_qat", "float16_dynamic"}
WEIGHT_ONLY = {"default_weight_only", *(f"int{bits}_weight_only{qat}" for bits in (4, 8) for qat in ("", "_qat"))}


def named(names: set[str]) -> set[str]:
    return {f"{name}_qconfig" for name in names}


def network() -> tuple[nn.Sequential, np.ndarray]:
    nq.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    return nn.Sequential(QuantStub(), *layers, DeQuantStub()), nq.randn(32, 2, 4, 4).array


def close(model: Any, quantized: Any, x: np.ndarray) -> bool:
    y, expected = quantized(x).array, model.eval()(x).array
    return bool(10 * np.log10((expected**2).sum() / ((expected - y) ** 2).sum()) > 20)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", sorted(OWN))
def test_a_preset_works_or_says_why_not(name: str, engine: str) -> None:
    backend.engine = engine
    model, x = network()
    for prepare, mode, works in (
        (quantization.prepare, False, named(STATIC | {"default_debug", "default_dynamic", "per_channel_dynamic"})),
        (quantization.prepare_qat, True, {*named(TRAINED), "default_qat_qconfig_v2"}),
    ):
        model.train(mode).qconfig = OWN[name]
        if name not in works:
            with pytest.raises(QConfigError, match=r"^0 \(QuantStub\): |^1 \(Conv2d\)"):
                prepare(model)
            continue
        prepared = prepare(model)
        prepared(x)
        if name == "default_debug_qconfig":
            assert np.array_equal(prepared[0].activation_post_process.get_tensor_value()[0], x)
            with pytest.raises(NotCalibratedError, match=r"^0 \(QuantStub\): RecordingObserver records"):
                quantization.convert(prepared)
        else:
            assert close(model, quantization.convert(prepared.eval()), x)
    linear, x = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)), nq.randn(64, 32).array
    if name in named(DYNAMIC | WEIGHT_ONLY):
        assert close(linear, quantization.quantize_dynamic(linear, {nn.Linear: OWN[name]}), x)
    else:
        with pytest.raises(QConfigError, match=r"^0 \(Linear\): its qconfig asks for "):
            quantization.quantize_dynamic(linear, {nn.Linear: OWN[name]})


def test_the_lists_above_name_presets() -> None:
    assert named(STATIC | TRAINED | DYNAMIC | WEIGHT_ONLY) | {"default_qat_qconfig_v2"} <= set(OWN)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", ENGINES)
def test_defaults_of_one_engine_work_under_another(engine: str, other: str) -> None:
    backend.engine = engine
    model, x = network()
    model.eval().qconfig = quantization.get_default_qconfig(other)
    prepared = quantization.prepare(model)
    prepared(x)
    assert close(model, quantization.convert(prepared), x)


INT8 = quantization.default_per_channel_weight_observer


@pytest.mark.parametrize(
    ("activation", "weight", "message"),
    [
        (MinMaxObserver.with_args(dtype=nq.qint32), INT8, r"activation qint32 per_tensor_affine in \[-2147483648, "),
        (MinMaxObserver.with_args(dtype=nq.qint16), INT8, "activation qint16"),
        (MinMaxObserver.with_args(dtype=nq.qint4), INT8, r"activation qint4 per_tensor_affine in \[-8, 7\]"),
        (PerChannelMinMaxObserver, INT8, "activation quint8 per_channel_affine on axis 0"),
        (observers.PerTokenMinMaxObserver, INT8, "activation quint8 per_token_affine"),
        (observers.ReuseInputObserver, INT8, r"activation no range \(ReuseInputObserver\)"),
        (MinMaxObserver, MinMaxObserver, "weight quint8"),
        (MinMaxObserver, MinMaxObserver.with_args(dtype=nq.qint4), "weight qint4"),
        (MinMaxObserver, quantization.default_float_qparams_observer, "weight quint8 per_channel_affine_float_qparams"),
        (
            MinMaxObserver,
            PerGroupMinMaxObserver.with_args(group_size=2, dtype=nq.qint8),
            "weight qint8 per_group_affine on axis -1",
        ),
        (MinMaxObserver, INT8.with_args(ch_axis=1), "weight qint8 per_channel_symmetric on axis 1"),
        (*quantization.float16_static_qconfig, r"activation float16 \(PlaceholderObserver\), weight float16"),
    ],
)
def test_what_no_kernel_honours_is_an_error_at_prepare(activation: Any, weight: Any, message: str) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.ReLU()).eval()
    model[0][0].qconfig = QConfig(activation, weight)
    possible = "x86 can do: activation quint8 per_tensor_affine or per_tensor_symmetric, weight qint8 "
    with pytest.raises(QConfigError, match=rf"^0\.0 \(Linear\): its qconfig asks for .*{message}.*{possible}.*"):
        quantization.prepare(model)
    model[0][0].qconfig = None
    model.qconfig = quantization.default_qconfig
    with pytest.raises(QConfigError, match="nothing to quantize"):
        quantization.prepare(model)


def test_the_cure_is_said() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.qconfig = quantization.default_quint8_weight_qconfig
    with pytest.raises(QConfigError, match=r"Change the qconfig, or keep the module in float with 0\.qconfig = None$"):
        quantization.prepare(model)
    del model.qconfig
    with pytest.raises(QConfigError, match="x86 can do: activation dynamic quint8 .*That is what prepare and convert do"):
        quantization.quantize_dynamic(model, {nn.Linear: quantization.default_qconfig})


def test_fake_quantizers_are_for_training() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.qconfig = quantization.get_default_qat_qconfig("x86")
    with pytest.raises(QConfigError, match=r"^0 \(Linear\): the activation .* rounds what it observes, .* prepare_qat"):
        quantization.prepare(model)
    model.qconfig = QConfig(MinMaxObserver, quantization.default_weight_fake_quant)
    with pytest.raises(QConfigError, match=r"the weight of its qconfig .* rounds"):
        quantization.prepare(model)


def test_onednn_wants_symmetric_weights() -> None:
    model = nn.Sequential(QuantStub(), nn.Linear(2, 2))
    model.qconfig = QConfig(MinMaxObserver, MinMaxObserver.with_args(dtype=nq.qint8))
    quantization.prepare(model)
    backend.engine = "onednn"
    with pytest.raises(QConfigError, match=r"^1 \(Linear\): .*weight qint8 per_tensor_affine in .*onednn can do: "):
        quantization.prepare(model)


# ---- constraints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        ({}, MinMaxObserver(), MinMaxObserver(dtype=nq.qint8)),
        ({"quant_max_upper_bound": 127}, MinMaxObserver(reduce_range=True), MinMaxObserver()),
        ({"quant_min_lower_bound": 1}, None, MinMaxObserver()),
        ({"scale_min_lower_bound": 2**-12}, MinMaxObserver(eps=2**-12), MinMaxObserver()),
        ({"qschemes": (nq.per_tensor_affine,)}, MinMaxObserver(), MinMaxObserver(qscheme=nq.per_tensor_symmetric)),
        ({"ch_axis": 1}, PerChannelMinMaxObserver(ch_axis=1), PerChannelMinMaxObserver()),
        ({"ch_axis": 1}, MinMaxObserver(), observers.MovingAveragePerChannelMinMaxObserver()),
        (
            {"scale_exact_match": 1 / 256, "zero_point_exact_match": 0},
            quantization.default_fixed_qparams_range_0to1_observer(),
            quantization.default_fixed_qparams_range_neg1to1_observer(),
        ),
        ({"scale_exact_match": 1 / 256}, quantization.default_fixed_qparams_range_0to1_observer(), MinMaxObserver()),
        (
            {"scale_max_upper_bound": 0.005},
            quantization.default_fixed_qparams_range_0to1_observer(),
            quantization.default_fixed_qparams_range_neg1to1_observer(),
        ),
    ],
)
def test_constraints(constraint: dict[str, Any], allowed: Any, refused: Any) -> None:
    demand = DTypeWithConstraints(nq.quint8, **constraint)
    assert allowed is None or demand.allows(allowed)
    assert not demand.allows(refused)
    assert all(name in str(demand) for name in constraint if name != "qschemes")
    assert DTypeWithConstraints().allows(refused)


def test_float_dtypes() -> None:
    half = DTypeWithConstraints(nq.float16)
    assert half.allows(quantization.float16_dynamic_qconfig.activation())
    assert not half.allows(quantization.default_placeholder_observer())
    assert not half.allows(MinMaxObserver())
    assert DTypeWithConstraints(nq.float32).allows(nn.Identity())


# ---- the data --------------------------------------------------------------------------------------------------------


def test_a_backend_of_ones_own() -> None:
    """Torch's builders, as its documentation strings them together."""
    config = DTypeConfig(input_dtype=nq.quint8, output_dtype=nq.quint8, weight_dtype=nq.qint8, bias_dtype=nq.float32)
    pattern = (
        BackendPatternConfig(nn.Linear)
        .set_observation_type(ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT)
        .add_dtype_config(config)
        .set_root_module(nn.Linear)
        .set_qat_module(nn.qat.Linear)
        .set_reference_quantized_module(nn.quantized.Linear)
    )
    mine = BackendConfig("mine").set_backend_pattern_config(pattern)
    assert mine.configs == [pattern]
    qconfig = quantization.default_quint8_weight_qconfig
    for module, own, raises in (
        (nn.Linear(1, 1), qconfig, True),
        (nn.Linear(1, 1), None, False),
        (nn.Conv2d(1, 1, 1), qconfig, False),
    ):
        if raises:
            with pytest.raises(QConfigError, match=r"^fc \(Linear\): .* mine can do: activation quint8, weight qint8\."):
                check_qconfig("fc", module, own, mine)
        else:
            check_qconfig("fc", module, own, mine)
    pattern.set_dtype_configs([replace(config, weight_dtype=nq.quint8)])
    check_qconfig("fc", nn.Linear(1, 1), qconfig, mine)
    pattern.set_dtype_configs([])
    with pytest.raises(QConfigError, match="mine can do: nothing"):
        check_qconfig("fc", nn.Linear(1, 1), qconfig, mine)


@pytest.mark.parametrize("name", ["native", *ENGINES])
def test_dicts_and_back(name: str) -> None:
    config = getattr(quantization, f"get_{name}_backend_config")()
    assert config == backend_config_of(name) or config.name == name
    again = BackendConfig.from_dict(config.to_dict())
    assert again == config
    assert again.set_name("x") != config
    linear = config.patterns[nn.Linear]
    assert [c.to_dict()["bias_dtype"] for c in linear.dtype_configs] == [nq.float32] * 8
    assert [bool(c.is_dynamic) for c in linear.dtype_configs] == [False] * 6 + [True] * 2


def test_patterns_are_what_the_tables_say() -> None:
    config = quantization.get_native_backend_config()
    assert set(config.patterns) >= {*mappings.STATIC, *mappings.QAT}
    assert config.patterns[nn.Conv2d].qat_module is nn.qat.Conv2d
    assert config.patterns[DeQuantStub].observation_type is ObservationType.INPUT_OUTPUT_NOT_OBSERVED
    for kind in (nn.MaxPool2d, nn.Dropout, nn.Identity):
        assert config.patterns[kind].observation_type is ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT
        check_qconfig("m", kind(2) if kind is nn.MaxPool2d else kind(), OWN["float16_static_qconfig"], config)
    fuse = config.patterns[nn.Linear, nn.ReLU].fuser_method
    assert type(fuse(False, nn.Linear(1, 1), nn.ReLU())) is nn.intrinsic.LinearReLU
    fuse = config.patterns[nn.Conv2d, nn.BatchNorm2d].fuser_method
    assert type(fuse(True, nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))) is nn.intrinsic.ConvBn2d
