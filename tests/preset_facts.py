"""What a preset is, in words that torch and nanoquant share: used by the recorder, the recorded and the live comparison."""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]
ATTRIBUTES = (
    "dtype", "qscheme", "quant_min", "quant_max", "eps", "averaging_constant", "reduce_range", "ch_axis", "is_dynamic",
    "scale", "zero_point",
)  # fmt: skip
ENGINES = ("fbgemm", "x86", "qnnpack", "onednn")


def facts(made: Any) -> Facts:
    """The class of an observer or fake-quantizer, and what its observer is set up to do; what is None is left out."""
    observer = getattr(made, "activation_post_process", made)
    found: Facts = {"class": type(made).__name__, "observer": type(observer).__name__}
    for name in ATTRIBUTES:
        value = getattr(observer, name, None)
        if value is not None:
            found[name] = value.item() if hasattr(value, "item") else value
    found.update({k: repr(found[k]).split(".")[-1] for k in ("dtype", "qscheme") if k in found})
    if getattr(observer, "float_dtype", None):
        found["dtype"] = observer.float_dtype
    found["dtype"] = str(found.get("dtype")).replace("quint4x2", "quint4")
    return found


def qconfig_facts(qconfig: Any) -> dict[str, Facts]:
    """Of both factories."""
    return {"activation": facts(qconfig.activation()), "weight": facts(qconfig.weight())}


def all_facts(space: Any) -> dict[str, Any]:
    """Every preset of a quantization namespace: torch.ao.quantization, or nanoquant.quantization."""
    found: dict[str, Any] = {}
    for name in sorted(dir(space)):
        value = getattr(space, name)
        if isinstance(value, space.QConfig):
            found[name] = qconfig_facts(value)
        elif (name.startswith("default_") or "range_neg_127" in name) and ("observer" in name or "fake_quant" in name):
            found[name] = facts(value())
    for engine in ENGINES:
        found[f"{engine}"] = qconfig_facts(space.get_default_qconfig(engine))
        for version in (0, 1):
            found[f"{engine}, QAT {version}"] = qconfig_facts(space.get_default_qat_qconfig(engine, version))
    return found
