"""Reads the vectors that `golden/record.py` wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden"


def cases(name: str) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """(options, arrays by field) of every case in a file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as stored:
        fields = {field: stored[field] for field in stored.files if field not in ("cases", "versions")}
        described = json.loads(str(stored["cases"]))
    position = dict.fromkeys(fields, 0)
    result = []
    for case in described:
        arrays = {}
        for field, shape in case["shapes"].items():
            start = position[field]
            position[field] = start + math.prod(shape)
            arrays[field] = fields[field][start : position[field]].reshape(shape)
        result.append((case["options"], arrays))
    return result
