"""A graph in integers runs as a plan: the same bits, in one call of C, for as long as nothing has changed."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant import models, nn
from nanoquant.kernels import native
from nanoquant.kernels.plan import Plan, arrange
from nanoquant.qparams import QParams
from nanoquant.quantization import convert_fx, get_default_qconfig_mapping, prepare_fx
from nanoquant.quantization.graph.plan import MOST


class Residual(nn.Module):
    """Convolutions, a sum, a pool, a product: one of everything that a plan can hold."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.pool = nn.MaxPool2d(2)
        self.tanh = nn.Tanh()
        self.drop = nn.Dropout()
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.relu(self.first(x))
        x = self.pool(self.tanh(nn.functional.relu(x + self.second(x))))
        return self.last(self.drop(x.mean((2, 3))))


def images(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape or (2, 3, 12, 10)).astype(np.float32)


def lowered(model=None):
    nq.manual_seed(3)
    model = (model or Residual()).eval()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), images(0))
    prepared(images(0))
    return convert_fx(prepared)


def layer_by_layer(gm, x):
    return gm._compiled[2].forward(gm, x)


def plans(gm):
    return [found for found in gm._compiled[2].found.values() if isinstance(found, tuple)]


@pytest.fixture
def planned():
    gm = lowered()
    for _ in range(2):
        gm(images(0))
    assert len(plans(gm)) == 1
    return gm


def integers(result):
    return np.asarray(result).tobytes()


def test_a_plan_gives_the_same_bits_in_memory_of_its_own(planned):
    results = [planned(images(seed)) for seed in range(5)]
    assert len(plans(planned)) == 1
    for seed, result in enumerate(results):
        assert integers(result) == integers(layer_by_layer(planned, images(seed)))
    assert len({np.asarray(result).ctypes.data for result in results}) == 5


def test_nothing_of_python_runs_between_the_layers(planned, monkeypatch):
    monkeypatch.setattr("nanoquant.nn.quantized.weighted.Static.__call__", None)
    planned(images(1))


@pytest.mark.parametrize("model", [models.MobileNetV2, models.resnet18, models.resnet8])
def test_whole_networks(model):
    gm = lowered(model(num_classes=10))
    x = images(5, 1, 3, 64, 64)
    first = integers(gm(x))
    assert integers(gm(x)) == first == integers(gm(x))
    assert len(plans(gm)) == 1
    plan = plans(gm)[0][0]
    outputs = sum(np.prod(owner.shape) for owner in plan.owners if owner)
    assert plan.bytes - plan.workspace < outputs / 2  # what is no longer read makes room


def other_grid(gm):
    gm.first.set_output(QParams(np.float32(0.125), np.int64(7), nq.quint8))


def other_weights(gm):
    weight, bias = gm.last.weight(), gm.last.bias()
    gm.last.set_weight_bias(weight, np.asarray(bias) + 1)


def other_sum(gm):
    part = next(m for m in gm.modules() if type(m).__name__ == "QFunctional")
    part.scale = np.float32(0.5)


def exchanged(gm):
    twin = copy.deepcopy(gm.get_submodule("second.0"))
    twin.scale = np.float32(0.3)
    setattr(gm.second, "0", twin)


def exchanged_behind_its_back(gm):
    gm._modules["last"] = other = copy.deepcopy(gm.last)
    other.zero_point = np.int64(3)


def loaded(gm):
    state = gm.state_dict()
    gm.load_state_dict({key: value * 2 if key == "first.scale" else value for key, value in state.items()})


def more_relu(gm):
    gm.last.relu = True


def an_attribute(gm):
    gm.pool.stride = 1, 1


@pytest.mark.parametrize(
    "change", [other_grid, other_weights, other_sum, exchanged, exchanged_behind_its_back, loaded, more_relu, an_attribute]
)
def test_what_changes_a_layer_changes_the_result(planned, change):
    before = integers(planned(images(1)))
    change(planned)
    after = integers(planned(images(1)))
    fresh = copy.deepcopy(planned)
    assert after == integers(fresh(images(1))) != before
    planned(images(1))
    assert integers(planned(images(1))) == after
    assert len(plans(planned)) == 1  # a new one


def test_hooks_are_called_and_may_go_again(planned):
    seen = []
    handles = [m.register_forward_hook(lambda m, x, y: seen.append(type(m))) for m in (planned.first, planned.last)]
    wanted = integers(layer_by_layer(planned, images(2)))
    seen.clear()
    for _ in range(3):
        assert integers(planned(images(2))) == wanted
    assert len(seen) == 6
    for handle in handles:
        handle.remove()
    for _ in range(3):
        assert integers(planned(images(2))) == wanted
    assert len(seen) == 6
    assert len(plans(planned)) == 1


def test_every_instruction_set_and_thread_count_has_the_bits(planned, monkeypatch):
    wanted = integers(planned(images(4)))
    for name in native.available_isas():
        monkeypatch.setenv("NANOQUANT_ISA", name)
        for threads in (1, 2, 3):
            nq.set_num_threads(threads)
            assert [integers(planned(images(4))) for _ in range(3)] == [wanted] * 3
    assert len(plans(planned)) == len(native.available_isas()) + 1


def test_several_threads_of_python_may_run_one_plan(planned):
    wanted = [integers(layer_by_layer(planned, images(seed))) for seed in range(4)]
    found = {}

    def work(seed):
        found[seed] = {integers(planned(images(seed))) for _ in range(50)}

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: {wanted[seed]} for seed in range(4)}


