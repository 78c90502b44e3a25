"""Records what torch's graph mode makes of a residual network and of a Transformer: graph.npz, with weights, ranges, and
every operation's integers.

python tests/golden/record_graph.py     with torch==2.13.0 installed
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.ao.quantization import QConfig, QConfigMapping, default_per_channel_qconfig, observer
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

sys.path.insert(0, str(Path(__file__).parent.parent))
from networks import NETWORKS

warnings.simplefilter("ignore")
FILE = Path(__file__).parent / "graph.npz"


def computed(model: Any, x: np.ndarray) -> tuple[list[tuple[float, float]], list[np.ndarray]]:
    """The ranges that torch's observers see, those of a fixed range left out, and all that is quantized, in their order."""
    torch.backends.quantized.engine = "fbgemm"
    given, mapping = torch.from_numpy(x), QConfigMapping().set_global(default_per_channel_qconfig)
    weight = default_per_channel_qconfig.weight
    softmax = QConfig(observer.default_fixed_qparams_range_0to1_observer, weight)  # as torch's default mappings have it
    mapping.set_object_type(torch.nn.Softmax, softmax)
    prepared = prepare_fx(model.eval(), mapping, (given,))
    prepared(given)
    nodes = [node for node in prepared.graph.nodes if str(node.target).startswith("activation_post_process")]
    observers = [prepared.get_submodule(node.target) for node in nodes]
    integers: list[np.ndarray] = []

    class Watched(torch.fx.Interpreter):
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            if isinstance(value, torch.Tensor) and value.is_quantized:
                integers.append(value.int_repr().numpy())
            return value

    Watched(convert_fx(prepared)).run(given)
    return [(float(m.min_val), float(m.max_val)) for m in observers if hasattr(m, "min_val")], integers


def main() -> None:
    values: dict[str, Any] = {"versions": np.array([torch.__version__, np.__version__])}
    for name, (build, shape) in NETWORKS.items():
        torch.manual_seed(0)
        model, x = build(torch), torch.randn(shape).numpy()
        ranges, integers = computed(model, x)
        values |= {f"{name}/state/{key}": value.numpy() for key, value in model.state_dict().items()}
        values |= {f"{name}/{i}": value for i, value in enumerate(integers)}
        values |= {f"{name}/x": x, f"{name}/ranges": np.array(ranges)}
    np.savez_compressed(FILE, **values)


if __name__ == "__main__":
    main()
