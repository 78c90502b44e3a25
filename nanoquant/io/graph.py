"""Graphs in files: rows of (name, op, target, arguments, options). Functions stand there by their names, of a list.

A graph runs as source text, so that names are checked before they become part of it. Before: `file`. After: `model`.
"""

from __future__ import annotations

import keyword
import operator
from typing import Any

from ..autograd.tensor import Tensor
from ..nn.quantized.functionals import METHODS
from ..qtensor import QTensor
from ..quantization.graph.ir import SYMBOLS, Graph, Node, map_nodes
from ..quantization.graph.trace import public_functions

FUNCTIONS: dict[str, Any] = {f"operator.{name}": getattr(operator, name) for name in (*SYMBOLS, "getitem", "neg")}
FUNCTIONS |= {"getattr": getattr} | public_functions()


def identity(function: Any) -> Any:
    """What tells a function from others, and is the same for a copy, as partial functions may be."""
    return getattr(function, "__module__", None), getattr(function, "__name__", None)


NAMES = {identity(function): name for name, function in FUNCTIONS.items()}
CALLED = {name for kind in (Tensor, QTensor) for name in dir(kind) if name[0] != "_"} | set(METHODS)
CALLED -= {"numpy", "accumulate", "wrap", "assign"}  # whose results have further methods, or which are for the library


def graph_of(rows: list[Any]) -> Graph:
    """The graph of decoded rows, in whose arguments a node is only a name; ValueError for what no tracer writes."""
    graph, made = Graph(), dict[str, Node]()
    for name, op, target, args, kwargs in rows:
        words = [name, *kwargs, *(target.split(".") if isinstance(target, str) else ())]
        odd = [w for w in words if not f"_{w}".isidentifier() or w.startswith("__") or keyword.iskeyword(w)]
        known = target in CALLED if op == "call_method" else isinstance(target, str) or identity(target) in NAMES
        if odd or not known or (target is getattr and args[1] not in ("shape", "ndim", "dtype", "T")):
            raise ValueError(f"no graph has the node {name!r}, {op} of {target!r}")
        args, kwargs = map_nodes((args, kwargs), lambda node: made[node.name])
        made[name] = Node(name, op, target, args, kwargs)
        graph.nodes.append(made[name])
    return graph
