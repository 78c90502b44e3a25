"""Modules as files: the tree, its plain attributes and its arrays.

A module is written as the name of its class, its attributes that are plain values, its parameters, buffers and
children; what can be derived (packed weights) is left out, and what cannot be written (hooks, functions) is an error.
It is read without calling any constructor: the class is looked up, never imported, so a file cannot run anything.

Before: `graph`. After: `nanoquant.data`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn, quantization
from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor
from ..module import Module
from ..nn import intrinsic, qat, quantized
from ..numerics import Profile
from ..qparams import AbsMaxRule
from ..quantization.graph.ir import Graph, Node
from ..quantization.graph.module import GraphModule
from ..scheme import QDTYPES, QDType, QScheme
from . import file
from .file import FileError
from .graph import FUNCTIONS, graph_of, identity
from .graph import NAMES as FUNCTION_NAMES

# Classes that any file may name; a user's own are given to `load`.
KNOWN: dict[str, type[Module]] = {
    f"{space.__name__.removeprefix('nanoquant.')}.{name}": kind
    for space in (quantization, nn, intrinsic, qat, qat.dynamic, nn.quantizable, quantized, quantized.dynamic)
    for name, kind in vars(space).items()
    if isinstance(kind, type) and issubclass(kind, Module) and not name.startswith("_")
}
NAMES = {kind: name for name, kind in KNOWN.items()}


def save(what: Module | dict[str, Any], path: str | Path) -> None:
    """Writes a float or quantized module, or a `state_dict`, to a file.

    Raises TypeError, naming the module and the attribute, for what a file cannot hold.

    >>> import tempfile
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.nq")
    ...     again = load(f"{folder}/model.nq")
    >>> bool((again[0].weight == model[0].weight).array.all())
    True
    """
    writer = _Writer()
    if isinstance(what, Module):
        content = {"module": writer.module(what, "")}
    else:
        content = {"state": {name: writer.array(value) for name, value in what.items()}}
    file.write(path, content, writer.arrays)


def load(path: str | Path, classes: Iterable[type[Module]] = ()) -> Any:
    """Reads what `save` wrote: the module, ready to run, or the state as a dict of arrays.

    classes: the user's own module classes that occur in the model. Raises FileError for a damaged file, and for a
    class that is neither nanoquant's nor among `classes`.
    """
    content, arrays = file.read(path)
    try:
        if "state" in content:
            return {name: arrays[index] for name, index in content["state"].items()}
        reader = _Reader(arrays, {kind.__qualname__: kind for kind in classes})
        return reader.module(content["module"])
    except FileError:
        raise
    except (LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise FileError(f"{path} has a damaged header: {error!r}") from None


class _Writer:
    """Collects arrays, each once, and describes modules, each once."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._arrays: dict[int, int] = {}
        self._modules: dict[int, int] = {}

    def array(self, value: Any) -> int:
        """The index under which a value is stored."""
        key = id(value)
        if key not in self._arrays:
            self._arrays[key] = len(self.arrays)
            self.arrays.append(np.asarray(value))
        return self._arrays[key]

    def module(self, module: Module, path: str) -> Any:
        """A module's description; a number for one that was described before."""
        if id(module) in self._modules:
            return self._modules[id(module)]
        self._modules[id(module)] = len(self._modules)
        if module._forward_hooks or module._forward_pre_hooks:
            raise TypeError(
                f"{path or 'the model'} ({module.printed_name()}) has hooks, which a file cannot hold: convert a prepared model "
                "first, or remove them"
            )
        hidden = {"_parameters", "_buffers", "_transient", "_modules", "_forward_hooks", "_forward_pre_hooks"}
        plain = {k: v for k, v in vars(module).items() if k not in hidden | module.derived}
        return {
            "class": NAMES.get(type(module), type(module).__qualname__),
            "attributes": {name: _encode(value, path, module, name) for name, value in plain.items()},
            "parameters": {k: None if v is None else self._parameter(v) for k, v in module._parameters.items()},
            "buffers": {k: None if v is None else self._buffer(v) for k, v in module._buffers.items()},
            "transient": sorted(module._transient),
            "modules": {
                name: None if child is None else self.module(child, f"{path}.{name}" if path else name)
                for name, child in module._modules.items()
            },
        }

    def _parameter(self, value: Any) -> list[Any]:
        return [self.array(value), value.requires_grad]

    def _buffer(self, value: Any) -> list[Any]:
        return [self.array(value), isinstance(value, Tensor)]


