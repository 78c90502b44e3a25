"""Graph mode beside torch FX on networks of the zoo: given equal weights and ranges, every operation gives torch's integers."""

from __future__ import annotations

import operator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import quantization
from nanoquant.bench.train import source_on
from nanoquant.models import mobilenet, resnet
from nanoquant.qtensor import QTensor
from nanoquant.quantization.graph.ir import map_nodes
from nanoquant.quantization.quantize_fx import convert_fx, prepare_fx

NETWORKS = {"resnet18": resnet, "MobileNetV2": mobilenet}


def spread(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state, with batch statistics as a trained network has them."""
    g, found = np.random.default_rng(0), {name: np.array(value) for name, value in state.items()}
    for name, value in found.items():
        if name.endswith("running_var"):
            found[name] = g.uniform(0.5, 2, value.shape).astype(np.float32)
        elif name.endswith("running_mean"):
            found[name] = g.normal(0, 0.3, value.shape).astype(np.float32)
    return found


def observers(prepared: Any) -> list[Any]:
    """Of a prepared graph of ours, in the order in which they watch."""
    found: dict[int, Any] = {}
    modules = dict(prepared.named_modules())
    for node in prepared.graph.nodes:
        functional = node.op == "call_method" and node.args[0].op == "get_attr"
        module = modules.get(node.args[0].target if functional else node.target)
        if module is not None and "activation_post_process" in module._modules:
            found[id(module)] = module.activation_post_process
    return list(found.values())


def integers(lowered: Any, x: np.ndarray) -> list[np.ndarray]:
    """What every node of a lowered graph of ours puts out, as far as it is quantized."""
    values: dict[Any, Any] = {}
    for node in lowered.graph.nodes:
        args, options = map_nodes((node.args, node.kwargs), lambda given: values[given])
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
    return [np.asarray(value.int_repr()) for value in values.values() if isinstance(value, QTensor)]


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_gives_torchs_integers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; graph.npz holds a smaller network")
    from torch.ao.quantization import quantize_fx

    torch.backends.quantized.engine = "fbgemm"
    module: ModuleType = NETWORKS[name]
    nq.manual_seed(0)
    own, other = getattr(module, name)().eval(), source_on(torch, module)[name]().eval()
    state = spread(own.state_dict())
    own.load_state_dict(state)
    other.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in state.items()})
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    given, theirs = torch.from_numpy(x), torch.ao.quantization
    ours = prepare_fx(own, quantization.QConfigMapping(quantization.default_per_channel_qconfig), (x,))
    ours(x)
    qconfig = theirs.QConfigMapping().set_global(theirs.default_per_channel_qconfig)
    prepared = quantize_fx.prepare_fx(other, qconfig, (given,))
    prepared(given)
    watching = iter(
        [prepared.get_submodule(n.target) for n in prepared.graph.nodes if "activation_post" in str(n.target)]
    )
    for observer in observers(ours):  # torch has some more: of pools and views, whose ranges are their inputs'
        own_range = float(observer.min_val), float(observer.max_val)
        ranges = ((float(m.min_val), float(m.max_val)) for m in watching)
        found = next(r for r in ranges if np.allclose(r, own_range, rtol=1e-5, atol=1e-5))
        observer.min_val, observer.max_val = np.float32(found[0]), np.float32(found[1])

    class Watched(torch.fx.Interpreter):
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            if isinstance(value, torch.Tensor) and value.is_quantized:
                wanted.append(value.int_repr().numpy())
            return value

    wanted: list[np.ndarray] = []
    Watched(quantize_fx.convert_fx(prepared)).run(given)
    got = integers(convert_fx(ours), x)
    compared, rest = 0, iter(wanted)
    for values in got[:-2]:  # behind the last pool torch rounds once more, to a range of its own
        match = next((other for other in rest if other.shape == values.shape and np.array_equal(other, values)), None)
        assert match is not None, f"operation {compared} of {len(got)}, of shape {values.shape}"
        compared += 1
    assert compared > 30
