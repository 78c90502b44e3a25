"""What a script says beside its qconfigs: which modules are not traced, and where integers enter and leave.

Every class has torch's setters, which return the object, and `from_dict` for the form of 2021. Before: `explain`. After:
`workflow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...module import Module
from ..qconfig import QConfigError

CustomClasses = dict[str, dict[type[Any], type[Any]]]


def _from_dict(config: Any, given: dict[str, Any], keys: dict[str, str]) -> Any:
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise QConfigError(f"unknown key {unknown[0]!r}; the keys are {', '.join(map(repr, keys))}")
    for key, value in given.items():
        setattr(config, keys[key], value)
    return config


def _setter(name: str) -> Callable[[Any, list[Any]], Any]:
    def set_to(self: Any, value: list[Any]) -> Any:
        setattr(self, name, value)
        return self

    set_to.__doc__ = f"Says the {name.replace('_', ' ')}; see the class."
    return set_to


@dataclass
class FuseCustomConfig:
    """preserved_attributes: of the model, for the GraphModule to have, too."""

    preserved_attributes: list[str] = field(default_factory=list)

    set_preserved_attributes = _setter("preserved_attributes")

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Any:
        """Of a dict with torch's keys; an unknown one is a QConfigError."""
        return _from_dict(cls(), given, {"preserved_attributes": "preserved_attributes"})


@dataclass
class ConvertCustomConfig(FuseCustomConfig):
    """observed_to_quantized_mapping: from classes of observed custom modules to those with `from_observed`, by "static"."""

    observed_to_quantized_mapping: CustomClasses = field(default_factory=dict)

    def set_observed_to_quantized_mapping(self, observed: type[Any], quantized: type[Any], quant_type: Any = "static") -> Any:
        """One entry; quant_type: "static", the one there is."""
        _static(quant_type)
        self.observed_to_quantized_mapping.setdefault("static", {})[observed] = quantized
        return self

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Any:
        """See FuseCustomConfig."""
        observed = "observed_to_quantized_custom_module_class"
        keys = {"preserved_attributes": "preserved_attributes", observed: "observed_to_quantized_mapping"}
        return _from_dict(cls(), given, keys)


@dataclass
class PrepareCustomConfig(FuseCustomConfig):
    """What prepare_fx shall not treat as usual.

    standalone_module_names, _classes: quantized by themselves, as a model within the model, float at both ends; each with
    (qconfig_mapping or None, example_inputs, prepare_custom_config or None, backend_config or None).
    non_traceable_module_names, _classes: kept whole, in float. float_to_observed_mapping: custom modules, by "static".
    input_quantized_indexes, output_quantized_indexes: inputs that come quantized, outputs that stay so.
    """

    standalone_module_names: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    standalone_module_classes: dict[type[Any], tuple[Any, ...]] = field(default_factory=dict)
    non_traceable_module_names: list[str] = field(default_factory=list)
    non_traceable_module_classes: list[type[Any]] = field(default_factory=list)
    float_to_observed_mapping: CustomClasses = field(default_factory=dict)
    input_quantized_indexes: list[int] = field(default_factory=list)
    output_quantized_indexes: list[int] = field(default_factory=list)

    def set_standalone_module_name(self, name: str, *how: Any) -> Any:
        """how: qconfig_mapping, example_inputs, prepare_custom_config, backend_config; None: as the model."""
        self.standalone_module_names[name] = how
        return self

    def set_standalone_module_class(self, module_class: type[Any], *how: Any) -> Any:
        """`set_standalone_module_name`, for all modules of a class."""
        self.standalone_module_classes[module_class] = how
        return self

    def set_float_to_observed_mapping(self, float_class: type[Any], observed: type[Any], quant_type: Any = "static") -> Any:
        """A custom module, and the class whose `from_float` makes it observable."""
        _static(quant_type)
        self.float_to_observed_mapping.setdefault("static", {})[float_class] = observed
        return self

    set_non_traceable_module_names = _setter("non_traceable_module_names")
    set_non_traceable_module_classes = _setter("non_traceable_module_classes")
    set_input_quantized_indexes = _setter("input_quantized_indexes")
    set_output_quantized_indexes = _setter("output_quantized_indexes")

    def standalone(self, path: str, module: Module) -> tuple[Any, ...] | None:
        """How a module is to be quantized by itself; None: it is not."""
        how = self.standalone_module_names.get(path, self.standalone_module_classes.get(type(module)))
        return None if how is None else (*how, *(None,) * (4 - len(how)))

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Any:
        """Of a dict with torch's keys: "input_quantized_idxs" and so on; an unknown one is a QConfigError."""
        rows = {key: {name: tuple(how) for name, *how in given.get(key, ())} for key in _STANDALONE}
        return _from_dict(cls(), {**given, **{k: v for k, v in rows.items() if v}}, _PREPARE)


_STANDALONE = {"standalone_module_name": "standalone_module_names", "standalone_module_class": "standalone_module_classes"}
_PREPARE = _STANDALONE | {
    "preserved_attributes": "preserved_attributes",
    "non_traceable_module_name": "non_traceable_module_names",
    "non_traceable_module_class": "non_traceable_module_classes",
    "float_to_observed_custom_module_class": "float_to_observed_mapping",
    "input_quantized_idxs": "input_quantized_indexes",
    "output_quantized_idxs": "output_quantized_indexes",
}


def _static(quant_type: Any) -> None:
    if str(getattr(quant_type, "name", quant_type)).lower() != "static":
        raise QConfigError(f"custom modules are quantized statically; got {quant_type!r}")


def made(config: Any, kind: type[Any]) -> Any:
    """A config of a kind, of one, of its dict, or of None."""
    return kind() if config is None else kind.from_dict(config) if isinstance(config, dict) else config
