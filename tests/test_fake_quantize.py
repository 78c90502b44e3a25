"""Fake-quantizers and learned scales: forward and backward as torch's unfused classes, and as their derivations say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
from golden_vectors import cases
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python

from nanoquant import (
    QParams,
    QScheme,
    Tensor,
    affine,
    nn,
    optim,
    per_channel_symmetric,
    per_tensor_symmetric,
    qint8,
    quantization,
    tensor,
)
from nanoquant.autograd import fake_quant
from nanoquant.kernels import native
from nanoquant.kernels.fake_quantize import Rounding
from nanoquant.observers import NotCalibratedError
from nanoquant.quantization import (
    FakeQuantize,
    LearnableFakeQuantize,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    PerGroupMinMaxObserver,
)
from nanoquant.scheme import QDTYPES

KINDS = {"FakeQuantize": FakeQuantize, "Learnable": LearnableFakeQuantize}


def made(options: dict[str, Any]) -> Any:
    arguments = {k: v for k, v in options.items() if k not in ("observer", "kind")}
    arguments.update(dtype=QDTYPES[options["dtype"]], qscheme=QScheme[options["qscheme"]])
    return KINDS[options["kind"]](observer=getattr(quantization, options["observer"]), **arguments)


def test_torch_to_the_last_bit() -> None:
    for options, arrays in cases("fake_quantizers"):
        fake = made(options)
        fake(arrays["first"])
        if options["kind"] == "Learnable":
            fake.enable_param_learning()
            fake.scale.array, fake.zero_point.array = arrays["start_scale"], arrays["start_zero_point"]
        x = Tensor(arrays["x"], requires_grad=True)
        y = fake(x)
        y.backward(arrays["g"])
        if fake.qscheme.float_qparams:  # torch contracts a multiply-add in the last elements of a row, and not before
            steps = x.array / arrays["scale"][:, None] + arrays["zero_point"][:, None]
            near_tie = np.abs(steps % 1 - 0.5) < 1e-3
            slack = 2.0**-20 * np.abs(arrays["y"]).max()
            assert np.allclose(y.array[~near_tie], arrays["y"][~near_tie], rtol=0, atol=slack), options
            assert np.array_equal(x.grad.array[~near_tie], arrays["dx"][~near_tie]), options
        else:
            assert np.array_equal(y.array, arrays["y"]), options
            assert np.array_equal(x.grad.array, arrays["dx"]), options
        if options["kind"] == "FakeQuantize":
            assert np.array_equal(fake.scale, arrays["scale"]), options
            assert np.array_equal(fake.zero_point, arrays["zero_point"]), options
            continue
        # sums of 120 float32 terms, or 24 per channel, taken in another order
        size = np.abs(arrays["g"]).sum() * max(abs(options["quant_min"]), options["quant_max"]) * 2
        for ours, theirs in (("scale", "scale_gradient"), ("zero_point", "zero_point_gradient")):
            if theirs in arrays:
                grad = getattr(fake, ours).grad.array
                unit = size if ours == "scale" else size * arrays["start_scale"]
                assert (np.abs(grad - arrays[theirs]) <= 120 * 2.0**-24 * unit).all(), (options, ours)


# ---- the gradients of LSQ ------------------------------------------------------------------------------------------------


def learner(observer: Any = MinMaxObserver, **options: Any) -> LearnableFakeQuantize:
    return LearnableFakeQuantize(observer, dtype=qint8, quant_min=-8, quant_max=7, **options)


@given(strategies.seeds)
def test_the_scale_gradient_is_that_of_the_straight_line(seed: int) -> None:
    """With the rounding error held constant the fake-quantizer is smooth between its kinks: differences must agree."""
    g = np.random.default_rng(seed)
    x = (g.standard_normal(50) * 4).astype(np.float32)
    scale, zero_point = float(np.float32(g.uniform(0.3, 1))), int(g.integers(-3, 4))
    steps = np.float64(x) / scale
    near_kink = (np.abs(steps + zero_point + 8.5) < 1e-3) | (np.abs(steps + zero_point - 7.5) < 1e-3)
    near_tie = np.abs(np.abs(steps % 1 - 0.5)) < 1e-3
    x, steps = x[~near_kink & ~near_tie], steps[~near_kink & ~near_tie]
    error = np.rint(steps) - steps

    def line(s: float, z: float) -> Any:
        inside = (np.rint(steps) + zero_point >= -8) & (np.rint(steps) + zero_point <= 7)
        ends = np.where(steps < 0, -8, 7) - z
        return np.where(inside, s * (np.float64(x) / s + error), s * ends)

    fake = learner(scale=scale, zero_point=zero_point)
    fake.enable_param_learning()
    weights = g.standard_normal(x.shape)
    fake(x).backward(weights.astype(np.float32))
    h = 1e-6
    by_scale = (weights * (line(scale + h, zero_point) - line(scale - h, zero_point))).sum() / (2 * h)
    by_zero_point = (weights * (line(scale, zero_point + h) - line(scale, zero_point - h))).sum() / (2 * h)
    assert float(fake.scale.grad.array[0]) == pytest.approx(by_scale, rel=1e-4, abs=1e-3)
    assert float(fake.zero_point.grad.array[0]) == pytest.approx(by_zero_point, rel=1e-4, abs=1e-3)


@given(strategies.seeds, st.sampled_from(["channel", "group"]))
def test_channels_and_groups_learn_as_tensors_of_their_own(seed: int, granularity: str) -> None:
    x = np.random.default_rng(seed).standard_normal((4, 6)).astype(np.float32)
    if granularity == "channel":
        together = learner(PerChannelMinMaxObserver, qscheme=per_channel_symmetric)
        parts = list(x)
    else:
        together = learner(PerGroupMinMaxObserver, qscheme=QScheme.per_group_symmetric, group_size=3)
        parts = list(x.reshape(8, 3))
    together(x)
    together.enable_param_learning()
    together.scale.array *= np.float32(0.4)
    together(x).sum().backward()
    gradients = together.scale.grad.array.reshape(-1)
    for part, gradient in zip(parts, gradients, strict=True):
        alone = learner(qscheme=per_tensor_symmetric)
        alone(part)
        alone.enable_param_learning()
        alone.scale.array *= np.float32(0.4)
        alone(part).sum().backward()
        assert gradient == alone.scale.grad.array[0]


def test_gradient_scaling() -> None:
    x = np.linspace(-3, 3, 100).astype(np.float32)
    gradients = []
    for scaled in (False, True):
        fake = learner(use_grad_scaling=scaled, scale=0.1)
        fake.enable_param_learning()
        fake(x).sum().backward()
        gradients.append(fake.scale.grad.array)
    assert gradients[1] == pytest.approx(gradients[0] / np.sqrt(100 * 7), rel=1e-6)


def test_a_learned_scale_ends_where_the_error_is_smallest() -> None:
    """The squared error of a normal variable in four levels is smallest near a step of 1."""
    x = tensor(np.random.default_rng(0).standard_normal(20_000).astype(np.float32))
    fake = LearnableFakeQuantize(MinMaxObserver, -2, 1, dtype=qint8, qscheme=per_tensor_symmetric, use_grad_scaling=True)
    fake(x)
    fake.enable_param_learning()
    optimizer = optim.SGD([fake.scale], lr=20.0)
    for _ in range(150):
        optimizer.zero_grad()
        ((fake(x) - x) ** 2).mean().backward()
        optimizer.step()

    def loss(scale: float) -> float:
        levels = scale * np.array([-2, -1, 0, 1])
        return float((np.abs(x.array[:, None] - levels).min(axis=1) ** 2).mean())

    steps = np.linspace(0.5, 2, 151)
    best = steps[np.argmin([loss(s) for s in steps])]
    assert float(fake.scale.array[0]) == pytest.approx(best, rel=0.1)


def test_the_three_states() -> None:
    x = np.float32([-1.0, 0.3, 1.0])
    fake = learner()
    fake.enable_static_observation()
    assert np.array_equal(fake(x).array, x)
    fake.enable_static_estimate()
    assert not np.array_equal(fake(x).array, x)
    scale = fake.scale.array.copy()
    fake.enable_param_learning()
    fake(10 * x)
    assert np.array_equal(fake.scale.array, scale)
    assert [p.requires_grad for p in fake.parameters()] == [True, True]
    fake.scale.array[:] = np.nan
    with pytest.raises(NotCalibratedError, match="not finite: lower the learning rate"):
        fake(x)


def test_symmetric_schemes_keep_their_zero_point_in_the_middle() -> None:
    for dtype, limits, middle in ((qint8, (-8, 7), 0), (QDTYPES["quint8"], (0, 255), 127), (QDTYPES["quint8"], (0, 14), 7)):
        fake = LearnableFakeQuantize(MinMaxObserver, *limits, dtype=dtype, qscheme=per_tensor_symmetric)
        fake(np.float32([-1, 2]))
        fake.enable_param_learning()
        fake.zero_point.array[:] = 3
        assert fake.calculate_qparams()[1] == middle


def test_learned_scales_are_saved_and_loaded() -> None:
    net, other = (nn.Sequential(learner()) for _ in range(2))
    net(np.float32([-1, 2]))
    other.load_state_dict(net.state_dict())
    assert np.array_equal(other[0].scale.array, net[0].scale.array)


# ---- in C --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", native.available_isas())
@pytest.mark.parametrize(("axis", "permuted"), [(None, False), (None, True), (0, False), (0, True)])
def test_c_rounds_as_numpy_does(isa: str, axis: int | None, permuted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOQUANT_ISA", isa)
    g = np.random.default_rng(3)
    for shape in ((1, 1), (3, 5, 2, 7), (2, 33, 4, 4), (40, 5000)):
        x, dy = (g.standard_normal(shape).astype(np.float32) for _ in range(2))
        if permuted:
            x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        n = () if axis is None else shape[0]
        qparams = QParams(
            np.float32(g.uniform(0.001, 0.1, n)), g.integers(-100, 100, n), qint8, axis, quant_min=-120, quant_max=119
        )
        x.reshape(-1)[:: max(x.size // 7, 1)] = np.inf
        ties = x.reshape(-1)[1 : x.size // 2]
        ties[...] = (g.integers(-300, 300, ties.shape) + 0.5) * qparams.scale.reshape(-1)[0]
        rounding = Rounding(qparams.scale, -120 - qparams.zero_point, 119 - qparams.zero_point)
        np.testing.assert_array_equal(rounding(x), affine.fake_quantize_as(x, qparams))
        np.testing.assert_array_equal(rounding(x, dy), dy * fake_quant.represented(x, qparams))
        assert rounding(x).strides == x.strides or axis == 0
        with pytest.raises(ValueError, match="cannot quantize NaN"):
            rounding(np.full_like(x, np.nan))


def test_c_refuses_scales_and_steps_that_make_no_sense() -> None:
    x = np.ones(4, np.float32)
    for scale, low, high in ((0, 0, 1), (np.inf, 0, 1), (1, 2, 1), (1, -40_000, 0), (1, 0, 40_000), (1, np.nan, 0)):
        with pytest.raises(ValueError, match="fake_quantize: "):
            Rounding(*(np.float32(v) for v in (scale, low, high)))(x)


GUARDED = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np, guarded
from nanoquant.kernels.fake_quantize import Rounding
for at_end in (True, False):
    for shape in ((1, 1), (3, 7), (2, 33), (5, 64), (1, 70000)):
        x, g = (guarded.Guarded(np.ones(shape, np.float32), at_end) for _ in range(2))
        Rounding(np.float32(0.1), np.float32(-3), np.float32(3))(x.array)
        Rounding(*(np.full(shape[0], v, np.float32) for v in (0.1, -3, 3)))(x.array, g.array)
        x.close(), g.close()
print("ok")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mmap flags")
def test_no_byte_outside_the_buffers() -> None:
    assert run_python("-c", GUARDED.format(folder=str(Path(__file__).parent))).stdout.split() == ["ok"]
