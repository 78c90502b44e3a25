"""BackendConfig: what a backend can do, as data, and the check that a qconfig asks for no more.

    pattern (a module class, or classes in a row)  -->  dtype configs, any of which a qconfig may match
                                                        observation type, QAT twin, fuser

Where torch drops a qconfig that its backend cannot honour, and leaves the module in float, nanoquant raises.

Source: torch.ao.quantization.backend_config. Before: `fusion`. After: `eager`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from .. import nn
from ..module import Module
from ..nn.quantized.weighted import Weighted
from ..observers import PlaceholderObserver
from ..scheme import QDType, QScheme, qint4, qint8, quint4, quint8
from .fusion import PATTERNS
from .mappings import DYNAMIC, DYNAMIC_UNASKED, QAT, STATIC, WEIGHT_ONLY
from .qconfig import QConfig, QConfigError
from .stubs import DeQuantStub, QuantStub


class ObservationType(Enum):
    """What becomes of a pattern's output."""

    OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT = 0  # it has a range of its own
    OUTPUT_SHARE_OBSERVER_WITH_INPUT = 1  # it has the scale and zero point of the input
    INPUT_OUTPUT_NOT_OBSERVED = 2


_OWN, _SHARED, _UNOBSERVED = ObservationType


def _given(config: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not None."""
    return {f.name: value for f in fields(config) if (value := getattr(config, f.name)) is not None}


@dataclass(frozen=True)
class DTypeWithConstraints:
    """A dtype (quantized, or a NumPy float dtype) and what is demanded of the observer of such values; None: nothing.

    torch's fields, and two: qschemes, of which the observer's must be one; ch_axis, where scales per channel must lie.
    """

    dtype: QDType | np.dtype[Any] | None = None
    quant_min_lower_bound: float | None = None
    quant_max_upper_bound: float | None = None
    scale_min_lower_bound: float | None = None
    scale_max_upper_bound: float | None = None
    scale_exact_match: float | None = None
    zero_point_exact_match: int | None = None
    qschemes: tuple[QScheme, ...] | None = None
    ch_axis: int | None = None

    def allows(self, observer: Any) -> bool:
        """Whether an observer may watch such values."""
        dtype = dtype_of(observer)
        if not isinstance(dtype, QDType) or dtype != self.dtype:
            return self.dtype in (None, dtype)
        constant, offset = getattr(observer, "scale", None), getattr(observer, "zero_point", None)
        smallest, largest = (observer.eps, 0) if constant is None else (constant, constant)
        return bool(
            (self.qschemes is None or observer.qscheme in self.qschemes)
            and (self.ch_axis is None or observer.ch_axis in (None, self.ch_axis))
            and (self.quant_min_lower_bound is None or observer.quant_min >= self.quant_min_lower_bound)
            and (self.quant_max_upper_bound is None or observer.quant_max <= self.quant_max_upper_bound)
            and (self.scale_min_lower_bound is None or smallest >= self.scale_min_lower_bound)
            and (self.scale_max_upper_bound is None or largest <= self.scale_max_upper_bound)
            and self.scale_exact_match in (None, constant)
            and self.zero_point_exact_match in (None, offset)
        )

    def __str__(self) -> str:
        rest = [f"{name}={value}" for name, value in _given(self).items() if name not in ("dtype", "qschemes")]
        words = [" or ".join(scheme.name for scheme in self.qschemes or ()), f"({', '.join(rest)})" * bool(rest)]
        return " ".join(filter(None, ["anything" if self.dtype is None else self.dtype.name, *words]))


Demand = DTypeWithConstraints | QDType | np.dtype[Any] | None


@dataclass(frozen=True)
class DTypeConfig:
    """One combination of dtypes that a backend has a kernel for; None: not asked about."""

    input_dtype: Demand = None
    output_dtype: Demand = None
    weight_dtype: Demand = None
    bias_dtype: np.dtype[Any] | None = None
    is_dynamic: bool | None = None

    def allows(self, activation: Any, weight: Any) -> bool:
        """Whether the two observers of a qconfig match; a dynamic output is float."""
        dynamic = bool(self.is_dynamic)
        ends = (self.input_dtype,) if dynamic else (self.input_dtype, self.output_dtype)
        demands = [*((end, activation) for end in ends), (self.weight_dtype, weight)]
        return is_dynamic(activation) == dynamic and all(_demand(wanted).allows(seen) for wanted, seen in demands)

    def __str__(self) -> str:
        activation = f"dynamic {_demand(self.input_dtype)}" if self.is_dynamic else _demand(self.output_dtype)
        weight = "" if self.weight_dtype is None else f", weight {_demand(self.weight_dtype)}"
        return f"activation {activation}{weight}"

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        return _given(self)

    @classmethod
    def from_dict(cls, dtype_config_dict: dict[str, Any]) -> DTypeConfig:
        """What `to_dict` gave."""
        return cls(**dtype_config_dict)


def _demand(dtype: Demand) -> DTypeWithConstraints:
    return dtype if isinstance(dtype, DTypeWithConstraints) else DTypeWithConstraints(dtype)


def _setter(name: str) -> Callable[[Any, Any], Any]:
    """A method that sets an attribute and returns the object."""

    def set_attribute(self: Any, value: Any) -> Any:
        setattr(self, name, value)
        return self

    return set_attribute


@dataclass
class BackendPatternConfig:
    """What a backend does with one pattern: a module class, or a tuple of them in a row. Setters return the object."""

    pattern: Any = None
    observation_type: ObservationType = _OWN
    dtype_configs: list[DTypeConfig] = field(default_factory=list)
    root_module: type[Module] | None = None
    qat_module: type[Module] | None = None
    reference_quantized_module: type[Module] | None = None
    fused_module: type[Module] | None = None
    fuser_method: Callable[..., Module] | None = None  # (is_qat, *modules) -> the fused module

    set_pattern = _setter("pattern")
    set_observation_type = _setter("observation_type")
    set_dtype_configs = _setter("dtype_configs")
    set_root_module = _setter("root_module")
    set_qat_module = _setter("qat_module")
    set_reference_quantized_module = _setter("reference_quantized_module")
    set_fused_module = _setter("fused_module")
    set_fuser_method = _setter("fuser_method")

    def add_dtype_config(self, dtype_config: DTypeConfig) -> BackendPatternConfig:
        """Adds to the combinations that are possible."""
        self.dtype_configs = [*self.dtype_configs, dtype_config]
        return self

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        return {**_given(self), "dtype_configs": [config.to_dict() for config in self.dtype_configs]}

    @classmethod
    def from_dict(cls, backend_pattern_config_dict: dict[str, Any]) -> BackendPatternConfig:
        """What `to_dict` gave."""
        configs = [DTypeConfig.from_dict(config) for config in backend_pattern_config_dict.get("dtype_configs", ())]
        return cls(**{**backend_pattern_config_dict, "dtype_configs": configs})


@dataclass
class BackendConfig:
    """A backend: its patterns, by pattern.

    >>> get_x86_backend_config().set_name("mine").patterns[nn.ReLU].observation_type.name
    'OUTPUT_SHARE_OBSERVER_WITH_INPUT'
    """

    name: str = ""
    patterns: dict[Any, BackendPatternConfig] = field(default_factory=dict)

    set_name = _setter("name")

    def set_backend_pattern_config(self, config: BackendPatternConfig) -> BackendConfig:
        """Adds a pattern, or replaces it."""
        self.patterns[config.pattern] = config
        return self

    def set_backend_pattern_configs(self, configs: Iterable[BackendPatternConfig]) -> BackendConfig:
        """Adds patterns, or replaces them."""
        self.patterns.update({config.pattern: config for config in configs})
        return self

    @property
    def configs(self) -> list[BackendPatternConfig]:
        """All patterns' configs."""
        return list(self.patterns.values())

    def to_dict(self) -> dict[str, Any]:
        """Name and configs."""
        return {"name": self.name, "configs": [config.to_dict() for config in self.configs]}

    @classmethod
    def from_dict(cls, backend_config_dict: dict[str, Any]) -> BackendConfig:
        """What `to_dict` gave."""
        configs = map(BackendPatternConfig.from_dict, backend_config_dict.get("configs", ()))
        return cls(backend_config_dict.get("name", "")).set_backend_pattern_configs(configs)


def dtype_of(observer: Any) -> QDType | np.dtype[Any] | None:
    """What the values that an observer watches shall become; None where it chooses no range."""
    dtype: QDType | np.dtype[Any] | None = getattr(observer, "dtype", np.dtype(np.float32))
    if isinstance(observer, PlaceholderObserver):
        dtype = np.dtype(observer.float_dtype) if observer.float_dtype else dtype if observer.is_dynamic else None
    return dtype


def is_dynamic(observer: Any) -> bool:
    """Whether an observer leaves the range to run time."""
    return bool(getattr(observer, "is_dynamic", False))


def _wish(observer: Any) -> str:
    """What an observer asks for, in words."""
    dtype = dtype_of(observer)
    if not isinstance(dtype, QDType):
        return f"{'no range' if dtype is None else dtype.name} ({type(observer).__name__})"
    axis = "" if observer.ch_axis is None else f" on axis {observer.ch_axis}"
    limits = f"in [{observer.quant_min}, {observer.quant_max}]"
    return f"{'dynamic ' if is_dynamic(observer) else ''}{dtype.name} {observer.qscheme.name}{axis} {limits}"


def check_qconfig(
    path: str, module: Module, qconfig: QConfig | None, backend_config: BackendConfig, dynamic: bool | None = None
) -> None:
    """Raises QConfigError when no dtype config of the module's pattern allows what its qconfig asks for.

    A qconfig of None, and modules that the backend has no pattern for, or whose output is not observed by itself, pass.
    dynamic: only dtype configs of this kind count; None: both.
    """
    config = backend_config.patterns.get(type(module))
    if qconfig is None or config is None or config.observation_type is not _OWN:
        return
    made = qconfig.activation(), qconfig.weight()
    activation, weight = (getattr(m, "activation_post_process", m) for m in made)  # what is inside a fake-quantizer
    fitting = [c for c in config.dtype_configs if c.allows(activation, weight)]
    possible = [c for c in config.dtype_configs if dynamic is None or bool(c.is_dynamic) == dynamic]
    if not set(fitting) & set(possible):
        weighted = any(c.weight_dtype is not None for c in config.dtype_configs)
        raise QConfigError(
            f"{path or 'the model'} ({type(module).__name__}): its qconfig asks for activation {_wish(activation)}"
            + (f", weight {_wish(weight)}" if weighted else "")
            + f". {backend_config.name} can do: {'; '.join(map(str, possible)) or 'nothing'}."
            + (" That is what prepare and convert do." if fitting else "")
            + f" Change the qconfig, or keep the module in float with {path or 'model'}.qconfig = None"
        )


# ---- nanoquant's own kernels -----------------------------------------------------------------------------------------

_PER_TENSOR = (QScheme.per_tensor_affine, QScheme.per_tensor_symmetric)
_PER_CHANNEL = (QScheme.per_channel_affine, QScheme.per_channel_symmetric)
_WEIGHTS = {"onednn": (_PER_TENSOR[1], _PER_CHANNEL[1])}  # torch's oneDNN layers refuse weights with a zero point
_ACTIVATIONS = [DTypeWithConstraints(dtype, qschemes=_PER_TENSOR) for dtype in (quint8, qint8)]
_DYNAMIC, _FLOAT = DTypeWithConstraints(quint8, qschemes=_PER_TENSOR[:1]), np.dtype(np.float32)
_HALF = np.dtype(np.float16)
_ROWS = [DTypeWithConstraints(t, qschemes=(QScheme.per_channel_affine_float_qparams,), ch_axis=0) for t in (quint8, quint4)]
_FEW_BITS = [
    DTypeWithConstraints(dtype, qschemes=_PER_TENSOR + _PER_CHANNEL + (QScheme.per_group_affine, QScheme.per_group_symmetric))
    for dtype in (qint8, quint8, qint4, quint4)
]
_PASSING = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, nn.Identity)


