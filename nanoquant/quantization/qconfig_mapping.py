"""QConfigMapping: which qconfig a module gets, said of many modules at once.

Five ways to say it, each stronger than the one before:

    set_global                          everything
    set_object_type                     modules of a type; functions and methods by themselves or by name
    set_module_name_regex               paths that match; the first regex that does
    set_module_name                     a path, and what is below it; the nearest
    set_module_name_object_type_order   the n-th child (from 0) of a type of the module at a path

A `qconfig` attribute of a module is stronger still, for that module; for what is below it, it replaces the global one.

Source: torch.ao.quantization.QConfigMapping. Before: `presets`. After: `stubs`.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..module import Module
from ..nn.intrinsic import Fused
from . import presets
from .qconfig import QConfig, QConfigError

ObjectType = Any  # a module class, a function, or the name of either or of a method
Kinds = dict[ObjectType, int]  # the types that something goes by, each with its place among its siblings of that type


@dataclass(repr=False)
class QConfigMapping:
    """Qconfigs by type and by name; None keeps what it is said of in float. Setters return the mapping itself.

    >>> from nanoquant import nn
    >>> mapping = QConfigMapping().set_global(presets.default_qconfig).set_object_type(nn.Linear, None)
    >>> mapping.set_module_name("head", presets.default_per_channel_qconfig).resolve("body.fc", {nn.Linear: 0})
    >>> mapping.resolve("head.fc", {nn.Linear: 0}) == presets.default_per_channel_qconfig
    True
    """

    global_qconfig: QConfig | None = None
    object_type_qconfigs: dict[ObjectType, QConfig | None] = field(default_factory=dict)
    module_name_regex_qconfigs: dict[str, QConfig | None] = field(default_factory=dict)
    module_name_qconfigs: dict[str, QConfig | None] = field(default_factory=dict)
    module_name_object_type_order_qconfigs: dict[tuple[str, ObjectType, int], QConfig | None] = field(default_factory=dict)

    def set_global(self, global_qconfig: QConfig | None) -> QConfigMapping:
        """For everything that nothing else is said of."""
        self.global_qconfig = global_qconfig
        return self

    def set_object_type(self, object_type: ObjectType, qconfig: QConfig | None) -> QConfigMapping:
        """For a module class, a function, or the name of either; a fused module goes by its first part's type too."""
        self.object_type_qconfigs[object_type] = qconfig
        return self

    def set_module_name_regex(self, module_name_regex: str, qconfig: QConfig | None) -> QConfigMapping:
        """For paths that `re.match` the regex; those set first are tried first."""
        self.module_name_regex_qconfigs[module_name_regex] = qconfig
        return self

    def set_module_name(self, module_name: str, qconfig: QConfig | None) -> QConfigMapping:
        """For the module at a path, and all below it."""
        self.module_name_qconfigs[module_name] = qconfig
        return self

    def set_module_name_object_type_order(
        self, module_name: str, object_type: ObjectType, index: int, qconfig: QConfig | None
    ) -> QConfigMapping:
        """For one of the children, or function calls, of the module at a path: the index-th of that type, from 0."""
        self.module_name_object_type_order_qconfigs[module_name, object_type, index] = qconfig
        return self

    def resolve(self, path: str, kinds: Kinds, fallback: QConfig | None = None) -> QConfig | None:
        """The qconfig of the module at `path`; `fallback` where nothing but the global one is said of it."""
        if path:  # the model itself is nobody's child, and has no name
            parent = path.rpartition(".")[0]
            for place in ((parent, *kind) for kind in kinds.items()):
                if place in self.module_name_object_type_order_qconfigs:
                    return self.module_name_object_type_order_qconfigs[place]
            name = path
            while name:
                if name in self.module_name_qconfigs:
                    return self.module_name_qconfigs[name]
                name = name.rpartition(".")[0]
            for regex, qconfig in self.module_name_regex_qconfigs.items():
                if re.match(regex, path):
                    return qconfig
        return next((self.object_type_qconfigs[kind] for kind in kinds if kind in self.object_type_qconfigs), fallback)

    def check(self, model: Module) -> None:
        """Raises QConfigError for a path, a regex or an n-th child that the model has not."""
        below = [(path, kinds) for path, _, kinds in occurrences(model) if path]
        paths: list[Any] = [path for path, _ in below]
        places: list[Any] = [(path.rpartition(".")[0], *kind) for path, kinds in below for kind in kinds.items()]
        for style, fits, known in (
            ("module_name", str.__eq__, paths),
            ("module_name_regex", re.match, paths),
            ("module_name_object_type_order", tuple.__eq__, places),
        ):
            for key in getattr(self, f"{style}_qconfigs"):
                if not any(fits(key, one) for one in known):
                    nearest = difflib.get_close_matches(str(key), map(str, known), cutoff=0)
                    raise QConfigError(f"set_{style}: the model has no {key!r}; nearest: {', '.join(nearest) or 'none'}")

    def to_dict(self) -> dict[str, Any]:
        """torch's form: "" for the global qconfig, and a list of tuples for each of the other setters."""
        order = [(*key, qconfig) for key, qconfig in self.module_name_object_type_order_qconfigs.items()]
        tables = {name: list(getattr(self, f"{name}_qconfigs").items()) for name in _SETTERS[:-1]}
        return {"": self.global_qconfig, **tables, _SETTERS[-1]: order}

    @classmethod
    def from_dict(cls, qconfig_dict: dict[str, Any]) -> QConfigMapping:
        """What `to_dict` gave; every key may be absent, and an unknown one is a QConfigError."""
        unknown = [key for key in qconfig_dict if key not in ("", *_SETTERS)]
        if unknown:
            raise QConfigError(f"unknown key {unknown[0]!r}; the keys are '', {', '.join(map(repr, _SETTERS))}")
        mapping = cls(qconfig_dict.get(""))
        for name in _SETTERS:
            for arguments in qconfig_dict.get(name, ()):
                getattr(mapping, f"set_{name}")(*arguments)
        return mapping

    @classmethod
    def from_flat(cls, qconfigs: dict[Any, QConfig | None]) -> QConfigMapping:
        """Of a dict from types and paths to qconfigs ("" for the global one), as torch's eager functions take it."""
        mapping = cls(qconfigs.get(""))
        for key, qconfig in qconfigs.items():
            if key:
                (mapping.set_module_name if isinstance(key, str) else mapping.set_object_type)(key, qconfig)
        return mapping

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} (", " global_qconfig", f"  {self.global_qconfig}"]
        for name in _SETTERS:
            table = getattr(self, f"{name}_qconfigs")
            lines += [f" {name}_qconfigs", *([f"  {key}: {qconfig}" for key, qconfig in table.items()] or ["  {}"])]
        return "\n".join([*lines, ")"])


_SETTERS = ("object_type", "module_name_regex", "module_name", "module_name_object_type_order")  # growing priority


def occurrences(model: Module) -> Iterator[tuple[str, Module, Kinds]]:
    """The model and all below it: path, module, and the types it goes by; parents before their children."""
    seen: Counter[tuple[str, ObjectType]] = Counter()
    for path, module in model.named_modules():
        types = [type(module), *(module.parts[:1] if isinstance(module, Fused) else ())]
        kinds: Kinds = {}
        for kind in (*types, *(t.__name__ for t in types)):
            place = path.rpartition(".")[0], kind
            kinds[kind] = seen[place]
            seen[place] += bool(path)
        yield path, module, kinds


def propagate_qconfig_(module: Module, qconfig_mapping: QConfigMapping | dict[Any, QConfig | None] | None = None) -> None:
    """Gives every module below its qconfig: its own attribute, else the mapping's, else that of the nearest ancestor
    that has the attribute, else the global one. An attribute that is None stops inheritance.

    A dict is one of types and paths (`QConfigMapping.from_flat`). Raises QConfigError for what the mapping says of
    modules that do not exist.
    """
    if not isinstance(qconfig_mapping, QConfigMapping):
        qconfig_mapping = QConfigMapping.from_flat(qconfig_mapping or {})
    qconfig_mapping.check(module)
    fallbacks = {"": qconfig_mapping.global_qconfig}
    for path, part, kinds in occurrences(module):
        fallback = part.__dict__.get("qconfig", fallbacks[path.rpartition(".")[0]])
        if "qconfig" not in part.__dict__:
            part.qconfig = qconfig_mapping.resolve(path, kinds, fallback)
        fallbacks[path] = fallback


# Types whose default qconfig is not the global one, by name, so that modules, functions and methods share an entry.
_TRANSPOSED = tuple(f"{name}{n}d" for name in ("ConvTranspose", "conv_transpose") for n in (1, 2, 3))
_FLOAT_WEIGHTS = ("LayerNorm", "layer_norm")
_ZERO_TO_ONE = ("Hardsigmoid", "hardsigmoid", "hardsigmoid_", "Sigmoid", "sigmoid", "sigmoid_", "Softmax")
_MINUS_ONE_TO_ONE = ("Tanh", "tanh", "tanh_")


def _default_mapping(qconfig: QConfig, backend: str, kind: str) -> QConfigMapping:
    """kind: "observer" or "fake_quant", the end of the names of the presets to take."""
    weight, unit, symmetric_unit = (
        getattr(presets, f"default_{name}_{kind}")
        for name in ("weight", "fixed_qparams_range_0to1", "fixed_qparams_range_neg1to1")
    )
    special = {
        ("reshape",): presets.default_reuse_input_qconfig,
        # FBGEMM has no transposed convolution with weight scales per channel
        _TRANSPOSED: QConfig(qconfig.activation, weight) if backend in ("fbgemm", "x86") else qconfig,
        _FLOAT_WEIGHTS: QConfig(qconfig.activation, presets.default_placeholder_observer),
        ("PReLU",): presets.default_quint8_weight_qconfig,
        _ZERO_TO_ONE: QConfig(unit, weight),
        _MINUS_ONE_TO_ONE: QConfig(symmetric_unit, weight),
    }
    return QConfigMapping(qconfig, {name: own for names, own in special.items() for name in names})


def get_default_qconfig_mapping(backend: str = "x86", version: int = 0) -> QConfigMapping:
    """`get_default_qconfig` for everything, but for operations whose output range is known, or whose weights are special.

    Source: torch.ao.quantization.get_default_qconfig_mapping.

    >>> get_default_qconfig_mapping().resolve("gate", {"Sigmoid": 0}).activation().qparams().scale
    array(0.00390625, dtype=float32)
    """
    return _default_mapping(presets.get_default_qconfig(backend, version), backend, "observer")


def get_default_qat_qconfig_mapping(backend: str = "x86", version: int = 1) -> QConfigMapping:
    """The same for quantization-aware training, with `get_default_qat_qconfig`."""
    return _default_mapping(presets.get_default_qat_qconfig(backend, version), backend, "fake_quant")
