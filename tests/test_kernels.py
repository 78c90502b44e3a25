"""The kernels: every instruction set, through one tester, equals the NumPy specification bit for bit.

`run` computes a layer on one instruction set; `specify` by `kernels.reference` and `numerics`; and the specification
itself equals `oracles`, which shares no code with it.
"""

from __future__ import annotations

import copy
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given, settings
from hypothesis import strategies as st
from processes import run_python
from strategies import Layer

from nanoquant import numerics, qparams
from nanoquant.kernels import dynamic, native, reference
from nanoquant.kernels.grid import Grid
from nanoquant.kernels.packed import Input, Output, PackedWeights
from nanoquant.numerics import Profile

OUTPUTS = [
    Output(0.5, 0, np.dtype(np.uint8)),
    Output(20.0, 128, np.dtype(np.uint8)),
    Output(3.0, -7, np.dtype(np.int8)),
    Output(3.0, 100, np.dtype(np.uint8), quant_min=90, quant_max=150),
    Output(),
    Output(accumulators=True),
    Output(1e-4, 100, np.dtype(np.uint8)),  # a multiplier of more than 1
]


def pack(layer: Layer, arrays: dict[str, Any], profile: Profile = Profile.fbgemm) -> PackedWeights:
    return PackedWeights(
        arrays["w"], arrays["w_scale"], arrays["w_zero_point"], arrays["bias"],
        profile=profile, **layer.geometry,
    )  # fmt: skip


def run(layer: Layer, packed: PackedWeights, x: np.ndarray, given_: Input, wanted: Output, isa: str) -> np.ndarray:
    """The layer by the C library: one line of pixels under a kernel of one as a linear layer."""
    if len(x) == 1 and not layer.transposed and (layer.kernel, layer.padding, layer.stride) == ((1,), (0,), (1,)):
        return packed.linear(x[0], given_, wanted, isa=isa)[np.newaxis]
    return packed.conv(x, given_, wanted, isa=isa)


def specify(arrays: dict[str, Any], acc: np.ndarray, given_: Input, wanted: Output, profile: Profile) -> np.ndarray:
    """The layer by the NumPy specification, from its accumulators on."""
    if wanted.accumulators:
        return acc.astype(np.int32)
    outputs = arrays["w"].shape[0]
    w_zero = np.broadcast_to(arrays["w_zero_point"], (outputs,))[:, np.newaxis]
    magnitude = np.abs(arrays["w"].astype(np.int64).reshape(outputs, -1) - w_zero).sum(axis=1)
    limits = np.iinfo(wanted.dtype)
    epilogue = numerics.bind(
        profile, given_.scale, arrays["w_scale"], arrays["bias"], magnitude, wanted.scale, wanted.zero_point,
        limits.min if wanted.quant_min is None else wanted.quant_min,
        limits.max if wanted.quant_max is None else wanted.quant_max, wanted.relu,
    )  # fmt: skip
    return epilogue(acc).astype(np.float32 if wanted.scale is None else wanted.dtype)


def compare(layer: Layer, profiles: Iterable[Profile], outputs: list[Output]) -> None:
    """Runs a layer everywhere and compares; reports the first difference in full."""
    arrays = layer.arrays()
    given_ = Input(0.037, arrays["x_zero_point"], arrays["x"].dtype)
    acc = reference.accumulate(arrays["x"], given_.zero_point, arrays["w"], arrays["w_zero_point"], **layer.geometry)
    for profile in profiles:
        packed = pack(layer, arrays, profile)
        for wanted in outputs:
            wanted = wanted._replace(relu=layer.relu)
            expected = specify(arrays, acc, given_, wanted, profile)
            for isa in native.available_isas():
                got = run(layer, packed, arrays["x"], given_, wanted, isa)
                assert got.shape == expected.shape
                if not np.array_equal(got, expected):
                    at = tuple(int(i) for i in np.argwhere(got != expected)[0])
                    raise AssertionError(f"{isa}, {profile}, {wanted}: {got[at]} at {at}, expected {expected[at]}")


