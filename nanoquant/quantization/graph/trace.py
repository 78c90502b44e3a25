"""Trace: run forward once on values that note what is done to them.

    y = self.conv(x)      x is Symbolic: the call is noted as a node, and y is Symbolic, too

While it runs, calls of modules are watched, and those of nanoquant's functions by whatever name a module of the user, or a
closure of a method, has them. Layers of `nn` are leaves; models and containers are traced through.

Source: torch.fx (Reed et al., 2022). Before: `module`. After: `functions`.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import operator
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ... import creation, functions, nn
from ...autograd.tensor import Tensor
from ...module import Module
from ...nn.quantized.functionals import METHODS, FXFloatFunctional
from .ir import SYMBOLS, Graph, Node
from .module import GraphModule

_PACKAGE = Path(__file__).parents[2]


class TraceError(RuntimeError):
    """forward does something that cannot be noted once for all inputs; says where, and the ways out."""


def _untraceable(what: str) -> TraceError:
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_ours(Path(frame.f_code.co_filename)):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    owner = frame.f_locals.get("self")
    kind = type(owner).__name__ if isinstance(owner, Module) else "the class"
    return TraceError(
        f"{Path(file).name}, line {line}: {linecache.getline(file, line).strip()}\n"
        f"{what} of a symbolic value: tracing runs forward once, without data, and notes one path for all inputs. Ways out: keep "
        f"that module whole, in float: PrepareCustomConfig().set_non_traceable_module_classes([{kind}]), or "
        "set_non_traceable_module_names; quantize it by itself: set_standalone_module_name; rewrite the line so that it does "
        "not depend on values; or use eager mode (prepare, convert)"
    )


def _is_ours(file: Path) -> bool:
    """Whether a file is of the library, but for its models, which are traced as a user's are."""
    return file.is_relative_to(_PACKAGE) and not file.is_relative_to(_PACKAGE / "models")


class Symbolic:
    """A value that is not there yet."""

    __array_ufunc__ = None  # so that ndarray + Symbolic asks the Symbolic
    __hash__ = object.__hash__

    def __init__(self, node: Node, tracer: Tracer) -> None:
        self.__dict__.update(node=node, tracer=tracer)

    node: Node
    tracer: Tracer

    def __getattr__(self, name: str) -> Any:
        try:
            found = inspect.getattr_static(Tensor, name)
        except AttributeError:
            raise AttributeError(f"a Tensor has no attribute {name!r}") from None
        if isinstance(found, property) or not callable(found):
            return self.tracer.note("call_function", getattr, (self, name), {})
        return lambda *args, **kwargs: self.tracer.note("call_method", name, (self, *args), kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self.tracer.note("call_function", operator.getitem, (self, index), {})

    def __neg__(self) -> Any:
        return self.tracer.note("call_function", operator.neg, (self,), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        raise _untraceable("assigning to a part")

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)
        at = next((i for i in dis.get_instructions(frame.f_code) if i.offset == frame.f_lasti), None)
        if at is None or at.opname != "UNPACK_SEQUENCE":
            raise _untraceable("iterating")
        return iter([self[i] for i in range(at.argval)])

    def __repr__(self) -> str:
        return f"Symbolic({self.node.name})"


def _refuses(what: str) -> Callable[..., Any]:
    def method(*_: Any) -> Any:
        raise _untraceable(what)

    return method


def _operates(function: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    def method(self: Symbolic, other: Any) -> Any:
        return self.tracer.note("call_function", function, (other, self) if swapped else (self, other), {})

    return method


for _name, _what in {
    "bool": "the truth", "int": "the integer value", "float": "the value", "index": "the integer value", "len": "the length",
    "contains": "the contents", "array": "the array",
}.items():  # fmt: skip
    setattr(Symbolic, f"__{_name}__", _refuses(_what))
for _name in SYMBOLS:
    _function = getattr(operator, _name)
    setattr(Symbolic, f"__{_name.strip('_')}__", _operates(_function))
    if _name not in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Symbolic, f"__r{_name.strip('_')}__", _operates(_function, swapped=True))


def _has_symbolic(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_has_symbolic, value))
    return any(map(_has_symbolic, value.values())) if isinstance(value, dict) else isinstance(value, Symbolic)


