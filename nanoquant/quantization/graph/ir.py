"""The graph: what a model computes, as a list of nodes in the order in which they run.

    placeholder     an input                          name = its name
    get_attr        a part of the module              self.target
    call_function   a function of nodes               target(*args)
    call_method     a method of the first argument    args[0].target(*args[1:])
    call_module     a layer                           self.target(*args)
    output          what is returned                  args[0]

Names and the printed form are torch.fx's. Before: `nanoquant.quantization.eager`. After: `module`.
"""

from __future__ import annotations

import builtins
import keyword
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...module import Module

OPS = ("placeholder", "get_attr", "call_function", "call_method", "call_module", "output")
PARTS = ("call_module", "get_attr")  # of the module, by path
SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and_": "&", "or_": "|", "xor": "^",
}  # fmt: skip


class GraphError(ValueError):
    """A graph that does not hold together."""


@dataclass(eq=False, repr=False)
class Node:
    """One step. meta: what the passes note about it: `scope`, the path of the module whose forward made it; `line`."""

    name: str
    op: str
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Node]:
        """The nodes among its arguments, each once."""
        found: dict[Node, None] = {}
        map_nodes((self.args, self.kwargs), found.setdefault)
        return list(found)

    def replace_input(self, old: Node, new: Node) -> None:
        """Takes another node's result where it took the old one's."""
        self.args, self.kwargs = map_nodes((self.args, self.kwargs), lambda node: new if node is old else node)

    def __repr__(self) -> str:
        return self.name

    def format(self, users: int) -> str:
        """The node's line in the printed graph."""
        if self.op == "output":
            return f"return {_text(self.args[0], str)}"
        target = _qualified(self.target) if self.op == "call_function" else self.target
        call = f"(args = {_text(self.args, '%{}'.format)}, kwargs = {_text(self.kwargs, '%{}'.format)})"
        called = call if self.op.startswith("call") else ""
        return f"%{self.name} : [num_users={users}] = {self.op}[target={target}]{called}"


