"""GraphModule: a module whose forward is a graph.

Before: `plan`. After: `trace`.
"""

from __future__ import annotations

import linecache
import operator
from typing import Any

from ...module import Module
from .ir import PARTS, Graph, Node, attribute, walk
from .plan import Plans


class GraphModule(Module):
    """The layers that a graph calls, at the paths that they had in the model, and the graph, which runs as `code`.

    >>> from nanoquant import nn
    >>> from nanoquant.quantization import symbolic_trace
    >>> print(symbolic_trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU())).code)
    def forward(self, input):
        _0 = getattr(self, "0")(input);  input = None
        _1 = getattr(self, "1")(_0);  _0 = None
        return _1
    <BLANKLINE>
    """

    derived = frozenset({"_compiled"})

    def __init__(self, root: Module, graph: Graph, class_name: str = "") -> None:
        super().__init__()
        self.graph, self.class_name, self.notes = graph, class_name or type(root).__name__, {}
        self._compiled: Any = None
        self.training = root.training
        for op in PARTS:
            for node in walk(graph, op):
                self._take(root, node.target)
        self._forward_hooks, self._forward_pre_hooks = root._forward_hooks.copy(), root._forward_pre_hooks.copy()
        self.recompile()

    notes: dict[str, Any]

    def _take(self, root: Module, path: str) -> None:
        """Puts what `root` has at a path at the same path here."""
        *above, name = path.split(".")
        here: Module = self
        there = root
        for part in above:
            there = there.get_submodule(part)
            if part not in here._modules:
                here._modules[part] = box = Module()
                box.training = there.training
            here = here.get_submodule(part)
        for table in ("_modules", "_parameters", "_buffers"):
            if name in there.__dict__[table]:
                here.__dict__[table][name] = there.__dict__[table][name]
                return
        setattr(here, name, getattr(there, name))

    def add_layer(self, wanted: str, layer: Module) -> str:
        """Adds a layer under a name that is free, which it returns."""
        name, number = wanted, 0
        while name in self._modules or hasattr(self, name):
            number += 1
            name = f"{wanted}_{number}"
        self._modules[name] = layer.train(self.training) if not layer._modules else layer
        return name

    def called(self, node: Node) -> str:
        """The path of the layer, or of the functional, that a node calls; '' if it calls neither."""
        if node.op == "call_module":
            return str(node.target)
        owner = node.args[0] if node.op == "call_method" else None
        part = operator.attrgetter(owner.target)(self) if isinstance(owner, Node) and owner.op == "get_attr" else None
        return str(owner.target) if owner is not None and isinstance(part, Module) else ""

    def calls(self, layer: Module) -> int:
        """How many nodes call a layer."""
        return sum(self.get_submodule(node.target) is layer for node in walk(self.graph, "call_module"))

    def recompile(self) -> None:
        """Checks the graph, and forgets the `forward` that was made of what it was before."""
        self.graph.lint(self)
        self._compiled = None

    def prune(self) -> None:
        """Removes the layers that no node calls."""
        used = [node.target for op in PARTS for node in walk(self.graph, op)]
        kept = {path[:end] for path in used for end in [*(i for i, c in enumerate(path) if c == "."), len(path)]}

        def clear(module: Module, prefix: str) -> None:
            for name, child in list(module._modules.items()):
                path = prefix + name
                if path not in kept and path not in self.notes.get("preserved", ()):
                    del module._modules[name]
                elif path not in used and child is not None:
                    clear(child, f"{path}.")

        clear(self, "")

    @property
    def code(self) -> str:
        """`forward`, as Python."""
        return self.graph.source()[0]

    def print_readable(self, print_output: bool = True) -> str:
        """The class with its forward, as Python; prints it, too."""
        text = f"class {self.class_name}(nn.Module):\n    " + self.code.replace("\n", "\n    ").rstrip() + "\n"
        if print_output:
            print(text)
        return text

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Runs the graph."""
        if self._compiled is None or [*map(dict.get, *self._compiled[0])] != self._compiled[1]:
            self._compiled = self._compile()
        plans = self._compiled[2]
        return plans.run(self, *inputs) if len(inputs) == 1 and not options else plans.forward(self, *inputs, **options)

    def _compile(self) -> tuple[tuple[Any, Any], list[Module], Plans]:
        """`forward` as a function that knows its layers, since to look for them takes as long as a small one: where it found
        them and what is on the way to each (tables of the owners, names); what it found; its plans, which hold it."""
        found: dict[tuple[int, str], tuple[Any, str, Module]] = {}
        space: dict[str, Any] = {}

        def known(path: str) -> str:
            owner: Any = self
            for name in path.split("."):
                if name not in owner._modules:
                    return attribute(path)  # a tensor, which is looked for at every call
                table, owner = owner._modules, owner._modules[name]
                found[id(table), name] = table, name, owner
            variable = f"__layer_{len(space)}"
            space[variable] = owner
            return variable

        source, names = self.graph.source(known)  # line by line what `code` shows
        place = f"<forward of {self.class_name} {id(self)}>"
        shown = self.code
        linecache.cache[place] = len(shown), None, shown.splitlines(keepends=True), place
        called = [*space.values()] if len(space) == sum(node.op in PARTS for node in self.graph.nodes) else None
        space.update(names)
        exec(compile(source, place, "exec"), space)
        tables, parts, modules = zip(*found.values(), strict=True) if found else ((), (), ())
        return (tables, parts), [*modules], Plans(self.graph, called, space["forward"])

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        self._compiled = None  # names its functions; made again at the next call
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}

    def printed_name(self) -> str:
        """The traced class's name, as torch prints it."""
        return self.class_name
