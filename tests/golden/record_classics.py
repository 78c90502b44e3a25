"""Records how the scripts of `tests/classics` train on torch: classics.npz, read by tests/test_classics.py.

python tests/golden/record_classics.py     with torch==2.13.0 and nanoquant installed
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch
from recorder import Recorder

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_classics import FOLDER, IMAGES, VARIANTS, learned

from nanoquant.data import load_digits


def main() -> None:
    script, recorder, digits = (runpy.run_path(str(FOLDER / "handmade_quantizer.py")), Recorder("classics"), load_digits())
    parts = (digits.train.images[:IMAGES], digits.train.labels[:IMAGES]), digits.test
    data = [
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=32)
        for x, y in parts
    ]
    for symmetric, folded in VARIANTS:
        losses, accuracy = learned(script, symmetric, folded, data, torch.tensor)
        recorder.add({"symmetric": symmetric, "folded": folded}, losses=losses, accuracy=accuracy)
    recorder.write()


if __name__ == "__main__":
    main()