def map_nodes(value: Any, change: Callable[[Node], Any]) -> Any:
    """The value with every node in it, however deep in tuples, lists, dicts and slices, changed."""
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, tuple):
        parts = [map_nodes(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [map_nodes(part, change) for part in value]
    if isinstance(value, dict):
        return {key: map_nodes(part, change) for key, part in value.items()}
    if isinstance(value, slice):
        return slice(*(map_nodes(part, change) for part in (value.start, value.stop, value.step)))
    return value


def _qualified(function: Any) -> str:
    module = (getattr(function, "__module__", "") or "").replace("_operator", "operator")
    return f"{module}.{function.__name__}".removeprefix("builtins.")


def _text(value: Any, name: Callable[[Node], str], constants: dict[str, Any] | None = None) -> str:
    """A value as source; with `constants`, what has no source is filed there, under a name."""

    def text(part: Any) -> str:
        return _text(part, name, constants)

    if isinstance(value, Node):
        return name(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(text, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {text(part)}' for key, part in value.items())}}}"
    if isinstance(value, slice):
        return f"slice({text(value.start)}, {text(value.stop)}, {text(value.step)})"
    if constants is None or value is None or value is Ellipsis or isinstance(value, int | str):
        return "Ellipsis" if value is Ellipsis else repr(value)
    key = next((k for k, v in constants.items() if v is value), f"_constant_{len(constants)}")
    constants[key] = value
    return repr(value) if isinstance(value, float) and value - value == 0 else key


class Graph:
    """Nodes in the order in which they run."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def node(
        self, op: str, target: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None,
        name: str | None = None, after: Node | None = None,
    ) -> Node:  # fmt: skip
        """A new node, behind another or at the end, named as torch.fx names it."""
        made = Node(self._free(str(name or getattr(target, "__name__", target))), op, target, args, kwargs or {})
        self.nodes.insert(len(self.nodes) if after is None else self.nodes.index(after) + 1, made)
        return made

    def _free(self, wanted: str) -> str:
        base = re.sub(r"\W", "_", wanted).strip("_") or "_"
        base, used = f"_{base}" if base[0].isdigit() else base, {node.name for node in self.nodes}
        taken = base in used or keyword.iskeyword(base) or hasattr(builtins, base)
        number, stem = 1, re.sub(r"_\d+$", "", base)
        while taken and f"{stem}_{number}" in used:
            number += 1
        return f"{stem}_{number}" if taken else base

    def users(self, node: Node) -> list[Node]:
        """The nodes that take a node's result."""
        return [user for user in self.nodes if node in user.inputs]

    def replace(self, node: Node, new: Node) -> None:
        """Lets everybody take the result of another node, and removes the first."""
        for user in self.users(node):
            user.replace_input(node, new)
        self.nodes.remove(node)

    def lint(self, owner: Module | None = None) -> None:
        """Raises GraphError for a name used twice, a node that takes what is not there yet, a graph without one output at its
        end, and, given the owner, for a target that it has not."""
        seen: dict[str, Node] = {}
        for node in self.nodes:
            if node.op not in OPS or node.name in seen:
                problem = "a second node of that name" if node.name in seen else f"no op is called {node.op!r}"
                raise GraphError(f"{node.name}: {problem}")
            for given in node.inputs:
                if seen.get(given.name) is not given:
                    raise GraphError(f"{node.name} takes {given.name}, which does not run before it")
            if owner is not None and node.op in PARTS:
                try:
                    operator.attrgetter(node.target)(owner)
                except AttributeError as error:
                    raise GraphError(f"{node.name}: the module has no {node.target!r} ({error})") from None
            seen[node.name] = node
        if [node.op for node in self.nodes].count("output") != 1 or self.nodes[-1].op != "output":
            raise GraphError("a graph has one output, its last node")

    def __str__(self) -> str:
        return "\n    ".join(["graph():", *(node.format(len(self.users(node))) for node in self.nodes)])

    def print_tabular(self) -> None:
        """Prints a row for each node: op, name, target, arguments."""
        heads = ["opcode", "name", "target", "args", "kwargs"]
        rows = [heads, *(list(map(str, (n.op, n.name, n.target, n.args, n.kwargs))) for n in self.nodes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        print("\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))

    def source(self, part: Callable[[str], str] | None = None) -> tuple[str, dict[str, Any]]:
        """`forward` as Python, and the functions and constants that it names. part: a path's, if not `attribute`."""
        names: dict[str, Any] = {}
        inputs = ", ".join(["self", *(node.name for node in self.nodes if node.op == "placeholder")])
        lines = [line for node in self.nodes if (line := _statement(node, names, part or attribute))]
        last = {given: node for node in self.nodes for given in node.inputs}
        done = {node: [given.name for given in last if last[given] is node] for node in self.nodes}
        running = [node for node in self.nodes if node.op != "placeholder"]
        freed = [
            f"{line};  {' = '.join(done[node])} = None" if done[node] and node.op != "output" else line
            for node, line in zip(running, lines, strict=True)
        ]
        return "\n    ".join([f"def forward({inputs}):", *freed]) + "\n", names

    def to_svg(self, note: Callable[[Node], str] = lambda node: "") -> str:
        """A picture: a box for each node, a line to each that takes its result. note: a word beside a node."""
        rows = {node: 20 + 36 * i for i, node in enumerate(self.nodes)}
        lines = [
            f'<path d="M{20 + 8 * (i % 3)} {rows[a] + 24} C{4} {rows[a] + 40} {4} {rows[b] - 16} {20 + 8 * (i % 3)} {rows[b]}" '
            'fill="none" stroke="#888"/>'
            for b in self.nodes for i, a in enumerate(b.inputs)
        ]  # fmt: skip
        boxes = [
            f'<rect x="16" y="{y}" width="420" height="24" rx="4" fill="#eef" stroke="#446"/>'
            f'<text x="24" y="{y + 16}" font-family="monospace" font-size="12">{_escaped(node.name)} = '
            f"{_escaped(f'{node.op} {_target(node)} {note(node)}')}</text>"
            for node, y in rows.items()
        ]
        size = f'width="452" height="{40 + 36 * len(rows)}"'
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *lines, *boxes, "</svg>"])


def _target(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def attribute(path: str) -> str:
    """Source for a part of self: `self.layer1`, `getattr(self.layers, "0")`.

    >>> attribute("body.0.conv")
    'getattr(self.body, "0").conv'
    """
    text = "self"
    for name in path.split("."):
        text = f"{text}.{name}" if name.isidentifier() and not keyword.iskeyword(name) else f'getattr({text}, "{name}")'
    return text


def _statement(node: Node, names: dict[str, Any], part: Callable[[str], str]) -> str:
    """The node's line of source; none for a placeholder. Notes what the line names."""
    parts = [_text(arg, str, names) for arg in node.args]
    options = [f"{key}={_text(value, str, names)}" for key, value in node.kwargs.items()]
    if node.op == "placeholder":
        return ""
    if node.op == "output":
        return f"return {parts[0]}"
    function: Any = node.target if node.op == "call_function" else None
    symbol = SYMBOLS.get(function.__name__) if getattr(function, "__module__", "") == "_operator" else None
    if node.op == "get_attr":
        value = part(node.target)
    elif node.op == "call_module":
        value = f"{part(node.target)}({', '.join(parts + options)})"
    elif node.op == "call_method":
        value = f"{parts[0]}.{node.target}({', '.join(parts[1:] + options)})"
    elif symbol:
        value = f"{parts[0]} {symbol} {parts[1]}"
    elif function is operator.getitem:
        value = f"{parts[0]}[{parts[1]}]"
    elif function is getattr:
        value = f"{parts[0]}.{node.args[1]}"
    else:
        key = _qualified(function).replace(".", "_")
        names[key] = function
        value = f"{key}({', '.join(parts + options)})"
    return f"{node.name} = {value}"


def walk(graph: Graph, op: str) -> Iterator[Node]:
    """The nodes of one op, of a list taken beforehand, so that the graph may change meanwhile."""
    return iter([node for node in graph.nodes if node.op == op])