def _encode(value: Any, path: str, module: Module, name: str) -> Any:
    """A plain value as JSON: scalars and lists as they are, all else as a one-entry dict that names its kind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        items = [_encode(item, path, module, name) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if type(value) is dict:
        return {"dict": [[key, _encode(item, path, module, name)] for key, item in value.items()]}
    if isinstance(value, Graph):
        rows = [(node.name, node.op, node.target, node.args, node.kwargs) for node in value.nodes]
        return {"graph": _encode(rows, path, module, name)}
    if isinstance(value, slice):
        return {"slice": _encode([value.start, value.stop, value.step], path, module, name)}
    if isinstance(value, Node):
        return {"node": value.name}
    if identity(value) in FUNCTION_NAMES:
        return {"function": FUNCTION_NAMES[identity(value)]}
    if isinstance(value, QDType):
        return {"dtype": value.name}
    if isinstance(value, QScheme | Profile | AbsMaxRule):
        return {type(value).__name__.lower(): value.name}
    raise TypeError(
        f"{path or 'the model'} ({module.printed_name()}): its attribute {name!r} is a {type(value).__name__}, which a file "
        "cannot hold: make it a buffer, a plain value, or delete it before saving"
    )


DECODERS: dict[str, Any] = {
    "tuple": lambda value: tuple(_decode(item) for item in value),
    "dict": lambda value: {key: _decode(item) for key, item in value},
    "graph": lambda value: graph_of(_decode(value)),
    "slice": lambda value: slice(*_decode(value)),
    "node": lambda value: Node(value, "", ""),
    "function": lambda value: FUNCTIONS[value],
    "dtype": lambda value: QDTYPES[value],
    "qscheme": lambda value: QScheme[value],
    "profile": lambda value: Profile[value],
    "absmaxrule": lambda value: AbsMaxRule[value],
}


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        return DECODERS[kind](inner)
    return [_decode(item) for item in value] if isinstance(value, list) else value


class _Reader:
    """Builds modules from their descriptions."""

    def __init__(self, arrays: list[NDArray[Any]], own: dict[str, type[Module]]) -> None:
        self.arrays, self.own = arrays, own
        self.built: list[Module] = []
        self.parameters: dict[int, Parameter] = {}

    def module(self, description: Any) -> Module:
        """The module; a number is one built before."""
        if isinstance(description, int):
            return self.built[description]
        name = description["class"]
        kind = KNOWN.get(name) or self.own.get(name)
        if kind is None:
            raise FileError(f"the file holds a module of class {name!r}: give it to load(path, classes=[{name}])")
        module: Module = object.__new__(kind)
        self.built.append(module)
        Module.__init__(module)
        for key in module.derived:
            object.__setattr__(module, key, None)
        for key, value in description["attributes"].items():
            object.__setattr__(module, key, _decode(value))
        for key, value in description["parameters"].items():
            module._parameters[key] = None if value is None else self._parameter(*value)
        for key, value in description["buffers"].items():
            module._buffers[key] = None if value is None else self._buffer(*value)
        module._transient.update(description["transient"])
        for key, child in description["modules"].items():
            module._modules[key] = None if child is None else self.module(child)
        if isinstance(module, GraphModule):
            module.graph.lint(module)
        return module

    def _parameter(self, index: int, requires_grad: bool) -> Parameter:
        return self.parameters.setdefault(index, Parameter(self.arrays[index], requires_grad))

    def _buffer(self, index: int, is_tensor: bool) -> Any:
        return Tensor(self.arrays[index]) if is_tensor else self.arrays[index]
