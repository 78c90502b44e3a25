"""Modules made of modules, and of parameters.

Before: `pool`. After: `init`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..module import Module


class _List(Module, MutableSequence[Any]):
    """Parts named '0', '1' ... in one of the module's tables, and indexed by number."""

    table = "_modules"

    def __init__(self, parts: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(parts)

    def _names(self) -> list[str]:
        return list(self.__dict__[self.table])

    def __len__(self) -> int:
        return len(self.__dict__[self.table])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.__dict__[self.table].values())

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, int | np.integer | slice):
            raise TypeError(f"{type(self).__name__} takes a number or a slice, m[1] or m[1:3]; got m[{index!r}]")
        parts = list(self)[index]
        return type(self)(parts) if isinstance(index, slice) else parts

    def __setitem__(self, index: Any, part: Any) -> None:
        setattr(self, self._names()[index], part)

    def __delitem__(self, index: Any) -> None:
        kept = list(self)
        del kept[index]
        self.__dict__[self.table].clear()
        self.extend(kept)

    def insert(self, index: int, part: Any) -> None:
        """Adds a part before the one at `index`; those behind it are renumbered."""
        parts = list(self)
        parts.insert(index, part)
        self.__dict__[self.table].clear()
        self.extend(parts)

    def append(self, part: Any) -> Any:
        """Adds a part at the end."""
        setattr(self, str(len(self)), part)
        return self


class Sequential(_List):
    """Modules applied one after another; given in order, or as one OrderedDict of names.

    >>> from nanoquant.nn import Linear, ReLU
    >>> model = Sequential(Linear(2, 3), ReLU())
    >>> len(model), model[1]
    (2, ReLU())
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], OrderedDict) else enumerate(modules)
        for name, module in named:
            self.add_module(str(name), module)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def forward(self, x: Any) -> Any:
        """The last module's output."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_List):
    """A list of modules, so that their parameters are found; it has no forward.

    >>> from nanoquant.nn import Linear, ReLU
    >>> ModuleList([Linear(1, 2), Linear(1, 2)]).append(ReLU())
    ModuleList(
      (0-1): 2 x Linear(in_features=1, out_features=2, bias=True)
      (2): ReLU()
    )
    """

    def __repr__(self) -> str:
        runs: list[tuple[int, int, str]] = []  # first, last, what equal neighbours print
        for i, module in enumerate(self):
            text = repr(module).replace("\n", "\n  ")
            first = runs.pop()[0] if runs and runs[-1][2] == text else i
            runs.append((first, i, text))
        lines = [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in runs]
        return "\n  ".join([f"{self.printed_name()}(", *lines]) + "\n)" if lines else f"{self.printed_name()}()"


class ParameterList(_List):
    """A list of parameters; tensors become parameters.

    >>> ParameterList([nq.ones(2, 3)])
    ParameterList((0): Parameter containing: [float32 of size 2x3])
    """

    table = "_parameters"

    def append(self, part: Any) -> Any:
        """Adds a parameter at the end."""
        return super().append(part if isinstance(part, Parameter) else Parameter(part))

    def extra_repr(self) -> str:
        kinds = (f"[{p.dtype} of size {'x'.join(map(str, p.shape))}]" for p in self)
        return "\n".join(f"({i}): Parameter containing: {kind}" for i, kind in enumerate(kinds))


class ModuleDict(Module, MutableMapping[str, Any]):
    """A dict of modules, so that their parameters are found; it has no forward.

    >>> from nanoquant.nn import ReLU
    >>> heads = ModuleDict({"a": ReLU()})
    >>> heads["a"], list(heads.keys()), "b" in heads
    (ReLU(), ['a'], False)
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
