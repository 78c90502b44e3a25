"""Records what PyTorch's named presets are into presets.json.

python tests/golden/record_presets.py            with torch==2.13.0 installed
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch.ao.quantization as taq

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from preset_facts import all_facts  # noqa: E402

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    lines = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in all_facts(taq).items()]
    (FOLDER / "presets.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
