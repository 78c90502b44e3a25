"""The named presets: what torch 2.13 recorded of its own, and what fake-quantizers make of every granularity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preset_facts import all_facts

import nanoquant as nq
from nanoquant import nn, observers, quantization
from nanoquant.quantization import FakeQuantize, FakeQuantizeBase, FixedQParamsFakeQuantize, QConfig

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "presets.json").read_text())
OURS = all_facts(quantization)
# torch's old names of the fixed ranges
ALIASES = {f"default_{kind}_fixed_qparams_{what}" for kind in ("affine", "symmetric") for what in ("observer", "fake_quant")}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What torch says and nanoquant does not, weights' averaging constants apart, which are 1 (README's table)."""
    if "activation" in theirs:
        return {role: found for role in theirs if (found := differences(ours[role], theirs[role]))}
    weight = theirs["dtype"] == "qint8" and "symmetric" in theirs.get("qscheme", "")
    expected = {**theirs, **({"averaging_constant": 1} if weight and "averaging_constant" in theirs else {})}
    return {key: (ours.get(key), value) for key, value in expected.items() if ours.get(key) != value}


@pytest.mark.parametrize("name", sorted(set(RECORDED) - ALIASES))
def test_a_preset_is_torchs(name: str) -> None:
    assert differences(OURS[name], RECORDED[name]) == {}


def test_the_comparison_can_fail() -> None:
    assert differences(OURS["default_qconfig"], RECORDED["default_per_channel_qconfig"])
    assert differences(OURS["default_fake_quant"], {**RECORDED["default_fake_quant"], "averaging_constant": 1})


def test_no_preset_is_missing_or_made_up() -> None:
    weight_only = {f"int{bits}_weight_only{qat}_qconfig" for bits in (4, 8) for qat in ("", "_qat")}  # torch has none
    assert set(OURS) == (set(RECORDED) - ALIASES) | weight_only


def test_presets_are_factories() -> None:
    for name in OURS:
        preset = getattr(quantization, name, None)
        for factory in preset if isinstance(preset, QConfig) else [preset] if preset else []:
            assert factory() is not factory()


# ---- fake-quantizers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observer", "arguments"),
    [
        (observers.MinMaxObserver, {}),
        (observers.PerChannelMinMaxObserver, {"ch_axis": 1}),
        (observers.PerChannelMinMaxObserver, {"qscheme": nq.per_channel_affine_float_qparams, "dtype": nq.quint4}),
        (observers.PerGroupMinMaxObserver, {"group_size": 4, "dtype": nq.qint4}),
        (observers.PerTokenMinMaxObserver, {}),
    ],
)
def test_every_granularity_is_rounded_as_its_qparams_say(observer: Any, arguments: dict[str, Any]) -> None:
    x = (np.random.default_rng(0).standard_normal((3, 8)) * 10).astype(np.float32)
    fake, alone = FakeQuantize(observer=observer, **arguments), observer(**arguments)
    alone(x)
    y = fake(x).array
    assert np.array_equal(y, nq.qtensor.quantize(x, alone.qparams()).dequantize().array)
    assert len(np.unique(y)) > 3
    assert np.abs(y - x).max() <= fake.scale.max() / 2 * (1 + 1e-5)
    assert fake.zero_point.dtype == (np.float32 if alone.qscheme.float_qparams else np.int64)
    assert fake.scale.shape == fake.zero_point.shape == alone.calculate_qparams()[0].shape
    assert "observer_enabled=1" in repr(fake)


def test_float_zero_points_travel_with_the_state() -> None:
    fake, twin = quantization.default_embedding_fake_quant(), quantization.default_embedding_fake_quant()
    assert twin.zero_point.dtype == np.float32
    x = np.float32([[0.1, 0.9], [5.0, 7.3]])
    expected = fake(x)
    twin.load_state_dict(fake.state_dict())
    twin.disable_observer()
    assert np.array_equal(twin.zero_point, fake.zero_point)
    assert not np.array_equal(twin.zero_point, np.rint(twin.zero_point))
    assert np.array_equal(twin(x), expected)


def test_constants_need_no_data() -> None:
    fake = quantization.default_fixed_qparams_range_neg1to1_fake_quant()
    fake.disable_observer()
    assert fake([0.3, 5.0, -5.0]).tolist() == [0.296875, 0.9921875, -1.0]
    assert (fake.scale, fake.zero_point) == (1 / 128, 128)
    with pytest.raises(TypeError, match="FixedQParamsFakeQuantize needs a FixedQParamsObserver; got MinMaxObserver"):
        FixedQParamsFakeQuantize(observers.MinMaxObserver.with_args())


def test_the_fused_name_computes_the_same() -> None:
    x = np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32)
    one, two = (quantization.get_default_qat_qconfig("x86", version).activation() for version in (0, 1))
    assert [type(f).__name__ for f in (one, two)] == ["FakeQuantize", "FusedMovingAvgObsFakeQuantize"]
    for _ in range(3):
        assert np.array_equal(one(x), two(x))
        x *= 2


class Halver(FakeQuantizeBase):
    """A user's own: rounds down by half."""

    def forward(self, x: Any) -> Any:
        return x * 0.5 if self.fake_quant_enabled[0] else x

    def calculate_qparams(self) -> Any:
        return np.float32([1]), np.int64([0])


def test_switches_reach_a_users_own_fake_quantizer() -> None:
    own = Halver.with_args()()
    nn.Sequential(own).apply(quantization.disable_fake_quant).apply(quantization.disable_observer)
    assert (own(4), own.observer_enabled[0]) == (4, 0)
    own.enable_fake_quant()
    assert own(4) == 2


def test_float_dtypes_are_for_what_stays_float() -> None:
    assert quantization.PlaceholderObserver.with_args(dtype=nq.float16)().float_dtype == "float16"
    with pytest.raises(TypeError, match="dtype must be a QDType"):
        observers.MinMaxObserver.with_args(dtype=nq.float16)
