"""Records what torch's graph mode makes of a residual network: graph.npz, with weights, ranges and integers.

python tests/golden/record_graph.py     with torch==2.13.0 installed
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.ao.quantization import QConfigMapping, default_per_channel_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

warnings.simplefilter("ignore")
FILE = Path(__file__).parent / "graph.npz"


class Net(nn.Module):
    """A sum with ReLU, a pool, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.relu, self.pool, self.fc = nn.ReLU(), nn.MaxPool2d(2), nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x) + x)
        x = self.pool(x)
        return self.fc(x.flatten(1))


def computed(state: dict[str, np.ndarray], x: np.ndarray) -> tuple[list[tuple[float, float]], np.ndarray]:
    """The output, and the ranges of all that has one of its own (a pool's is its input's), in the order of the graph."""
    torch.backends.quantized.engine = "fbgemm"
    model = Net().eval()
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
    state = {name: value.numpy() for name, value in Net().state_dict().items()}
    x = torch.randn(2, 3, 8, 8).numpy()
    ranges, y = computed(state, x)
    np.savez_compressed(
        FILE, x=x, y=y, ranges=np.array(ranges), versions=np.array([torch.__version__, np.__version__]), **state
    )


if __name__ == "__main__":
    main()
