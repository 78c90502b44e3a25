"""What torch has and nanoquant has no place for: devices, files by torch's names, random distributions.

Before: `nanoquant.cli`. After: `vision`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from .. import creation as c
from .. import data, io
from ..autograd.tensor import Tensor
from ..io.file import MAGIC
from ..module import Module
from ..observers import Observer
from ..quantization import QConfig, mappings
from ..seed import generator


def _identity(value: Any, *_: Any, **__: Any) -> Any:
    return value


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _classes(kind: type[Module] = Module) -> list[type[Module]]:
    """The classes of modules that scripts have defined."""
    below = [found for child in kind.__subclasses__() for found in _classes(child)]
    return below if kind.__module__.startswith("nanoquant.") else [kind, *below]


def save(what: Any, path: str | Path, **_: Any) -> None:
    """A state dict or a module as a file of nanoquant's."""
    io.save(what, path)


def load(path: str | Path, map_location: Any = None, **_: Any) -> Any:
    """What `save` wrote, or a state dict that torch wrote."""
    del map_location
    with open(path, "rb") as file:
        ours = file.read(len(MAGIC)) == MAGIC
    return io.load(path, _classes()) if ours else io.load_weights(path)


def _anywhere(function: Any) -> Any:
    @wraps(function)
    def make(*args: Any, device: Any = "cpu", **options: Any) -> Any:
        return function(*args, **options).to(device)

    return staticmethod(make)


class Torch:
    """torch's own names; what makes tensors takes a device."""

    __version__ = "2.13.0+nanoquant"
    save, load = staticmethod(save), staticmethod(load)
    dequantize, int_repr = (staticmethod(methodcaller(name)) for name in ("dequantize", "int_repr"))
    tensor, as_tensor, zeros, ones, empty, full = map(_anywhere, (c.tensor, c.as_tensor, c.zeros, c.ones, c.empty, c.full))
    rand, randn, randint, randperm = map(_anywhere, (c.rand, c.randn, c.randint, c.randperm))
    arange, linspace, eye = map(_anywhere, (c.arange, c.linspace, c.eye))
    set_printoptions = use_deterministic_algorithms = staticmethod(_nothing)
    finfo, iinfo, FloatTensor = np.finfo, np.iinfo, tensor
    Size, contiguous_format, channels_last, strided = tuple, "contiguous", "channels_last", "strided"


class Quantization:
    """torch.quantization's older names."""

    QConfigDynamic, ObserverBase = QConfig, Observer
    get_default_static_quant_module_mappings = staticmethod(lambda: dict(mappings.STATIC))
    get_default_qat_module_mappings = staticmethod(lambda: dict(mappings.QAT))
    get_default_dynamic_quant_module_mappings = staticmethod(lambda: dict(mappings.DYNAMIC_UNASKED))


class Cuda:
    """torch.cuda, of a machine that has none."""

    is_available = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
    manual_seed = manual_seed_all = empty_cache = synchronize = staticmethod(_nothing)


class Switches:
    """torch.backends.cudnn: may be set, and switches nothing."""

    deterministic, benchmark, enabled = True, False, False


class Jit:
    """torch.jit: a module stays what it is, and is saved as a module."""

    script = trace = optimize_for_inference = freeze = export = ignore = unused = staticmethod(_identity)
    ScriptModule = Module
    save, load = staticmethod(save), staticmethod(load)


class Autograd:
    """torch.autograd's old names."""

    Variable = staticmethod(_identity)


class DataLoader(data.DataLoader):
    """`nanoquant.data.DataLoader`; what is for GPUs is accepted."""

    def __init__(
        self, dataset: Any, *args: Any, pin_memory: bool = False, persistent_workers: bool = False, **options: Any
    ) -> None:
        super().__init__(dataset, *args, **options)


class RandomSampler:
    """The indices of a data set, shuffled each time."""

    def __init__(self, data_source: Any) -> None:
        self.size = len(data_source)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(generator().permutation(self.size).tolist())


class Data:
    """torch.utils.data's further names."""

    DataLoader, RandomSampler = DataLoader, RandomSampler
    SequentialSampler = staticmethod(lambda data_source: range(len(data_source)))


class Distribution:
    """Random numbers of two parameters; `sample(shape)` draws."""

    draw: Any

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = float(first), float(second)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """A float32 tensor of this shape."""
        return Tensor(np.asarray(self.draw(self.first, self.second, tuple(sample_shape)), np.float32))


def _distribution(name: str, doc: str, draw: Any) -> type[Distribution]:
    return type(name, (Distribution,), {"__doc__": doc, "draw": staticmethod(draw)})


class Distributions:
    """torch.distributions."""

    Normal = _distribution("Normal", "Mean, standard deviation.", lambda m, s, shape: generator().normal(m, s, shape))
    Uniform = _distribution("Uniform", "Low, high.", lambda low, high, shape: generator().uniform(low, high, shape))
    Pareto = _distribution("Pareto", "Scale, alpha.", lambda s, alpha, shape: s * (1 - generator().random(shape)) ** (-1 / alpha))