def test_a_refused_input_gets_the_layers_error(planned):
    x = images(0)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        planned(x)
    assert integers(planned(images(0))) == integers(layer_by_layer(planned, images(0)))


def test_inputs_of_all_kinds(planned):
    x = images(6)
    wanted = integers(planned(x))
    assert integers(planned(nq.tensor(x))) == wanted
    assert integers(planned(x.astype(np.float64))) == wanted
    assert integers(planned(np.asarray(x, order="F"))) == wanted
    assert integers(planned(x.tolist())) == wanted
    for shape in ((2, 3, 12, 10), (1, 3, 9, 9), (5, 3, 4, 16)):
        fresh = images(7, *shape)
        assert {integers(planned(fresh)) for _ in range(3)} == {integers(layer_by_layer(planned, fresh))}
    assert len(plans(planned)) == 3


def test_large_inputs_are_not_recorded(planned):
    x = np.zeros((MOST // (3 * 64 * 64 * 4) + 1, 3, 64, 64), np.float32)
    for _ in range(3):
        planned(x)
    assert len(plans(planned)) == 1


def test_copies_and_pickles_begin_anew(planned):
    wanted = integers(planned(images(1)))
    for twin in (copy.deepcopy(planned), pickle.loads(pickle.dumps(planned))):
        assert [integers(twin(images(1))) for _ in range(3)] == [wanted] * 3
        other_grid(twin)
        assert integers(twin(images(1))) != wanted
    assert integers(planned(images(1))) == wanted


class Choosy(nn.Module):
    """What it returns depends on the data."""

    def forward(self, q):
        return q.relu() if float(q.dequantize().array.mean()) > 0 else q


def test_a_module_of_the_users_may_look_at_the_data():
    gm = lowered()
    gm.drop = Choosy()
    results = {integers(gm(images(0) * sign)) for sign in (1, -1) * 3}
    assert results == {integers(layer_by_layer(gm, images(0) * sign)) for sign in (1, -1)}
    assert not plans(gm)


def test_integers_as_a_result():
    gm = lowered()
    output = next(node for node in gm.graph.nodes if node.op == "output")
    gm.graph.replace(output.inputs[0], output.inputs[0].args[0])
    gm.prune()
    gm.recompile()
    results = [gm(images(0)) for _ in range(3)]
    assert len(plans(gm)) == 1
    assert {integers(q.int_repr()) for q in results} == {integers(layer_by_layer(gm, images(0)).int_repr())}
    assert {id(q.qparams) for q in results} == {id(gm.last.output())}


@given(st.data())
def test_what_is_needed_at_one_time_lies_apart(data):
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=12))
    reads = [data.draw(st.lists(st.integers(0, n - 1), max_size=3)) if n else [] for n in range(len(sizes))]
    offsets, total = arrange(sizes, reads, first=128)
    last = [max([n, *(m for m, read in enumerate(reads) if n in read)]) for n in range(len(sizes))]
    for n, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        assert offset % 64 == 0
        assert 128 <= offset <= offset + size <= total
        for other in range(n):
            together = last[other] >= n  # other is read by n or later
            apart = offsets[other] + sizes[other] <= offset or offset + size <= offsets[other]
            assert apart or not together or 0 in (size, sizes[other])


def test_what_was_not_recorded_is_no_plan():
    grid = native.affine(np.dtype(np.uint8), (4,), None, np.float32([0.5]), np.int32([0]), 0, 255)
    x, q, other = np.zeros(4, np.float32), np.zeros(4, np.uint8), np.zeros(4, np.uint8)
    step = native.Step(native.lib.NQ_STEP_QUANTIZE, grid, grid.struct, *map(native.pointer, (x, x, q)), isa=grid.isa)
    assert Plan([step], x, q).run(x, other)
    for steps, given_, made, what in (
        ([step], x, other, "what no step has made"), ([], x, q, "whole"), ([step], x, q[:2], "whole"),
        ([step], other, q, "reads what no step"), ([step, step], x, q, "writes where another"),
    ):  # fmt: skip
        with pytest.raises(LookupError, match=what):
            Plan(steps, given_, made)


def test_c_checks_its_arguments():
    lib, ffi = native.lib, native.ffi
    memory = ffi.new("char[64]")

    def run(count=1, **fields):
        steps = ffi.new("nq_step[]", 1)
        steps[0].kind, steps[0].size, steps[0].y.place = lib.NQ_STEP_TRANSPOSE, (1, 2, 2), lib.NQ_PLACE_Y
        for name, value in fields.items():
            part, _, field = name.partition("_")
            setattr(getattr(steps[0], part) if field else steps[0], field or part, value)
        return lib.nq_run(count, steps, memory, memory + 8, memory, 0)

    assert run() == lib.NQ_OK
    bad = [{"kind": 6}, {"kind": -1}, {"a_place": 3}, {"y_place": 0}, {"b_place": -1}, {"a_offset": -1}, {"count": -1}]
    assert {run(**fields) for fields in bad} == {lib.NQ_BAD_ARGUMENT}
    steps = ffi.new("nq_step[]", 1)
    for arguments in ((ffi.NULL, memory, memory, memory), (steps, ffi.NULL, memory, memory), (steps, memory, memory, ffi.NULL)):
        assert lib.nq_run(1, *arguments, 0) == lib.NQ_BAD_ARGUMENT
