"""Observe: stubs where floats become integers and where they become floats again, then eager mode's observers.

    x (float) -> conv (integers) -> exp (float)      x -> QuantStub -> conv -> DeQuantStub -> exp

Layers get their observers from `eager.prepare`: both modes observe the same values by the same rules, and so convert to the
same integers. Before: `match`. After: `reference`.
"""

from __future__ import annotations

from typing import Any

from ...module import Module
from ..eager import prepare, prepare_qat
from ..qconfig import QConfig
from ..stubs import DeQuantStub, QuantStub
from .custom_config import PrepareCustomConfig
from .ir import Node, walk
from .match import Domain, Ends, is_static, match
from .module import GraphModule


def observe(gm: GraphModule, config: PrepareCustomConfig, training: bool) -> GraphModule:
    """The graph with stubs and observers; changed in place, but for the QAT twins of layers."""
    custom = tuple(config.float_to_observed_mapping.get("static", {}).values())
    ends = match(gm, config.input_quantized_indexes, custom)
    _leave_float(gm, ends)
    place_stubs(gm, ends, config.output_quantized_indexes)
    gm.notes["ends"] = {node.name: (takes.value, gives.value) for node, (takes, gives) in ends.items()}
    gm.recompile()
    return prepare_qat(gm, inplace=True) if training else prepare(gm, inplace=True)  # type: ignore[return-value]


def _leave_float(gm: GraphModule, ends: dict[Node, Ends]) -> None:
    """Layers that are no integers' as a whole have none inside: nobody could place the stubs there."""
    for node in walk(gm.graph, "call_module"):
        if ends[node][0] is Domain.FLOAT:
            module = gm.get_submodule(node.target)
            for part in module.modules() if not isinstance(module, QuantStub | GraphModule) else ():
                if is_static(part):
                    part.qconfig = None


def place_stubs(gm: GraphModule, ends: dict[Node, Ends], kept: list[int]) -> None:
    """A QuantStub behind every float that a layer takes as integers, a DeQuantStub behind every integer that is taken as
    float; one for all that take it, and none around numbers. kept: outputs that stay integers."""
    stubs: dict[Any, Node] = {}
    for node, (takes, _) in ends.items():
        for given in node.inputs:
            gives = ends[given][1]
            if takes in (Domain.ANY, gives) or Domain.NUMBER in (takes, gives):
                continue
            if node.op == "output" and _stays(node, given, kept):
                continue
            qconfig = _qconfig(gm, node) if takes is Domain.INTEGER else None
            key = given, takes, qconfig
            if key not in stubs:
                stubs[key] = _stub(gm, given, qconfig)
            node.replace_input(given, stubs[key])


def _stays(output: Node, given: Node, kept: list[int]) -> bool:
    values = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    return any(value is given and index in kept for index, value in enumerate(values))


def _qconfig(gm: GraphModule, node: Node) -> QConfig:
    """The qconfig of the layer that asks for integers."""
    qconfig: QConfig = gm.get_submodule(gm.called(node)).qconfig
    return qconfig


def _stub(gm: GraphModule, given: Node, qconfig: QConfig | None) -> Node:
    kind = DeQuantStub if qconfig is None else QuantStub
    stub: Module = kind(qconfig)
    if qconfig is None:
        stub.qconfig = None
    path = gm.add_layer(f"{given.name}_{'dequantize' if qconfig is None else 'quantize'}", stub)
    return gm.graph.node("call_module", path, (given,), after=given)