# one column of weights and stride 3: two thirds of the phases have no tap at all
NO_TAPS = Layer(
    seed=0, batch=2, size=(5, 5), groups=3, inputs=16, outputs=3, kernel=(2, 1), stride=(1, 3), padding=(2, 0),
    dilation=(2, 2), extreme=False, signed=True, asymmetric=False, per_channel=True, bias=False, relu=True, transposed=True,
    output_padding=(2, 2),
)  # fmt: skip


@given(strategies.layers())
@example(NO_TAPS)
def test_convolutions(layer: Layer) -> None:
    compare(layer, Profile, OUTPUTS)


@given(strategies.depthwise_layers())
def test_depthwise_convolutions(layer: Layer) -> None:
    compare(layer, Profile, OUTPUTS)


@given(strategies.layers(linear=True))
def test_linear_layers(layer: Layer) -> None:
    compare(layer, Profile, OUTPUTS)


TILES = [0, 1, 2, 5, 6, 7, 8, 9, 12, 13, 17]
STRIPS = [1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 80, 129]
DEPTHS = [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65]


@pytest.mark.parametrize("rows", TILES)
def test_every_tile_edge(rows: int) -> None:
    """Rows, columns and depths around every multiple that a micro-kernel cares about, with and without zero points."""
    for number, columns in enumerate(STRIPS):
        for depth in (DEPTHS[number % len(DEPTHS)], DEPTHS[(number * 3 + rows) % len(DEPTHS)]):
            for extreme in (False, True):
                layer = Layer(
                    seed=rows, batch=1, size=(rows,), groups=1, inputs=depth, outputs=columns, kernel=(1,),
                    stride=(1,), padding=(0,), dilation=(1,), extreme=extreme, signed=False,
                    asymmetric=number % 2 == 0, per_channel=True, bias=True, relu=False,
                )  # fmt: skip
                profiles = Profile.fbgemm, Profile(1 + (number + rows) % (len(Profile) - 1))
                compare(layer, profiles, [OUTPUTS[1], OUTPUTS[4]])


@pytest.mark.parametrize("columns", [1, 8, 16, 17, 31, 32, 33, 48, 64, 80])
def test_long_lines(columns: int) -> None:
    """Rows enough for a series of tiles, with what is left over, under every epilogue; a line of them, and padded lines."""
    for number, rows in enumerate((24, 25, 31, 32, 39, 60)):
        line = Layer(
            seed=columns, batch=1 + number % 2, size=(rows,), groups=1 + number // 4, inputs=(9, 12, 13, 16, 63, 64)[number],
            outputs=columns, kernel=(1,), stride=(1,), padding=(0,), dilation=(1,), extreme=number % 3 == 0,
            signed=number % 2 == 1, asymmetric=False, per_channel=number % 4 < 2, bias=True, relu=number == 2,
        )  # fmt: skip
        image = replace(
            line, size=(3 + number, 27), inputs=5, kernel=(3, 3), stride=(1, 1), padding=(number % 3, 1), dilation=(1, 1)
        )
        spaced = replace(line, kernel=(4,), stride=(2,), inputs=12, groups=1, transposed=True)  # pixels of each phase
        for layer in (line, image, replace(image, kernel=(1, 1), inputs=12, padding=(0, 0)), spaced):
            compare(layer, Profile, OUTPUTS)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 7)])
