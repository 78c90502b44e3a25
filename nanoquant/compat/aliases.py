"""The table: which module of torch has the names of which modules of nanoquant; and how `import` finds them.

Before: `vision`. After: `nanoquant.compat`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import nanoquant as nq

from .. import autograd, backends, data, models, nn, optim, quantization
from ..nn import functional, init, intrinsic, qat, quantizable, quantized, utils
from . import names, vision

QUANTIZATION = (
    "observer", "fake_quantize", "qconfig", "qconfig_mapping", "quantize", "quantize_fx", "fuse_modules", "stubs",
    "backend_config", "quantization_mappings", "fx", "fx.custom_config", "fx.graph_module", "utils",
)  # fmt: skip
LAYERS = {
    "quantized": quantized, "quantized.modules": quantized, "quantized.dynamic": quantized.dynamic,
    "quantized.functional": quantized.functional, "intrinsic": intrinsic, "intrinsic.qat": qat, "intrinsic.quantized": quantized,
    "qat": qat, "qat.dynamic": qat.dynamic, "quantizable": quantizable,
}  # fmt: skip
ALIASES: dict[str, tuple[Any, ...]] = {
    "torch": (names.Torch, nq),
    "torch.nn": (nn,), "torch.nn.functional": (functional,), "torch.nn.init": (init,), "torch.nn.utils": (utils,),
    "torch.nn.modules": (nn,), "torch.nn.parameter": (nn,),
    **{f"torch.nn.{name}": (module,) for name, module in LAYERS.items()},
    **{f"torch.ao.nn.{name}": (module,) for name, module in LAYERS.items()},
    "torch.ao": (), "torch.ao.nn": (), "torch.ao.ns": (),
    "torch.quantization": (names.Quantization, quantization), "torch.ao.quantization": (names.Quantization, quantization),
    **{f"torch{ao}.quantization.{name}": (names.Quantization, quantization) for ao in ("", ".ao") for name in QUANTIZATION},
    "torch.optim": (optim,), "torch.optim.lr_scheduler": (optim.lr_scheduler,),
    "torch.utils": (), "torch.utils.data": (names.Data, data), "torch.autograd": (names.Autograd, autograd),
    "torch.backends": (backends,), "torch.backends.quantized": (backends.quantized,), "torch.backends.cudnn": (names.Switches,),
    "torch.cuda": (names.Cuda,), "torch.jit": (names.Jit,), "torch.fx": (quantization,),
    "torch.distributions": (names.Distributions,),
    **{f"torch.distributions.{name}": (names.Distributions,) for name in ("normal", "uniform", "pareto")},
    **dict.fromkeys(("torch.ao.ns._numeric_suite", "torch.quantization._numeric_suite"), (quantization.analysis.numeric_suite,)),
    "torchvision": (), "torchvision.transforms": (vision.Transforms,), "torchvision.datasets": (vision.Datasets,),
    "torchvision.models": (vision.Models, models), "torchvision.models.quantization": (vision.Models, models),
}  # fmt: skip

# What is asked for often and is not here, with what is offered instead; by the name, or the beginning of names.
MISSING = {
    "torch.ao.ns": "torch.ao.ns._numeric_suite compares models of either mode",
    "torch.onnx": "nothing is exported: save with torch.save, load with nanoquant.load",
    "torch.export": "graph mode is prepare_fx and convert_fx", "torch._dynamo": "graph mode is prepare_fx and convert_fx",
    "torch.compile": "graph mode is prepare_fx and convert_fx",
    "torch.hub": "nothing is downloaded: load weights with torch.load of a local file",
    "torch.utils.mobile_optimizer": "nothing is needed: a saved model runs where nanoquant runs",
    "torchvision": "transforms of arrays, local data sets and the models of nanoquant.models",
}  # fmt: skip


def _absent(name: str) -> str:
    instead = next((text for start, text in MISSING.items() if name.startswith(start)), "see nanoquant.compat.coverage()")
    return f"{name} is not in nanoquant: {instead}"


class Alias(ModuleType):
    """A module of torch. Its names are those of its sources, the first that has one."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"`{name}`, as far as nanoquant has it.")
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return dir(self)
        found = next((getattr(source, name) for source in ALIASES[self.__name__] if hasattr(source, name)), self)
        below = f"{self.__name__}.{name}"
        if below in ALIASES and (found is self or isinstance(found, ModuleType)):
            return importlib.import_module(below)
        if found is self:
            raise AttributeError(_absent(below))
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        elif not isinstance(value, Alias):  # which __getattr__ finds, if no function has its name
            setattr(ALIASES[self.__name__][0], name, value)

    def __dir__(self) -> list[str]:
        return sorted({name for source in ALIASES[self.__name__] for name in dir(source) if name[0] != "_"})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets `import` find the table."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        """A spec for torch and torchvision; ModuleNotFoundError, which says what is offered, for what is not in the table."""
        if fullname.partition(".")[0] not in ("torch", "torchvision"):
            return None
        if fullname not in ALIASES:
            raise ModuleNotFoundError(_absent(fullname), name=fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        """The alias."""
        return Alias(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: names are looked up when they are asked for."""


def install() -> None:
    """From here on, `import torch` and `import torchvision` give aliases, even where torch is installed."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        for name in [n for n in sys.modules if n.partition(".")[0] in ("torch", "torchvision")]:
            del sys.modules[name]
        sys.meta_path.insert(0, Finder())


def run(script: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a script as `python script.py arguments` would, on nanoquant; what it has defined at its end."""
    install()
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    return runpy.run_path(script, run_name="__main__")


def coverage() -> str:
    """A line for each module of torch: how many names nanoquant has for it; and for what is missing, what is offered instead."""
    lines = [f"{name:40} {len(dir(Alias(name))):4} names" for name in ALIASES if ALIASES[name]]
    return "\n".join([*lines, *(f"{name:40} not here: {instead}" for name, instead in MISSING.items())])
