"""Graph mode beside torch FX: given equal weights and ranges, every operation gives torch's integers.

A residual network and a Transformer from a recording; ResNet-18, MobileNetV2 and new data where torch is installed.
"""

from __future__ import annotations

import operator
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS

import nanoquant as nq
from nanoquant.bench.train import source_on
from nanoquant.models import mobilenet, resnet
from nanoquant.module import Module
from nanoquant.qtensor import QTensor
from nanoquant.quantization import QConfigMapping, default_per_channel_qconfig
from nanoquant.quantization.graph.ir import map_nodes
from nanoquant.quantization.quantize_fx import convert_fx, convert_to_reference_fx, prepare_fx

GOLDEN = Path(__file__).parent / "golden"
ZOO = {"resnet18": (resnet, "flatten"), "MobileNetV2": (mobilenet, "mean")}  # the node from which on torch rounds to other ranges
Ranges = list[tuple[float, float]]


def observers(prepared: Any) -> list[Any]:
    """Of a prepared graph, in the order in which they watch; those left out that have a fixed range, or saw nothing."""
    found: dict[int, Any] = {}
    modules = dict(prepared.named_modules())
    for node in prepared.graph.nodes:
        module = modules.get(prepared.called(node))
        if module is not None and "activation_post_process" in module._modules:
            found[id(module)] = module.activation_post_process
    return [observer for observer in found.values() if np.isfinite(observer.min_val)]


def prepared_like(model: Module, x: np.ndarray, ranges: Ranges) -> Any:
    """The model prepared and calibrated, its ranges compared with torch's, and then torch's."""
    prepared = prepare_fx(model.eval(), QConfigMapping(default_per_channel_qconfig), (x,))
    prepared(x)
    theirs = iter(ranges)
    for observer in observers(prepared):  # torch has some more: of pools and views, whose ranges are their inputs'
        own = float(observer.min_val), float(observer.max_val)
        low, high = next(r for r in theirs if np.allclose(r, own, rtol=1e-5, atol=1e-5))
        observer.min_val, observer.max_val = np.float32(low), np.float32(high)
    return prepared


def compare(lowered: Any, x: np.ndarray, wanted: list[np.ndarray], end: str = "") -> int:
    """Runs each operation, up to a node, on the integers that torch gave to it; how many gave torch's integers.

    A softmax may differ by one where torch, which adds floats, comes close to a tie.
    """
    values: dict[Any, Any] = {}
    compared, rest = 0, iter(wanted)
    for node in lowered.graph.nodes:
        args, options = map_nodes((node.args, node.kwargs), lambda given: values[given])
        if node.name == end or node.op == "output":
            break
        if node.op == "placeholder":
            values[node] = nq.tensor(x)
        elif node.op == "get_attr":
            values[node] = operator.attrgetter(node.target)(lowered)
        elif node.op == "call_module":
            values[node] = lowered.get_submodule(node.target)(*args, **options)
        elif node.op == "call_method":
            values[node] = getattr(args[0], node.target)(*args[1:], **options)
        elif node.op == "call_function":
            values[node] = node.target(*args, **options)
        got = values[node]
        if isinstance(got, QTensor):
            ties = got.values.size / 1000 if node.target == "softmax" else 0
            theirs = next((other for other in rest if agree(np.asarray(got.int_repr()), other, ties)), None)
            assert theirs is not None, f"{node.name}, operation {compared}, of shape {got.shape}"
            values[node] = QTensor(theirs.astype(got.values.dtype), got.qparams)
            compared += 1
    return compared


def agree(a: np.ndarray, b: np.ndarray, ties: float) -> bool:
    """Whether integers are equal, but for so many of them, which may differ by one."""
    if a.shape != b.shape:
        return False
    apart = np.abs(a.astype(np.int64) - b)
    return int(apart.max()) <= 1 and np.count_nonzero(apart) <= ties


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_gives_the_recorded_integers(name: str) -> None:
    with np.load(GOLDEN / "graph.npz") as file:
        values = {key.removeprefix(f"{name}/"): value for key, value in file.items() if key.startswith(name)}
    model, x = NETWORKS[name][0](nq), values["x"]
    model.load_state_dict({k.removeprefix("state/"): v for k, v in values.items() if k.startswith("state/")})
    prepared = prepared_like(model, x, values["ranges"])
    wanted = [values[str(i)] for i in range(sum(key.isdigit() for key in values))]
    for lowered in convert_fx(prepared), convert_to_reference_fx(prepared):
        assert compare(lowered, x, wanted) == {"residual": 7, "transformer": 24}[name]


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_gives_torchs_integers_live(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; graph.npz holds what it computed")
    build, shape = NETWORKS[name]
    check(build(nq), build(torch), np.random.default_rng(2).standard_normal(shape).astype(np.float32))


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", ZOO)
def test_every_operation_of_the_zoo_gives_torchs_integers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; graph.npz holds smaller networks")
    module, end = ZOO[name]
    nq.manual_seed(0)
    own, other = getattr(module, name)(), source_on(torch, module)[name]()
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    check(own, other, x, end)


def check(own: Module, other: Any, x: np.ndarray, end: str = "") -> None:
    """Compares a network of ours with torch's, live."""
    import torch

    state = spread(own.state_dict())
    own.load_state_dict(state)
    other.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in state.items()})
    ranges, wanted = runpy.run_path(str(GOLDEN / "record_graph.py"))["computed"](other, x)
    assert compare(convert_fx(prepared_like(own, x, ranges)), x, wanted, end) >= 7


def spread(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state, with batch statistics as a trained network has them."""
    g, found = np.random.default_rng(0), {name: np.array(value) for name, value in state.items()}
    for name, value in found.items():
        if name.endswith("running_var"):
            found[name] = g.uniform(0.5, 2, value.shape).astype(np.float32)
        elif name.endswith("running_mean"):
            found[name] = g.normal(0, 0.3, value.shape).astype(np.float32)
    return found