def _fuser(pattern: tuple[type[Any], ...]) -> Callable[..., Module]:
    return lambda is_qat, *modules: PATTERNS[pattern][is_qat](*modules)


def _weighs(kind: type[Any]) -> bool:
    """Whether a module has weights to quantize."""
    return kind not in STATIC or issubclass(STATIC[kind], Weighted)


def backend_config_of(engine: str) -> BackendConfig:
    """What nanoquant's kernels can do under an engine ('native': under any): `nn.quantized.weighted`, in other words."""
    schemes = _WEIGHTS.get(engine, _PER_TENSOR + _PER_CHANNEL)
    weight = DTypeWithConstraints(qint8, qschemes=schemes, ch_axis=0)
    static = [DTypeConfig(x, x, weight, _FLOAT) for x in _ACTIVATIONS]
    plain = [DTypeConfig(x, x) for x in _ACTIVATIONS]
    configs = [
        *(
            BackendPatternConfig(kind, dtype_configs=[*static] if _weighs(kind) else [*plain], qat_module=QAT.get(kind))
            for kind in {**STATIC, **QAT}
        ),
        *(BackendPatternConfig(kind, _SHARED, [*plain]) for kind in _PASSING),
        *(BackendPatternConfig(p, dtype_configs=[*static], fuser_method=_fuser(p)) for p in PATTERNS),
        BackendPatternConfig(QuantStub, dtype_configs=[DTypeConfig(output_dtype=x) for x in _ACTIVATIONS]),
        BackendPatternConfig(DeQuantStub, _UNOBSERVED, [DTypeConfig(x, _FLOAT) for x in _ACTIVATIONS]),
    ]
    backend = BackendConfig(engine).set_backend_pattern_configs(configs)
    for kind in WEIGHT_ONLY:
        config = backend.patterns.setdefault(kind, BackendPatternConfig(kind, qat_module=QAT.get(kind)))
        rows = _ROWS + _FEW_BITS if issubclass(WEIGHT_ONLY[kind], nn.quantized.Embedding) else _FEW_BITS
        for one in rows:
            config.add_dtype_config(DTypeConfig(_FLOAT, _FLOAT, one, _FLOAT))
    for kind in DYNAMIC:
        config = backend.patterns.setdefault(kind, BackendPatternConfig(kind))
        config.add_dtype_config(DTypeConfig(_DYNAMIC, _FLOAT, weight, _FLOAT, is_dynamic=True))
        if kind in DYNAMIC_UNASKED:
            config.add_dtype_config(DTypeConfig(_HALF, _FLOAT, _HALF, _FLOAT, is_dynamic=True))
    return backend


get_native_backend_config = partial(backend_config_of, "native")
get_fbgemm_backend_config = partial(backend_config_of, "fbgemm")
get_x86_backend_config = partial(backend_config_of, "x86")
get_qnnpack_backend_config = partial(backend_config_of, "qnnpack")
get_onednn_backend_config = partial(backend_config_of, "onednn")
