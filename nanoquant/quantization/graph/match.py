"""Match: which domain every node takes and gives: integers, floats, or what its input is.

    conv1 (qconfig)   integers -> integers       relu, max_pool2d, flatten, view   as they come
    exp               floats -> floats           x.size(0)                         anything -> a number

Before: `fuse`. After: `observe`.
"""

from __future__ import annotations

import operator
from enum import Enum
from typing import Any

from ... import nn
from ...module import Module
from ...nn.layer import Layer
from ...nn.quantized import FXFloatFunctional
from ..mappings import CUSTOM, QAT, STATIC, integer_twins
from ..stubs import DeQuantStub, QuantStub
from .functions import name_of, numbers
from .ir import Node
from .module import GraphModule


class Domain(Enum):
    """What a node takes or gives."""

    FLOAT = "float"
    INTEGER = "integers"
    ANY = "as it comes"
    NUMBER = "a number"


Ends = tuple[Domain, Domain]
_FLOATS, _INTEGERS, _PASSES = (Domain.FLOAT,) * 2, (Domain.INTEGER,) * 2, (Domain.ANY,) * 2
_PASSING = (nn.ReLU, nn.Identity, nn.Dropout, nn.Dropout2d)
_PASSING_METHODS = (
    "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "t", "chunk", "split", "unbind", "narrow",
    "flip", "mean", "relu", "clamp", "clone", "detach", "view_as",
)  # fmt: skip
_PASSING_FUNCTIONS = (
    "relu", "hardtanh", "clamp", "flatten", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "chunk", "split",
    "unbind", "flip", "mean", "clone", "dropout", "dropout2d", "pixel_shuffle",
    *(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)),
)  # fmt: skip


def is_static(module: Module) -> bool:
    """Whether a module's qconfig asks for integers between layers."""
    qconfig = getattr(module, "qconfig", None)
    return qconfig is not None and integer_twins(qconfig) is STATIC


def of_module(module: Module, custom: tuple[type[Any], ...] = ()) -> Ends:
    """What a layer takes and gives."""
    kind = type(module)
    if kind is QuantStub:
        return (Domain.FLOAT, Domain.INTEGER) if is_static(module) else _FLOATS
    if kind is DeQuantStub:
        return Domain.ANY, Domain.FLOAT
    known = kind in STATIC or kind in CUSTOM or QAT.get(kind) in STATIC
    if (known and is_static(module)) or isinstance(module, custom):
        return _INTEGERS
    smooth = isinstance(module, nn.Upsample) and module.mode != "nearest"
    passes = kind in _PASSING or (isinstance(module, Layer) and module.integers and not smooth)
    return _PASSES if passes else _FLOATS


def match(gm: GraphModule, quantized_inputs: list[int], custom: tuple[type[Any], ...] = ()) -> dict[Node, Ends]:
    """What every node takes and gives, in order; ANY is given only where it is known to be a number's."""
    ends: dict[Node, Ends] = {}
    sized, inputs = numbers(gm), 0
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            ends[node] = _INTEGERS if inputs in quantized_inputs else _FLOATS
            inputs += 1
        elif node in sized:
            ends[node] = Domain.ANY, Domain.NUMBER
        elif node.op == "get_attr":
            functional = isinstance(operator.attrgetter(node.target)(gm), FXFloatFunctional)
            ends[node] = Domain.ANY, Domain.NUMBER if functional else Domain.FLOAT
        else:
            takes, gives = _of_call(gm, node, custom)
            tensors = [ends[given][1] for given in node.inputs if ends[given][1] is not Domain.NUMBER]
            ends[node] = takes, (tensors or [Domain.FLOAT])[0] if gives is Domain.ANY else gives
    return ends


def _of_call(gm: GraphModule, node: Node, custom: tuple[type[Any], ...]) -> Ends:
    if node.op == "output":
        return _FLOATS
    if path := gm.called(node):
        called = gm.get_submodule(path)
        return of_module(called, custom) if node.op == "call_module" else _INTEGERS if is_static(called) else _FLOATS
    name = name_of(node)
    passing = _PASSING_METHODS if node.op == "call_method" else _PASSING_FUNCTIONS
    return _PASSES if name in passing or node.target is operator.getitem else _FLOATS