@pytest.mark.parametrize("groups", [1, 8, 16, 24])
def test_depthwise_and_dense(kernel: tuple[int, int], groups: int) -> None:
    layer = Layer(
        seed=groups, batch=2, size=(9, 11), groups=groups, inputs=1, outputs=2, kernel=kernel, stride=(2, 1),
        padding=(kernel[0] // 2, kernel[1] // 2), dilation=(1, 1), extreme=False, signed=False, asymmetric=True,
        per_channel=True, bias=True, relu=True,
    )  # fmt: skip
    compare(layer, [Profile.qnnpack], OUTPUTS)


@pytest.mark.parametrize("inputs", [2, 3, 4, 7, 8, 12, 16])
@pytest.mark.parametrize("outputs", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("transposed", [False, True])
def test_groups_of_few_channels(inputs: int, outputs: int, transposed: bool) -> None:
    """Groups that share a strip, with inputs that may be spread; in place and padded; some with zero points."""
    for number, (padding, dilation, extreme) in enumerate([((0, 0), (1, 1), True), ((1, 0), (2, 1), False)]):
        layer = Layer(
            seed=inputs, batch=2, size=(7, 9), groups=8, inputs=inputs, outputs=outputs, kernel=(3, 2), stride=(1, 2),
            padding=padding, dilation=dilation, extreme=extreme, signed=False, asymmetric=inputs + outputs == 6,
            per_channel=True, bias=True, relu=False, transposed=transposed,
        )  # fmt: skip
        compare(layer, [Profile(number), Profile.tflite], [OUTPUTS[1], OUTPUTS[5]])


@pytest.mark.parametrize("inputs", [1, 2, 3, 5])
@pytest.mark.parametrize(("kernel", "stride"), [((7, 7), (2, 2)), ((3, 3), (2, 2)), ((3, 3, 3), (1, 2, 1)), ((9,), (2,))])
def test_first_layers(kernel: tuple[int, ...], stride: tuple[int, ...], inputs: int) -> None:
    """Few input channels, whose runs are joined by a copy, a part of the rows at a time."""
    padding = tuple(k // 2 for k in kernel)
    layer = Layer(
        seed=inputs, batch=2, size=(9, 41, 43)[3 - len(kernel) :], groups=1, inputs=inputs, outputs=65, kernel=kernel,
        stride=stride, padding=padding, dilation=(1,) * len(kernel), extreme=False, signed=inputs == 2,
        asymmetric=inputs % 2 == 0, per_channel=True, bias=True, relu=True,
    )  # fmt: skip
    compare(layer, [Profile.fbgemm], [OUTPUTS[1], OUTPUTS[5]])


def test_many_channels_at_a_stride() -> None:
    """A kernel of one pixel over skipped ones: copied together when many strips read them."""
    layer = Layer(1, 2, (17, 19), 1, 48, 130, (1, 1), (2, 2), (0, 0), (1, 1), False, False, True, True, True, True)
    compare(layer, [Profile.fbgemm], [OUTPUTS[1], OUTPUTS[5]])


@settings(max_examples=20)
@given(strategies.layers())
def test_the_specification_itself(layer: Layer) -> None:
    arrays = layer.arrays()
    outputs = arrays["w"].shape[0]
    w_zero = np.broadcast_to(arrays["w_zero_point"], (outputs,))
    arrays["x"] = arrays["x"][:1]  # the oracle is slow
    given_ = arrays["x"], arrays["x_zero_point"], arrays["w"]
    acc = reference.accumulate(*given_, arrays["w_zero_point"], **layer.geometry)
    expected = oracles.convolve(*given_, w_zero, **layer.geometry)
    assert np.array_equal(acc, expected.astype(np.int64))


def test_full_range_products_do_not_saturate(isa: str) -> None:
    """255 * 127 in neighbouring pairs: 16-bit sums would stick at 32767."""
    x, w = np.full((3, 64), 255, np.uint8), np.full((5, 64, 1, 1), 127, np.int8)
    for sign in (1, -1):
        packed = PackedWeights((w * sign).astype(np.int8), np.float32(1), np.int64(0))
        y = packed.linear(x, Input(1.0, 0), Output(accumulators=True), isa=isa)
        assert (y == sign * 255 * 127 * 64).all()
    packed = PackedWeights(np.full((5, 64, 1, 1), -128, np.int8), np.float32(1), np.int64(0))
    assert (packed.linear(x, Input(1.0, 0), Output(accumulators=True), isa=isa) == -255 * 128 * 64).all()


@pytest.mark.parametrize("pair", [(127, 1), (127, 2), (64, 64), (-128, 0), (-128, -1), (-64, -65), (-128, 127)])
@pytest.mark.parametrize("highest", [127, 128, 255])
def test_pairs_at_the_edge_of_int16(pair: tuple[int, int], highest: int, isa: str) -> None:
    """255 * 128 fits int16 and 255 * 129 does not: one such pair, or one activation, decides which products are taken.

    Depths of more than 1024 are widened in several pieces.
    """
    for depth in (2, 30, 1023, 1024, 1026, 2500):
        w, x = np.ones((19, depth), np.int8), np.full((7, depth), min(highest, 127), np.uint8)
        w[:, depth // 2 - 1 : depth // 2 + 1] = w[7, :2] = pair
        x[3, depth // 2 - 1 : depth // 2 + 1] = highest
        packed = PackedWeights(w[:, :, np.newaxis, np.newaxis], np.float32(1), np.int64(0))
        y = packed.linear(x, Input(1.0, 0), Output(accumulators=True), isa=isa)
        assert np.array_equal(y, x.astype(np.int64) @ w.T.astype(np.int64))


@pytest.mark.parametrize("pair", [(127, 1), (127, 2), (-128, 0), (-128, -1), (-128, 127)])
@pytest.mark.parametrize("inputs", [4, 8])
def test_pairs_at_the_edge_of_int16_in_groups(pair: tuple[int, int], inputs: int, isa: str) -> None:
    """The same where each group's inputs are spread: every group in its turn has the pair and the 255."""
    for group in range(4):
        w, x = np.ones((4 * inputs, inputs, 1, 1), np.int8), np.full((1, 1, 7, 4 * inputs), 100, np.uint8)
        w[group * inputs + 1, inputs - 2 :, 0, 0] = w[group * inputs, :2, 0, 0] = pair
        x[0, 0, 3, group * inputs : (group + 1) * inputs] = 255
        packed = PackedWeights(w, np.float32(1), np.int64(0), groups=4)
        y = packed.conv(x, Input(1.0, 0), Output(accumulators=True), isa=isa)
        grouped = x.astype(np.int64).reshape(7, 4, 1, inputs) * w.reshape(4, inputs, inputs)
        assert np.array_equal(y[0, 0], grouped.sum(axis=-1).reshape(7, -1))


def test_the_largest_exact_sum(isa: str) -> None:
    depth = (2**31 - 1) // (255 * 128)
    packed = PackedWeights(np.full((1, depth, 1, 1), -128, np.int8), np.float32(1), np.int64(0))
    y = packed.linear(np.full((1, depth), 255, np.uint8), Input(1.0, 0), Output(accumulators=True), isa=isa)
    assert y.item() == -255 * 128 * depth
    packed = PackedWeights(np.full((2, depth + 1, 1, 1), -128, np.int8), np.float32(1), np.int64(0))
    with pytest.raises(ValueError, match="output channel 0: the accumulator may leave int32"):
        packed.linear(np.zeros((1, depth + 1), np.uint8), Input(1.0, 0), Output(1.0), isa=isa)


@given(strategies.seeds)
def test_tables_are_the_specifications(seed: int) -> None:
    """What nq_bind hands to the micro-kernels, to the last bit: init, badd and mul of every channel."""
    g = np.random.default_rng(seed)
    w = g.integers(-128, 128, (21, 5, 1, 1)).astype(np.int8)
    per_channel, profile = bool(g.integers(2)), Profile(int(g.integers(len(Profile))))
    scale = np.asarray(g.uniform(0.001, 1, 21 if per_channel else ()), np.float32)
    bias = (g.standard_normal(21) * 30).astype(np.float32)
    x_scale, y_scale, x_zero = (float(np.float32(v)) for v in g.uniform(0.01, 2, 3))
    given_, x_zero = Input(x_scale, int(100 * x_zero)), int(100 * x_zero)
    packed = PackedWeights(w, scale, np.zeros(scale.shape, np.int64), bias, profile=profile)
    bound = packed._bind(packed.pack(0), given_, Output(y_scale, 3))
    init, multiplier, shift, badd, mul = (table[:21] for tables in bound.tables[0] for table in tables)
    columns = w.astype(np.int64).sum(axis=(1, 2, 3))
    expected = numerics.bind(profile, x_scale, scale, bias, np.abs(w.astype(int)).sum(axis=(1, 2, 3)), y_scale, 3)
    assert np.array_equal(init, expected.bias_q - x_zero * columns)
    assert np.array_equal(badd, expected.badd)
    assert np.array_equal(mul, expected.mul)
    if expected.form in numerics.FORMS_C:
        assert np.array_equal(multiplier, expected.multiplier)
        assert np.array_equal(shift, expected.shift)
    if expected.form is numerics.Form.B:
        assert (bound.epilogue[0].pre, bound.epilogue[0].post) == (expected.pre, expected.post)


@given(strategies.scales, strategies.scales, strategies.scales, strategies.finite_floats, st.sampled_from(Profile), st.booleans())
@example(1.0, 1.0, 2.0**-30, 0.0, Profile.tflite, False)
@example(1.0, 2.0**-33, 1.0, 0.0, Profile.tflite_single, True)
@example(2.0**127, 2.0**-100, 1.0, 0.0, Profile.onednn, True)
def test_scales_are_refused_where_the_specification_refuses_them(
    x_scale: float, w_scale: float, y_scale: float, bias: float, profile: Profile, to_float: bool
) -> None:
    scale, addend, y = np.float32([w_scale]), np.float32([bias]), None if to_float else y_scale
    packed = PackedWeights(np.ones((1, 1, 1, 1), np.int8), scale, np.int64([0]), addend, profile=profile)
    try:
        numerics.bind(profile, x_scale, scale, addend, np.array([1]), y)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            packed._bind(packed.pack(0), Input(x_scale, 0), Output(y))
    else:
        packed._bind(packed.pack(0), Input(x_scale, 0), Output(y))


@pytest.mark.parametrize("bias", [2.0**-60, -(2.0**-60), 0.0])
def test_a_fused_output_is_rounded_once(bias: float, isa: str) -> None:
    """3 * (1 + 2^-23) is a tie of float32; a bias far below the last bit of a float64 decides it."""
    a = 1 + 2.0**-23
    packed = PackedWeights(np.ones((1, 1, 1, 1), np.int8), np.float32(1), np.int64(0), np.float32([bias]))
    y = packed.linear(np.uint8([[3]]), Input(a, 0), Output(), isa=isa)
    assert y.item() == oracles.float32(3 * oracles.exact(a) + oracles.exact(bias))


def test_out_is_written_and_returned(isa: str) -> None:
    layer = Layer(7, 1, (9,), 1, 13, 21, (1,), (1,), (0,), (1,), False, False, False, False, True, False)
    arrays = layer.arrays()
    packed, given_ = pack(layer, arrays), Input(0.1, 3)
    out = np.empty((9, 21), np.uint8)
    y = packed.linear(arrays["x"][0], given_, OUTPUTS[1], out, isa)
    assert y is out
    assert np.array_equal(out, packed.linear(arrays["x"][0], given_, OUTPUTS[1], isa="ref"))
    for wrong in (np.empty((9, 20), np.uint8), np.empty((9, 21), np.int8), np.empty((9, 42), np.uint8)[:, ::2]):
        with pytest.raises(ValueError, match="out must be a C-contiguous uint8 array"):
            packed.linear(arrays["x"][0], given_, OUTPUTS[1], wrong, isa)


def test_scales_that_alternate_are_bound_again(isa: str) -> None:
    """One layer under many scales: more than are kept, coming back to the first."""
    packed = PackedWeights(np.ones((1, 1, 1, 1), np.int8), np.float32(1), np.int64(0))
    x = np.uint8([[100]])
    for scale in [*range(1, 3 * PackedWeights.BOUND_KEPT), 1]:
        assert packed.linear(x, Input(float(scale), 0), Output(), isa=isa).item() == 100 * scale


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _threads() -> Any:
    before = native.get_num_threads()
    yield
    native.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(1, 24, 70), (72, 1, 1)])
def test_thread_counts_do_not_change_a_bit(groups: int, inputs: int, outputs: int, isa: str) -> None:
    layer = Layer(3, 2, (40, 40), groups, inputs, outputs, (3, 3), (1, 1), (1, 1), (1, 1), False, False, True, True, True, False)
    arrays = layer.arrays()
    packed, given_ = pack(layer, arrays), Input(0.1, arrays["x_zero_point"])
    results = []
    for threads in (1, 2, 3, 8):
        native.set_num_threads(threads)
        assert native.get_num_threads() == threads
        results.append(packed.conv(arrays["x"], given_, OUTPUTS[1], isa=isa))
    assert all(np.array_equal(results[0], y) for y in results)


@pytest.mark.usefixtures("_threads")
def test_many_callers_at_once() -> None:
    """Python threads share layers and the pool; whoever finds it busy works alone."""
    native.set_num_threads(4)
    layer = Layer(5, 1, (30, 30), 1, 16, 64, (3, 3), (1, 1), (1, 1), (1, 1), False, False, False, True, True, False)
    arrays = layer.arrays()
    given_ = Input(0.1, arrays["x_zero_point"])
    expected = pack(layer, arrays).conv(arrays["x"], given_, OUTPUTS[1])
    shared = pack(layer, arrays)
    right: list[bool] = []

    def call() -> None:
        right.extend(np.array_equal(shared.conv(arrays["x"], given_, OUTPUTS[1]), expected) for _ in range(50))

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(right) == 300
    assert all(right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_working_threads() -> None:
    code = """
import os, sys
import numpy as np
from nanoquant.kernels import native
from nanoquant.kernels.packed import Input, Output, PackedWeights
native.set_num_threads(4)
packed = PackedWeights(np.ones((64, 256, 1, 1), np.int8), np.float32(1), np.int64(0))
x = np.ones((512, 256), np.uint8)
run = lambda: bool((packed.linear(x, Input(1.0, 0), Output()) == 256).all())
assert run()
child = os.fork()
if child == 0:
    os._exit(0 if run() and run() else 1)
assert run()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run_python("-W", "ignore::DeprecationWarning", "-c", code)


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_impossible_thread_counts(threads: int) -> None:
    with pytest.raises(ValueError, match=r"threads must be in 1\.\.256"):
        native.set_num_threads(threads)


# ---- choosing an instruction set -------------------------------------------------------------------------------------


CHOSEN = "from nanoquant.kernels import native; print(native.isa_names()[native.isa_number()])"


def test_the_environment_names_the_instruction_set(isa: str) -> None:
    assert run_python("-c", CHOSEN, NANOQUANT_ISA=isa).stdout.strip() == isa


def test_an_unknown_instruction_set_is_an_error_with_the_choice() -> None:
    result = run_python("-c", CHOSEN, check=False, NANOQUANT_ISA="sse9")
    assert "instruction set 'sse9' (from the environment variable NANOQUANT_ISA) is unknown; available: ref" in result.stderr
    assert result.returncode != 0


def test_info_names_what_runs_where() -> None:
    assert native.isa_names()[0] == "ref"
    for name in native.isa_names():
        status = native.isa_status(name)
        assert {"gemm", "depthwise", "quantize", "add", "lookup"} <= set(status)
        assert set(status.values()) <= {"native", "ref", "not in this build", "not on this CPU"}


def test_no_instruction_set_has_a_gap() -> None:
    for name in native.available_isas():
        assert set(native.isa_status(name).values()) == {"native"}


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((2, 3), np.int8)}, "must be int8 with 3, 4 or 5 dimensions"),
        ({"weights": np.zeros((2, 3, 1, 1))}, "must be int8 with 3, 4 or 5 dimensions; got float64"),
        ({"stride": 0}, "stride must be one integer of at least 1, or 2, one for each axis; got 0"),
        ({"padding": (1, 1, 1)}, "padding must be one integer of at least 0, or 2, one for each axis"),
        ({"scale": np.ones(3, np.float32), "zero_point": np.zeros(3, int)}, r"must both have shape \(\) or \(2,\)"),
        ({"bias": np.zeros(3, np.float32)}, r"bias must have shape \(2,\)"),
        ({"groups": 3}, "groups must divide the 2 output channels"),
        ({"groups": 0}, "groups must divide the 2 output channels"),
    ],
)
def test_packing_explains_itself(change: dict[str, Any], message: str) -> None:
    usual = {"weights": np.zeros((2, 3, 1, 1), np.int8), "scale": np.float32(1), "zero_point": np.int64(0)}
    with pytest.raises(ValueError, match=message):
        PackedWeights(**{**usual, **change})


def test_running_explains_itself() -> None:
    packed = PackedWeights(np.zeros((2, 3, 3, 3), np.int8), np.float32(1), np.int64(0))
    given_, wanted = Input(1.0, 0), Output(1.0)
    with pytest.raises(ValueError, match="has 3 input channels; got an input with 4"):
        packed.conv(np.zeros((1, 5, 5, 4), np.uint8), given_, wanted)
    with pytest.raises(ValueError, match="input is too small: 2 x 5"):
        packed.conv(np.zeros((1, 2, 5, 3), np.uint8), given_, wanted)
    with pytest.raises(ValueError, match="must be a C-contiguous uint8 array"):
        packed.conv(np.zeros((1, 5, 5, 3), np.int8), given_, wanted)
    with pytest.raises(ValueError, match="must be a C-contiguous uint8 array"):
        packed.conv(np.zeros((1, 5, 5, 6), np.uint8)[..., ::2], given_, wanted)
    with pytest.raises(ValueError, match="binding scales"):
        packed.conv(np.zeros((1, 5, 5, 3), np.uint8), Input(1.0, 256), wanted)


def test_a_copy_is_a_layer_of_its_own() -> None:
    packed = PackedWeights(np.ones((1, 2, 1, 1), np.int8), np.float32(1), np.int64(0))
    x = np.ones((1, 2), np.uint8)
    before = packed.linear(x, Input(1.0, 0), Output())
    assert np.array_equal(copy.deepcopy(packed).linear(x, Input(1.0, 0), Output()), before)


def test_the_library_refuses_what_python_would_not_send() -> None:
    """The last line of defence, below the checks with explanations."""
    lib, ffi = native.lib, native.ffi
    struct = ffi.new("nq_packed *")
    assert lib.nq_pack_sizes(struct) == lib.NQ_BAD_ARGUMENT  # zero groups
    struct.isa = 99
    assert lib.nq_pack_sizes(struct) == lib.NQ_BAD_ARGUMENT
    affine = ffi.new("nq_affine *", {"dtype": 7})
    assert lib.nq_quantize(0, affine, ffi.NULL, ffi.NULL) == lib.NQ_BAD_ARGUMENT
    scale, zero = ffi.new("float[]", [0.0]), ffi.new("int32_t[]", [0])
    affine = ffi.new("nq_affine *", {"dtype": 0, "outer": 1, "channels": 1, "inner": 1, "quant_max": 255})
    affine.scale, affine.zero_point = scale, zero
    assert lib.nq_quantize(0, affine, ffi.NULL, ffi.NULL) == lib.NQ_BAD_SCALE
    affine.outer = affine.inner = 2**62
    assert lib.nq_quantize(0, affine, ffi.NULL, ffi.NULL) == lib.NQ_BAD_ARGUMENT
    packed = PackedWeights(np.zeros((2, 3, 3, 3), np.int8), np.float32(1), np.int64(0), padding=(1, 1))
    inner = packed.pack(0)
    bound = packed._bind(inner, Input(1.0, 0), Output(1.0))
    x = np.zeros((1, 5, 5, 3), np.uint8)
    y = np.zeros((1, 5, 5, 2), np.uint8)
    layer = ffi.new("nq_layer *", (inner.struct, bound.epilogue, 1, (1, 5, 5)))
    arguments = (layer, native.pointer("char[]", x), native.pointer("char[]", y))
    assert lib.nq_conv(*arguments, ffi.NULL, 0) == lib.NQ_WORKSPACE
    for batch, sizes in ((-1, (1, 5, 5)), (2**31 - 1, [2**31 - 1] * 3)):
        layer.batch, layer.size = batch, sizes
        assert lib.nq_conv_workspace(layer) == -1
    layer.batch, layer.size = 1, (1, 5, 5)
    inner.struct[0].phase = 1
    assert lib.nq_conv_workspace(layer) == -1
    assert lib.nq_pack_sizes(inner.struct) == lib.NQ_BAD_ARGUMENT


def dynamic_parts(packed: PackedWeights, x: Any, quant_max: int, relu: bool) -> Any:
    """A layer on floats by its parts: range, dynamic rule, quantization, and the product on ref. x: channels last."""
    s, zero = qparams.choose_dynamic_qparams(float(x.min()), float(x.max()), 0, quant_max)
    q = np.clip(np.rint(x * (np.float32(1) / np.float32(s))) + zero, 0, quant_max).astype(np.uint8)
    used = numerics.twice_inverted(s) if packed.profile is Profile.onednn else np.float32(s)
    layer = packed.linear if x.ndim == 2 else packed.conv
    return layer(q, Grid(float(used), int(zero)), Output(relu=relu), isa="ref")


def test_a_dynamic_layer_is_its_parts(isa: str) -> None:
    """By one call, with one scale or with one for each row: then each row is a layer's whole input."""
    g = np.random.default_rng(0)
    for rows, inputs, outputs in ((1, 1, 1), (1, 64, 10), (3, 67, 33), (7, 130, 65), (40, 16, 130)):
        for profile in Profile:
            w = g.integers(-128, 128, (outputs, inputs, 1, 1)).astype(np.int8)
            scale, zero_point = np.float32(g.uniform(0.01, 0.1, outputs)), g.integers(-3, 4, outputs) * (rows % 2)
            packed = PackedWeights(w, scale, zero_point, g.normal(size=outputs).astype(np.float32), profile=profile)
            x = (g.normal(size=(rows, inputs)) * 10.0 ** g.integers(-6, 6, (rows, 1))).astype(np.float32)
            for quant_max, relu in ((255, False), (127, True)):
                whole = dynamic_parts(packed, x, quant_max, relu)
                apart = np.concatenate([dynamic_parts(packed, row[None], quant_max, relu) for row in x])
                for _ in range(2):  # the second call is the one kept
                    assert np.array_equal(dynamic.run(packed, "linear", x, quant_max, relu, isa=isa), whole)
                    assert np.array_equal(dynamic.run(packed, "linear", x, quant_max, relu, True, isa), apart)


@pytest.mark.parametrize(
    ("kernel", "size", "options"),
    [
        ((7, 3, 3), (9,), {"stride": 2, "padding": 1}),
        ((17, 3, 3, 3), (6, 7), {"padding": (1, 2)}),
        ((32, 1, 3, 3), (8, 9), {"groups": 32, "padding": 1}),
        ((4, 5, 2, 3, 1), (3, 6, 5), {"dilation": 2}),
        ((6, 4, 3, 3), (4, 5), {"transposed": True, "stride": 2, "padding": 1, "output_padding": 1}),
    ],
)
def test_a_dynamic_convolution_is_its_parts(isa: str, kernel: Any, size: Any, options: Any) -> None:
    g = np.random.default_rng(1)
    groups = options.get("groups", 1)
    for zero_point in (0, 3):
        w = g.integers(-127, 128, kernel).astype(np.int8)
        packed = PackedWeights(w, np.float32(g.uniform(0.01, 0.1, kernel[0])), np.full(kernel[0], zero_point), **options)
        spread = np.reshape([1, 30, 0.1], (3, *(1,) * (1 + len(size))))
        x = (g.normal(size=(3, kernel[1] * groups, *size)) * spread).astype(np.float32)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        whole = np.moveaxis(dynamic_parts(packed, last, 127, False), -1, 1)
        apart = np.concatenate([dynamic_parts(packed, image[None], 127, False) for image in last])
        for memory in (x, np.moveaxis(last, -1, 1)):  # channels first, and last
            assert np.array_equal(dynamic.run(packed, "conv", memory, 127, isa=isa), whole)
            assert np.array_equal(dynamic.run(packed, "conv", memory, 127, False, True, isa), np.moveaxis(apart, -1, 1))


def test_a_dynamic_layer_says_what_is_wrong() -> None:
    packed = PackedWeights(np.ones((2, 3, 1, 1), np.int8), np.float32([1, 1e-36]), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"shape \(1, 3\) holds NaN or infinity"):
        dynamic.run(packed, "linear", np.float32([[1, np.inf, 0]]), 255)
    with pytest.raises(ValueError, match="channel 1"):
        dynamic.run(packed, "linear", np.float32([[1e-3, 0, 0]]), 255)
    with pytest.raises(ValueError, match="3 input features; got an input with 4"):
        dynamic.run(packed, "linear", np.ones((1, 4), np.float32), 255)