def _symbolic(args: Any, kwargs: Any) -> bool:
    return _has_symbolic(args) or _has_symbolic(kwargs)


class Tracer:
    """Traces one module. leaf_names, leaf_classes: modules that are not looked into, besides those of nn."""

    def __init__(self, root: Module, leaf_names: Collection[str] = (), leaf_classes: Collection[type[Any]] = ()) -> None:
        self.root, self.graph, self.scopes = root, Graph(), [""]
        self.leaf_names, self.leaf_classes = leaf_names, tuple(leaf_classes)
        self.paths = {id(module): path for path, module in root.named_modules()}
        self.values = {id(v): path for path, v in [*root.named_parameters(), *root.named_buffers()]}

    def is_leaf(self, module: Module, path: str) -> bool:
        """Whether a module is one node: layers of nanoquant, but for its containers and models."""
        kind = type(module)
        own = kind.__module__.startswith("nanoquant.") and not kind.__module__.startswith("nanoquant.models")
        containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict, Module, GraphModule)
        return path in self.leaf_names or isinstance(module, self.leaf_classes) or (own and kind not in containers)

    def note(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Symbolic:
        """A node for what is done, and the value that stands for its result."""
        args, kwargs = self._noted(args), self._noted(kwargs)
        node = self.graph.node(op, target, args, kwargs)
        node.meta["scope"] = self.scopes[-1]
        return Symbolic(node, self)

    def _noted(self, value: Any) -> Any:
        """An argument as a graph has it: nodes for symbolic values, and for the root's parameters and buffers."""
        if isinstance(value, Symbolic):
            return value.node
        if isinstance(value, tuple):
            return tuple(map(self._noted, value))
        if isinstance(value, list):
            return [self._noted(part) for part in value]
        if isinstance(value, dict):
            return {key: self._noted(part) for key, part in value.items()}
        if isinstance(value, slice):
            return slice(*map(self._noted, (value.start, value.stop, value.step)))
        return self._part(value) if isinstance(value, Tensor | np.ndarray) else value

    def _part(self, value: Any) -> Node:
        if id(value) not in self.values:
            name = f"_tensor_constant{sum(path.startswith('_tensor_constant') for path in self.values.values())}"
            self.root.register_buffer(name, np.asarray(value))
            self.values[id(value)] = name
        path = self.values[id(value)]
        found = next((n for n in self.graph.nodes if n.op == "get_attr" and n.target == path), None)
        return found or self.graph.node("get_attr", path)

    def call(self, original: Callable[..., Any], module: Module, *args: Any, **kwargs: Any) -> Any:
        """What takes the place of Module.__call__."""
        if not _symbolic(args, kwargs):
            return original(module, *args, **kwargs)
        path = self.paths.get(id(module))
        if path is None:
            raise TraceError(f"{type(module).__name__} is called in forward, but is no part of the model: set it as an attribute")
        if self.is_leaf(module, path) and module is not self.root:
            return self.note("call_module", path, args, kwargs)
        self.scopes.append(path)
        try:
            return original(module, *args, **kwargs)
        finally:
            self.scopes.pop()

    def trace(self) -> Graph:
        """The graph of the root's forward. Parameters of forward that have a default keep it."""
        if self.is_leaf(self.root, ""):
            kind = type(self.root).__name__
            raise TraceError(f"a layer alone is no graph: put it into a model, nn.Sequential({kind}(...)); got {kind}")
        parameters = inspect.signature(self.root.forward).parameters.values()
        inputs = [p for p in parameters if p.default is p.empty]
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in inputs):
            raise TraceError(f"forward of {type(self.root).__name__} must name its inputs; got {', '.join(map(str, inputs))}")
        names = ["input" if p.name == "x" and isinstance(self.root, nn.Sequential) else p.name for p in inputs]
        given = [Symbolic(self.graph.node("placeholder", name, name=name), self) for name in names]
        for symbolic, name in zip(given, names, strict=True):
            symbolic.node.name = name
        with _watched(self):
            output = self.root.forward(*given)
        self.graph.node("output", "output", (self._noted(output),))
        return self.graph


