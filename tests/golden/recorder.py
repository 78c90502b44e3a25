"""What the recorders of this folder share: cases, collected and written to one .npz file.

Each file holds, for every field, the arrays of all cases end to end; in `cases` (JSON) each case's options and the
shapes of its arrays; in `versions` (JSON) what made it. `tests/golden_vectors.py` reads them.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
F = np.float32

# Arguments after the first, by operator: "b" is a second tensor, "gamma" and the like float arrays of one value per
# channel, "S" and "Z" the output's scale and zero point.
OPERATORS: dict[str, list[Any]] = {
    "add": ["b", "S", "Z"], "add_relu": ["b", "S", "Z"], "mul": ["b", "S", "Z"], "mul_relu": ["b", "S", "Z"],
    "cat": [1, "S", "Z"], "cat_relu": [0, "S", "Z"],
    "sigmoid": ["S", "Z"], "tanh": [], "hardsigmoid": [], "hardswish": ["S", "Z"],
    "leaky_relu": [0.1, False, "S", "Z"], "elu": ["S", "Z", 0.7], "relu6": [], "clamp": [-0.7, 1.3],
    "max_pool1d": [[3], [2], [1], [1], False], "max_pool2d": [[3, 2], [2, 1], [1, 0], [1, 2], True],
    "avg_pool2d": [[2, 3], [1, 2], [1, 0], False, False], "adaptive_avg_pool2d": [[3, 2]], "mean": [[2, 3]],
    "batch_norm": ["gamma", "beta", "mean", "var", 1e-5, "S", "Z"],
    "batch_norm2d_relu": ["gamma", "beta", "mean", "var", 1e-5, "S", "Z"],
    "layer_norm": [[4, 6], "rows_gamma", "rows_beta", 1e-5, "S", "Z"], "softmax": [-1, "S", "Z"],
}  # fmt: skip


class Recorder:
    """Collects cases and writes one file."""

    def __init__(self, name: str) -> None:
        self.path = FOLDER / f"{name}.npz"
        self.cases: list[dict[str, Any]] = []
        self.fields: dict[str, list[np.ndarray]] = {}

    def add(self, options: dict[str, Any], **arrays: Any) -> None:
        present = {field: np.asarray(array) for field, array in arrays.items() if array is not None}
        for field, array in present.items():
            self.fields.setdefault(field, []).append(array.ravel())
        self.cases.append({"options": options, "shapes": {field: array.shape for field, array in present.items()}})

    def write(self, maker: str = "torch") -> None:
        texts = {"cases": self.cases, "versions": {name: metadata.version(name) for name in (maker, "numpy")}}
        np.savez_compressed(
            self.path,
            **{name: np.array(json.dumps(text)) for name, text in texts.items()},
            **{field: np.concatenate(arrays) for field, arrays in self.fields.items()},
        )
        print(f"{self.path.name}: {len(self.cases)} cases, {self.path.stat().st_size} bytes")


def halfway(g: np.random.Generator, acc: np.ndarray, zero_point: int, low: int = 0) -> np.ndarray:
    """For each accumulator of one output pixel a point midway between two integers of the output, less the zero point:

    where scales or a bias are chosen to hit it, the last bit of every intermediate result shows."""
    return (g.integers(low + 1, low + 254, acc.shape) + 0.5 - zero_point).astype(np.float64)
