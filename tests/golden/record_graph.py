"""Records what torch's graph mode makes of a residual network: graph.npz, with weights, ranges and integers.

python tests/golden/record_graph.py     with torch==2.13.0 installed
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.ao.quantization import QConfigMapping, default_per_channel_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

sys.path.insert(0, str(Path(__file__).parent.parent))
from networks import residual

warnings.simplefilter("ignore")
FILE = Path(__file__).parent / "graph.npz"


def computed(state: dict[str, np.ndarray], x: np.ndarray) -> tuple[list[tuple[float, float]], np.ndarray]:
    """The output, and the ranges of all that has one of its own (a pool's is its input's), in the order of the graph."""
    torch.backends.quantized.engine = "fbgemm"
    model = residual(torch).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    given = torch.from_numpy(x)
    prepared = prepare_fx(model, QConfigMapping().set_global(default_per_channel_qconfig), (given,))
    prepared(given)
    observing = [n for n in prepared.graph.nodes if str(n.target).startswith("activation_post_process")]
    own = [prepared.get_submodule(n.target) for n in observing if n.args[0].name not in ("pool", "flatten")]
    ranges = [(float(m.min_val), float(m.max_val)) for m in own]
    return ranges, convert_fx(prepared)(given).numpy()


def main() -> None:
    torch.manual_seed(0)
    state = {name: value.numpy() for name, value in residual(torch).state_dict().items()}
    x = torch.randn(2, 3, 8, 8).numpy()
    ranges, y = computed(state, x)
    np.savez_compressed(
        FILE, x=x, y=y, ranges=np.array(ranges), versions=np.array([torch.__version__, np.__version__]), **state
    )


if __name__ == "__main__":
    main()