def public_functions() -> dict[str, Any]:
    """The functions of nanoquant whose calls are noted, by their names: 'nn.functional.relu', 'functions.cat'."""
    return {
        f"{space.__name__.removeprefix('nanoquant.')}.{name}": function
        for space in (nn.functional, creation, functions)
        for name, function in vars(space).items()
        if name[0] != "_" and isinstance(function, FunctionType | partial) and function.__module__.startswith("nanoquant")
    }


def _replacements(tracer: Tracer) -> dict[int, tuple[Any, Any]]:
    """The public functions of nanoquant, by identity, each with the function that notes its calls."""

    def watching(function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return tracer.note("call_function", function, args, kwargs) if _symbolic(args, kwargs) else function(*args, **kwargs)

        return call

    return {id(f): (f, watching(f)) for f in public_functions().values()}


def _spaces(root: Module) -> list[dict[str, Any]]:
    """The names in which a forward may find a function of nanoquant: all but those of the library's own files."""
    files = [m for name, m in list(sys.modules.items()) if not name.startswith("nanoquant.") and isinstance(m, ModuleType)]
    forwards = [getattr(type(module).forward, "__globals__", {}) for module in root.modules()]
    forwards = [space for space in forwards if not space.get("__name__", "").startswith("nanoquant.nn")]
    return list({id(space): space for space in [*map(vars, [nn.functional, *files]), *forwards]}.values())


def _cells(root: Module) -> list[CellType]:
    """What the methods of the user's classes have from the functions around them."""
    classes = {kind for module in root.modules() for kind in type(module).__mro__}
    methods = [m for k in classes if not k.__module__.startswith("nanoquant.") for m in vars(k).values()]
    cells = [cell for method in methods for cell in getattr(method, "__closure__", None) or ()]
    return [cell for cell in cells if cell != CellType()]  # an empty cell has no contents to ask for


@contextmanager
def _watched(tracer: Tracer) -> Iterator[None]:
    """While it lasts, modules and functions tell the tracer of calls with symbolic values."""
    replacements = _replacements(tracer)
    undo: list[Callable[[], None]] = []
    for space in _spaces(tracer.root):
        for name, value in list(space.items()):
            found = replacements.get(id(value))
            if found is not None and found[0] is value:
                space[name] = found[1]
                undo.append(partial(space.__setitem__, name, value))
    for cell in _cells(tracer.root):
        found = replacements.get(id(cell.cell_contents))
        if found is not None:
            undo.append(partial(setattr, cell, "cell_contents", cell.cell_contents))
            cell.cell_contents = found[1]
    original = Module.__call__

    def watch(kind: type[Any], name: str, call: Any) -> None:
        undo.append(partial(setattr, kind, name, vars(kind)[name]))
        setattr(kind, name, call)

    def functional(name: str, method: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not _symbolic(args, kwargs):
                return method(self, *args, **kwargs)
            owner = tracer.note("get_attr", tracer.paths[id(self)], (), {})
            return tracer.note("call_method", name, (owner, *args), kwargs)

        return call

    watch(Module, "__call__", lambda self, *args, **kwargs: tracer.call(original, self, *args, **kwargs))
    for name in METHODS:
        watch(FXFloatFunctional, name, functional(name, vars(FXFloatFunctional)[name]))
    try:
        yield
    finally:
        for restore in reversed(undo):
            restore()


def symbolic_trace(root: Module) -> GraphModule:
    """What a module computes, as a graph; its layers are shared, not copied.

    Raises TraceError, with the line, for control flow that depends on values.
    """
    return GraphModule(root, Tracer(root).trace())
