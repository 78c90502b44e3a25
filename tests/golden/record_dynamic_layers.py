"""Records torch's dynamic layers, whole: float weights, inputs and outputs, in dynamic_layers.npz.

    python tests/golden/record_dynamic_layers.py     with torch==2.13.0 installed, on an x86-64 CPU with AVX-512 VNNI

Left out is what torch 2.13 gets wrong: transposed convolutions by oneDNN with other numbers of outputs than of inputs, and
in three dimensions by QNNPACK, miss the float layer by more than its outputs are large.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.ao.nn.quantized.dynamic as twins
import torch.ao.quantization as taq

sys.path.insert(0, str(Path(__file__).parent))
from recorder import Recorder

ENGINES = ("fbgemm", "qnnpack", "onednn")
ROWS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (5, 7), {}, (4, 3, 5)),
    ("LSTM", (5, 7), {}, (9, 2, 5)),
    ("LSTM", (5, 7), {"num_layers": 2, "batch_first": True, "bidirectional": True}, (2, 9, 5)),
    ("GRU", (5, 7), {"bidirectional": True}, (9, 2, 5)),
    ("LSTMCell", (5, 7), {}, (3, 5)),
    ("GRUCell", (5, 7), {}, (3, 5)),
    ("RNNCell", (5, 7), {"nonlinearity": "relu"}, (3, 5)),
]
CONVOLUTIONS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9)),
    ("Conv2d", (4, 6, (3, 2)), {"padding": 1, "dilation": (1, 2)}, (2, 4, 6, 7)),
    ("Conv3d", (4, 6, (2, 3, 1)), {"groups": 2}, (2, 4, 3, 5, 4)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 4, 3), {"stride": 2, "output_padding": 1, "bias": False}, (2, 4, 4, 5)),
    ("ConvTranspose3d", (4, 6, 2), {"padding": 1}, (2, 4, 3, 4, 5)),
]


def flat(value: Any) -> list[np.ndarray]:
    return [a for v in value for a in flat(v)] if isinstance(value, tuple) else [value.detach().numpy()]


def right(kind: str, engine: str) -> bool:
    return engine == "fbgemm" or "Transpose" not in kind or (engine == "qnnpack" and kind != "ConvTranspose3d")


def main() -> None:
    recorder = Recorder("dynamic_layers")
    torch.manual_seed(0)
    wanted = [(case, engine, "qint8") for case in ROWS + CONVOLUTIONS for engine in ENGINES if right(case[0], engine)]
    wanted += [(case, "fbgemm", "float16") for case in ROWS]
    for (kind, arguments, options, shape), engine, dtype in wanted:
        torch.backends.quantized.engine = engine
        layer, x = getattr(torch.nn, kind)(*arguments, **options).eval(), torch.randn(shape)
        if dtype == "float16":
            layer.qconfig = taq.float16_dynamic_qconfig
            with torch.no_grad():
                next(layer.parameters())[0, 0] = 1e6  # beyond float16
        else:
            layer.qconfig = taq.default_dynamic_qconfig
            if kind == "Conv1d":
                with torch.no_grad():
                    layer.weight *= 9  # results beyond the input's range
        outputs = flat(getattr(twins, kind).from_float(layer)(x))
        described = {"kind": kind, "arguments": arguments, "options": options, "engine": engine, "dtype": dtype}
        state = {f"state {name}": value.numpy() for name, value in layer.state_dict().items()}
        recorder.add(described, x=x.numpy(), **{f"y{i}": y for i, y in enumerate(outputs)}, **state)
    recorder.write()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
