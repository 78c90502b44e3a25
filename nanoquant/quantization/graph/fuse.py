"""Fuse: chains of layers that are an eager pattern become one layer; a sum and the ReLU behind it, one operation.

    conv -> bn -> relu        ConvReLU2d                 `nanoquant.quantization.fusion.PATTERNS`
    add -> relu               add_relu

Before: `functions`. After: `match`.
"""

from __future__ import annotations

import copy
from typing import Any

from ... import nn
from .. import fusion
from ..mappings import STATIC, integer_twins
from .ir import Node, walk
from .module import GraphModule


def fuse(gm: GraphModule, training: bool) -> None:
    """Fuses in place; notes for each fused layer of which layers it is made."""
    _separate_relus(gm)
    for length in sorted({len(pattern) for pattern in fusion.PATTERNS}, reverse=True):
        for node in walk(gm.graph, "call_module"):
            chain = _chain(gm, node, length)
            types = tuple(type(gm.get_submodule(part.target)) for part in chain)
            if types in fusion.PATTERNS and _wanted(gm, chain, fusion.PATTERNS[types][training]):
                _fuse(gm, chain, types, training)
    for node in walk(gm.graph, "call_method"):
        users = gm.graph.users(node)
        if node.target == "add" and gm.called(node) and len(users) == 1 and _is_relu(gm, users[0]):
            node.target = "add_relu"
            gm.notes.setdefault("pattern", {})[gm.called(node)] = "add, ReLU"
            gm.graph.replace(users[0], node)
    gm.prune()
    gm.recompile()


def _is_relu(gm: GraphModule, node: Node) -> bool:
    return node.op == "call_module" and type(gm.get_submodule(node.target)) is nn.ReLU


def _separate_relus(gm: GraphModule) -> None:
    """A ReLU that is called more than once gets copies: it has no state, and each place may be fused."""
    seen: set[int] = set()
    for node in walk(gm.graph, "call_module"):
        module = gm.get_submodule(node.target)
        if id(module) in seen and type(module) is nn.ReLU:
            twin = copy.copy(module)
            twin._forward_hooks, twin._forward_pre_hooks = (module._forward_hooks.copy(), module._forward_pre_hooks.copy())
            node.target = gm.add_layer(node.name, twin)
        seen.add(id(module))


def _chain(gm: GraphModule, node: Node, length: int) -> list[Node]:
    """The node and those behind it, if each feeds the next alone, and each layer is called once; else nothing."""
    chain = [node]
    while len(chain) < length:
        users = gm.graph.users(chain[-1])
        if len(users) != 1 or users[0].op != "call_module":
            return []
        chain.append(users[0])
    once = all(gm.calls(gm.get_submodule(part.target)) == 1 for part in chain)
    return chain if once and node in gm.graph.nodes else []


def _wanted(gm: GraphModule, chain: list[Node], fuser: Any) -> bool:
    """Whether the first layer's qconfig has a place for what the fuser makes: weights alone have fewer fused forms."""
    qconfig = getattr(gm.get_submodule(chain[0].target), "qconfig", None)
    table = STATIC if qconfig is None else integer_twins(qconfig)
    return table is STATIC or fuser is fusion.fuse_layer_bn or fuser in table


def _fuse(gm: GraphModule, chain: list[Node], types: tuple[type[Any], ...], training: bool) -> None:
    first = gm.get_submodule(chain[0].target)
    own = {"qconfig": first.qconfig} if "qconfig" in first.__dict__ else {}
    fuse_ = fusion.fuse_modules_qat if training else fusion.fuse_modules
    fuse_(gm, [part.target for part in chain], inplace=True)
    gm.get_submodule(chain[0].target).__dict__.update(own)
    gm.notes.setdefault("pattern", {})[chain[0].target] = ", ".join(kind.__name__ for kind in types)
    for part in chain[1:]:
        gm.graph.replace(part, chain[0])
