"""Functions become layers, so that there is a place for a scale: x + y is `self.add.add(x, y)`, F.relu(x) is `self.relu(x)`.

    add, mul, matmul, cat                   FloatFunctional, an own one for each place
    add, mul of a tensor and a number       the same, by its methods add_scalar and mul_scalar
    relu, sigmoid, softmax, hardswish ...   the layer of the function
    linear, conv2d ...                      a layer that shares the parameters

Before: `trace`. After: `fuse`.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

from ... import functions, nn
from ...module import Module
from ...nn.quantized.functionals import FloatFunctional
from ..mappings import STATIC, integer_twins
from ..qconfig import QConfig
from ..qconfig_mapping import QConfigMapping
from .ir import Node, walk
from .module import GraphModule

ARITHMETIC = {"add": "add", "add_": "add", "mul": "mul", "mul_": "mul", "matmul": "matmul", "bmm": "matmul", "cat": "cat"}
_SPELLED = {"Relu": "ReLU", "Relu6": "ReLU6", "LeakyRelu": "LeakyReLU", "Elu": "ELU"}
_QUERIES = ("size", "dim", "numel", "ndim")
WEIGHTED = ("linear", "conv1d", "conv2d", "conv3d")
ACTIVATIONS = ("relu", "relu_", "relu6", "sigmoid", "tanh", "softmax", "hardsigmoid", "hardswish", "leaky_relu", "elu")


def name_of(node: Node) -> str:
    """The name of what a function or method node computes: 'add', for an operator, too; '' for the others."""
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", "")).strip("_") if node.op == "call_function" else ""


def numbers(gm: GraphModule) -> set[Node]:
    """The nodes that are no tensors but sizes, or computed from sizes alone."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        query = (node.op == "call_method" and node.target in _QUERIES) or node.target is getattr
        arithmetic = node.op.startswith("call_") and node.op != "call_module" and node.inputs
        if query or (arithmetic and all(given in found for given in node.inputs)):
            found.add(node)
    return found


def functions_to_layers(gm: GraphModule, root: Module, mapping: QConfigMapping, rules: dict[str, Any]) -> None:
    """Gives every function that has integers a layer, with the qconfig that the mapping has for it."""
    sized = numbers(gm)
    for node in [*walk(gm.graph, "call_function"), *walk(gm.graph, "call_method")]:
        name = name_of(node)
        if node in sized or gm.called(node):
            continue
        scope = node.meta.get("scope", "")
        kinds: dict[Any, int] = {
            node.target: 0,
            getattr(functions, name, name): 0,
            getattr(nn.functional, name, name): 0,
            name: 0,
        }
        fallback = getattr(root.get_submodule(scope), "qconfig", mapping.global_qconfig)
        path = f"{scope}.{node.name}" if scope else node.name
        qconfig = mapping.resolve(path, kinds, fallback)
        if qconfig is not None and _becomes_layer(gm, node, name, qconfig, sized):
            rules[node.meta["layer"]] = path, kinds


def _becomes_layer(gm: GraphModule, node: Node, name: str, qconfig: QConfig, sized: set[Node]) -> bool:
    made = _layer(gm, node, name)
    static = integer_twins(qconfig) is STATIC
    if made is not None and (static or name in WEIGHTED):
        layer, given = made
        layer.qconfig = qconfig
        node.op, node.target, node.args, node.kwargs = "call_module", gm.add_layer(node.name, layer), (given,), {}
    elif name in ARITHMETIC and static and (call := _method(node, ARITHMETIC[name], sized)):
        functional = FloatFunctional()
        functional.qconfig = qconfig
        path = gm.add_layer(f"{node.name}_functional", functional)
        before = gm.graph.nodes.index(node)
        owner = gm.graph.node("get_attr", path)
        gm.graph.nodes.insert(before, gm.graph.nodes.pop())
        node.op, node.target, (*args, node.kwargs) = "call_method", *call
        node.args = owner, *args
        node.meta["layer"] = path
        return True
    else:
        return False
    node.meta["layer"] = node.target
    return True


def _method(node: Node, name: str, sized: set[Node]) -> tuple[str, tuple[Any, ...]] | None:
    """The method of FloatFunctional that computes what a node does, and its arguments, options last; None for none.

    Operands and parts are tensors, or, of a sum or product, one is a number; no option but an axis is given.
    """
    options = {"dim" if key == "axis" else key: value for key, value in node.kwargs.items()}
    args = (options.pop("tensors"), *node.args) if "tensors" in options else node.args
    if not args or not set(options) <= {"dim"}:
        return None
    operands = args[0] if isinstance(args[0], list | tuple) else args[:2]
    tensors = [part for part in operands if isinstance(part, Node) and part not in sized]
    others = [part for part in operands if isinstance(part, Real)]
    if len(tensors) == 1 and len(others) == 1 and name in ("add", "mul"):
        return f"{name}_scalar", (*tensors, *others, options)
    return (name, (*args, options)) if len(tensors) == len(operands) else None


def _layer(gm: GraphModule, node: Node, name: str) -> tuple[Module, Node] | None:
    """The layer of a function, and its input; None where there is none, or where an argument is computed."""
    if name in WEIGHTED and node.op == "call_function":
        return _weighted(gm, node, name)
    if name not in ACTIVATIONS or not node.args or len(node.inputs) != 1:
        return None
    camel = "".join(part.capitalize() for part in name.split("_"))
    kind: type[Any] = getattr(nn, _SPELLED.get(camel, camel))
    options = {k: v for k, v in node.kwargs.items() if k not in ("inplace", "dtype", "_stacklevel", "training")}
    return kind(*(() if kind is nn.ReLU else node.args[1:]), **options), node.args[0]


def _weighted(gm: GraphModule, node: Node, name: str) -> tuple[Module, Node] | None:
    """The layer of F.linear or F.conv2d whose weights are parameters of the model, which it shares."""
    arguments = {**dict(zip(_ARGUMENTS[name[:4]], node.args, strict=False)), **node.kwargs}
    x, weight, bias = arguments.pop("input"), arguments.pop("weight"), arguments.pop("bias", None)
    if weight.op != "get_attr" or (bias is not None and bias.op != "get_attr"):
        return None
    values = operator.attrgetter(weight.target)(gm)
    outputs, inputs, *kernel = values.shape
    if name == "linear":
        layer: Any = nn.Linear(inputs, outputs, bias is not None)
    else:
        kind = getattr(nn, name.capitalize())
        layer = kind(inputs * arguments.get("groups", 1), outputs, tuple(kernel), bias=bias is not None, **arguments)
    layer.weight = values
    if bias is not None:
        layer.bias = operator.attrgetter(bias.target)(gm)
    return layer, x


_ARGUMENTS = {"line": ("input", "weight", "bias"), "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups")}
