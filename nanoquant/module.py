"""Module: a tree of named parts with state. Layers, observers and whole networks are Modules.

Setting an attribute files it by what it is: a Parameter among the parameters, a Module among the children; buffers are
announced with `register_buffer`. Everything else is a plain attribute. Names and order of `state_dict`, `named_modules`
and the printed tree are torch's.

Before: `errors`. After: `observers` and `nn`, whose classes are Modules.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from .errors import located

Self = TypeVar("Self", bound="Module")
Hook = Callable[..., Any]


class ParameterBase:
    """What a Module files among its parameters; `nanoquant.nn.Parameter` is the class to use."""

    requires_grad: bool
    grad: Any


class Hooks:
    """A handle to a registered hook, and the way to remove it."""

    def __init__(self, hooks: OrderedDict[int, Hook], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Removes the hook; harmless if that has been done."""
        self._hooks.pop(self._key, None)


class Module:
    """Base class of everything that has parameters, buffers or children.

    Subclasses call `super().__init__()` first, set their parts as attributes, and define `forward`. Calling a module
    runs its forward pre-hooks, `forward`, and its forward hooks.

    >>> class Twice(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.register_buffer("factor", np.float32(2) * np.ones(1, np.float32))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> twice = Twice()
    >>> float(twice(21)[0]), list(twice.state_dict())
    (42.0, ['factor'])
    """

    training: bool
    derived: frozenset[str] = frozenset()  # plain attributes that are computed from the rest, and never saved
    resizable_buffers: frozenset[str] = frozenset()  # buffers whose shape is learned from data

    def __init__(self) -> None:
        set_plain = object.__setattr__
        set_plain(self, "training", True)
        set_plain(self, "_parameters", OrderedDict())
        set_plain(self, "_buffers", OrderedDict())
        set_plain(self, "_transient", set())  # names of buffers that state_dict leaves out
        set_plain(self, "_modules", OrderedDict())
        set_plain(self, "_forward_pre_hooks", OrderedDict())
        set_plain(self, "_forward_hooks", OrderedDict())

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _tables(self) -> tuple[dict[str, Any], ...]:
        try:
            return self.__dict__["_parameters"], self.__dict__["_buffers"], self.__dict__["_modules"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first") from None

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = self._tables()
        kind = parameters if isinstance(value, ParameterBase) else modules if isinstance(value, Module) else None
        if kind is None:
            for table in (parameters, buffers, modules):
                if name in table and (value is None or table is buffers):
                    table[name] = value
                    return
            if name in parameters or name in modules:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {type(getattr(self, name)).__name__}; got {type(value).__name__}"
                )
            object.__setattr__(self, name, value)
            return
        for table in (parameters, buffers, modules, self.__dict__):
            if table is not kind:
                table.pop(name, None)
        kind[name] = value

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_modules", "_buffers", "_parameters"):
            if name in own.get(table, ()):
                return own[table][name]
        self._tables()  # says what is missing, if these are
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for table in self._tables():
            if name in table:
                del table[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for table in self._tables() for name in table)]

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Names an array (or None) that is state but no parameter. `persistent=False` keeps it out of `state_dict`."""
        self._check_name(name)
        self._buffers[name] = value
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_parameter(self, name: str, value: ParameterBase | None) -> None:
        """Names a parameter; None reserves the name."""
        self._check_name(name)
        self._parameters[name] = value

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child; names need not be identifiers, as in Sequential."""
        self._check_name(name)
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str) -> None:
        if not name or "." in name:
            raise KeyError(f"a name must be non-empty and without dots; got {name!r}")
        if hasattr(self, name) and not any(name in table for table in self._tables()):
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    # ---- walking ----------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children that are not None, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Direct children, each once."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", _seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first, each once, with dotted paths."""
        seen = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path; '' is this one."""
        module = self
        for name in path.split(".") if path else ():
            child = module._modules.get(name)
            if child is None:
                known = ", ".join(module._modules) or "none"
                raise AttributeError(f"no module at {path!r}: {type(module).__name__} has no child {name!r}; children: {known}")
            module = child
        return module

    def _named(self, table: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules() if recurse else [("", self)]:
            for name, value in module.__dict__[table].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """Parameters with dotted paths, each once."""
        return self._named("_parameters", recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """Parameters, each once."""
        return (value for _, value in self.named_parameters(recurse))

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """Buffers with dotted paths, each once."""
        return self._named("_buffers", recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """Buffers, each once."""
        return (value for _, value in self.named_buffers(recurse))

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Calls `function` on every module below and then on this one."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    # ---- modes ------------------------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Switches this module and all below it to training (or evaluation) mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switches this module and all below it to evaluation mode."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Sets whether the parameters ask for gradients."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients, or sets them to 0."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else parameter.grad.zero_()

    # ---- state ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> OrderedDict[str, Any]:
        """Parameters and persistent buffers by path: the values themselves, not copies."""
        state: OrderedDict[str, Any] = OrderedDict()
        for path, module in self.named_modules():
            prefix = f"{path}." if path else ""
            for name, value in module._parameters.items():
                if value is not None:
                    state[prefix + name] = value
            for name, value in module._buffers.items():
                if value is not None and name not in module._transient:
                    state[prefix + name] = value
        return state

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Copies values into the parameters and buffers of the same paths.

        With `strict`, paths must match exactly. Raises RuntimeError that lists all that is missing, unexpected or of
        another shape; then nothing has been changed.
        """
        own = self.state_dict()
        strays = {"missing": [k for k in own if k not in state], "unexpected": [k for k in state if k not in own]}
        problems = [f"{what}: {', '.join(paths)}" for what, paths in strays.items() if paths and strict]
        values = {path: np.asarray(value) for path, value in state.items() if path in own}
        modules = dict(self.named_modules())
        for path, value in values.items():
            owner, _, name = path.rpartition(".")
            if value.shape != np.shape(own[path]) and name not in modules[owner].resizable_buffers:
                problems.append(f"{path} has shape {np.shape(own[path])}; got {value.shape}")
        if problems:
            raise RuntimeError(f"cannot load the state of {type(self).__name__}: " + "; ".join(problems))
        for path, value in values.items():
            owner, _, name = path.rpartition(".")
            buffers, current = modules[owner]._buffers, own[path]
            if name in buffers and isinstance(current, np.ndarray | np.generic):
                buffers[name] = np.asarray(value.astype(current.dtype, casting="same_kind"))
            else:
                np.copyto(np.asarray(current), value)
        for module in modules.values():
            module.state_changed()

    def state_changed(self) -> None:
        """Called after the state was loaded; modules that derive anything from it forget what they derived."""

    # ---- calling ----------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Hook) -> Hooks:
        """hook(module, inputs) runs before forward; what it returns, unless None, replaces the inputs."""
        return self._register(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Hook) -> Hooks:
        """hook(module, inputs, output) runs after forward; what it returns, unless None, replaces the output."""
        return self._register(self._forward_hooks, hook)

    @staticmethod
    def _register(hooks: OrderedDict[int, Hook], hook: Hook) -> Hooks:
        key = max(hooks, default=-1) + 1
        hooks[key] = hook
        return Hooks(hooks, key)

    def forward(self, *inputs: Any) -> Any:
        """Computes the output; every subclass that is called defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        try:
            for hook in list(self._forward_pre_hooks.values()):
                changed = hook(self, inputs)
                if changed is not None:
                    inputs = changed if isinstance(changed, tuple) else (changed,)
            output = self.forward(*inputs, **options)
            for hook in list(self._forward_hooks.values()):
                changed = hook(self, inputs, output)
                if changed is not None:
                    output = changed
        except ValueError as error:
            raise located(error, self) from error.__cause__
        return output

    def to(self: Self, *where: Any, **options: Any) -> Self:
        """Accepts 'cpu' and float32, the one device and float dtype there are; returns the module."""
        for target in (*where, *options.values()):
            if str(target) not in ("cpu", "float32", str(np.float32)):
                raise ValueError(f"nanoquant computes on 'cpu' in float32; got {target!r}")
        return self

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin

    # ---- printing ---------------------------------------------------------------------------------------------------

    def printed_name(self) -> str:
        """The name in front of the parentheses."""
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [line for line in self.extra_repr().split("\n") if line]
        if not self._modules:
            return f"{self.printed_name()}({', '.join(lines)})"
        for name, module in self._modules.items():
            body = repr(module).replace("\n", "\n  ")
            lines.append(f"({name}): {body}")
        return f"{self.printed_name()}(\n  " + "\n  ".join(lines) + "\n)"
