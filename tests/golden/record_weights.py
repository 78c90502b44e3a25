"""Records a checkpoint as PyTorch writes one: weights.pth, and its values in weights.npz.

python tests/golden/record_weights.py     with torch==2.13.0 installed
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent


def main() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    table = torch.randn(4, 6)
    extra = {
        "transposed": table.t(), "shared": table[1:3, ::2], "half": table.half(), "bfloat16": table.bfloat16(),
        "double": table.double(), "bytes": torch.arange(5, dtype=torch.uint8), "mask": table > 0,
        "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "expanded": torch.ones(2, 1).expand(2, 3),
    }  # fmt: skip
    torch.save({"epoch": 3, "name": "é", "rate": 0.5, "state_dict": net.state_dict(), "extra": extra,
                "lists": [1, (2, None), True, -(2**40)], "parameter": net[0].weight}, FOLDER / "weights.pth")  # fmt: skip
    values = {**net.state_dict(), **extra}
    np.savez_compressed(FOLDER / "weights.npz", **{k: v.float().numpy() if v.is_floating_point() else v.numpy()
                                                   for k, v in values.items()})  # fmt: skip


if __name__ == "__main__":
    main()
