"""The live comparison: random layers and observers, here and in torch, when torch is installed.

The suite needs no torch (`golden/` holds recorded vectors); where torch==2.13.0 is at hand, these draw new cases every time
they run. They need a CPU on which torch does not saturate.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the recorded vectors are compared instead")

import golden.record as recording  # noqa: E402
import test_observers  # noqa: E402
import test_ops_quantized  # noqa: E402
from oracles import SATURATES, TORCH_SATURATES  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("2.13" not in torch.__version__, reason=f"torch is {torch.__version__}, not 2.13"),
    pytest.mark.skipif(TORCH_SATURATES, reason=SATURATES),
]


class Collector:
    """Stands in for the recorder: keeps the cases in memory."""

    def __init__(self, name: str) -> None:
        self.name, self.cases = name, []

    def add(self, options: dict[str, Any], **arrays: Any) -> None:
        self.cases.append((options, {k: np.asarray(v) for k, v in arrays.items() if v is not None}))

    def write(self) -> None:
        """Nothing."""


def drawn(monkeypatch: pytest.MonkeyPatch, record: Any) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Fresh cases, by the functions that record the golden ones."""
    collectors: list[Collector] = []
    monkeypatch.setattr(recording, "Recorder", lambda name: collectors.append(Collector(name)) or collectors[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record(np.random.default_rng())
    return collectors[0].cases


@pytest.mark.parametrize("record", [recording.record_static, recording.record_onednn, recording.record_onednn_ties])
@pytest.mark.parametrize("repeat", range(5))
def test_static_layers(monkeypatch: pytest.MonkeyPatch, repeat: int, record: Any) -> None:
    for options, arrays in drawn(monkeypatch, record):
        assert np.array_equal(test_ops_quantized.answer(options, arrays), arrays["y"]), (repeat, options)


@pytest.mark.parametrize(
    "name",
    ["dynamic", "onednn_dynamic", "observers", "affine", "dynamic_qparams", "fake_quantizers", "convolutions", "operators"],
)
def test_the_rest(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import test_affine
    import test_fake_quantize
    import test_qparams

    fresh = drawn(monkeypatch, getattr(recording, f"record_{name}"))
    module, check = {
        "dynamic": (test_ops_quantized, test_ops_quantized.test_dynamic_layers_equal_torch_bit_for_bit),
        "onednn_dynamic": (test_ops_quantized, test_ops_quantized.test_dynamic_layers_equal_torch_bit_for_bit),
        "observers": (test_observers, test_observers.test_torch_to_the_last_bit),
        "affine": (test_affine, test_affine.test_golden_vectors),
        "fake_quantizers": (test_fake_quantize, test_fake_quantize.test_torch_to_the_last_bit),
        "convolutions": (test_ops_quantized, test_ops_quantized.test_convolutions_equal_torch_bit_for_bit),
        "operators": (test_ops_quantized, near_ties_alone_may_differ),
        "dynamic_qparams": (test_qparams, test_qparams.test_dynamic_rule_equals_torch),
    }[name]
    monkeypatch.setattr(module, "cases", lambda _: fresh)
    check()


def near_ties_alone_may_differ() -> None:
    """Of some 20,000 integers: torch adds the zero point before rounding, which shows within float rounding of a tie."""
    assert test_ops_quantized.compare_operators("last") <= 2


def test_presets() -> None:
    import test_presets
    from preset_facts import all_facts

    live = all_facts(torch.ao.quantization)
    assert live == test_presets.RECORDED


def test_priorities_of_a_mapping() -> None:
    """Mappings drawn at random say the same of every path here and in torch's graph mode."""
    from torch.ao.quantization.fx import qconfig_mapping_utils as theirs

    from nanoquant.quantization import QConfigMapping

    g = np.random.default_rng()
    paths = ["a", "b", "a.a", "a.b", "a.a.a", "b.b"]
    for _ in range(300):
        draw = lambda options, g=g: [(o, int(g.integers(100))) for o in g.permutation(options)[: g.integers(3)]]  # noqa: E731
        order = [(name, "K", int(g.integers(2)), int(g.integers(100))) for name in ["", "a"][: g.integers(3)]]
        spec = {
            "": 0,
            "object_type": draw(["K", "L"]),
            "module_name_regex": draw(["a", r"a\.", ".*b$"]),
            "module_name": draw(paths),
            "module_name_object_type_order": order,
        }
        ours, torchs = QConfigMapping.from_dict(spec), torch.ao.quantization.QConfigMapping.from_dict(spec)
        for path in paths:
            kind, index, parent = str(g.choice(["K", "L"])), int(g.integers(2)), path.rpartition(".")[0]
            expected = theirs._maybe_adjust_qconfig_for_module_type_or_name(torchs, kind, path, torchs.global_qconfig)
            expected = theirs._maybe_adjust_qconfig_for_module_name_object_type_order(torchs, parent, kind, index, expected)
            assert ours.resolve(path, {kind: index}, ours.global_qconfig) == expected, (spec, path, kind, index)
