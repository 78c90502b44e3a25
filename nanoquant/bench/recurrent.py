"""`nanoquant bench lstm`: an int8 LSTM beside NumPy's float32 and torch's dynamic one, a sequence at a time.

Ours and torch's are `quantize_dynamic` of the same weights; NumPy's is the textbook's loop, with the inputs' product done
for all steps at once. Ours has scales per channel.

Before: `train`. After: `command`.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn
from ..creation import tensor
from ..kernels import native
from ..quantization import quantize_dynamic
from .peers import set_blas_threads
from .sweep import imported, of_sizes, show, sweep
from .timing import Run, interleave

# steps, batch, features, hidden, layers: of rows of digits, key words, speech, language
SIZES = ((28, 1, 28, 64, 2), (28, 1, 28, 128, 2), (50, 1, 256, 512, 1), (20, 1, 512, 1024, 1), (50, 16, 256, 256, 1))


@dataclass(frozen=True)
class Row:
    """A sequence's time, the median over rounds; the others' over ours."""

    shape: tuple[int, ...]
    threads: int
    seconds: float
    ratios: dict[str, float]


def textbook(layer: Any, x: NDArray[np.float32]) -> Run:
    """An LSTM of these weights in NumPy, float32."""
    names = [f"_l{i}" for i in range(layer.num_layers)]
    weights = [[np.array(getattr(layer, w + n).detach()) for w in ("weight_ih", "weight_hh")] for n in names]
    biases = [np.asarray((getattr(layer, f"bias_ih{n}") + getattr(layer, f"bias_hh{n}")).detach()) for n in names]

    def run() -> NDArray[np.float32]:
        y = x
        for (w_ih, w_hh), bias in zip(weights, biases, strict=True):
            p = y @ w_ih.T + bias
            h = c = np.zeros((x.shape[1], len(w_hh) // 4), np.float32)
            steps = []
            for gates in p:
                i, f, g, o = np.split(gates + h @ w_hh.T, 4, axis=1)
                i, f, o = (1 / (1 + np.exp(-s)) for s in (i, f, o))
                c = f * c + i * np.tanh(g)
                h = o * np.tanh(c)
                steps.append(h)
            y = np.stack(steps)
        return y

    return run


def measure(size: tuple[int, ...], threads: int, rounds: int, torch: Any) -> Row:
    """A row; torch: the library, or None."""
    steps, batch, features, hidden, layers = size
    layer = nn.LSTM(features, hidden, layers).eval()
    x = np.random.default_rng(0).standard_normal((steps, batch, features), dtype=np.float32)
    model: Any = quantize_dynamic(nn.Sequential(layer))
    twin, given = model[0], tensor(x)
    native.set_num_threads(threads)
    set_blas_threads(threads)
    runs: dict[str, Run] = {"ours": lambda: twin(given), "numpy float32": textbook(layer, x)}
    if torch is not None:
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = "fbgemm"
        other, theirs = torch.nn.LSTM(features, hidden, layers).eval(), torch.from_numpy(x)
        other.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in layer.state_dict().items()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dynamic = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(other), {torch.nn.LSTM})[0]

        def run() -> Any:
            with torch.no_grad():
                return dynamic(theirs)

        runs["torch int8"] = run
    times = interleave(runs, rounds, settles=threads > 1)
    ratios = {name: float(np.median(times[name] / times["ours"])) for name in runs if name != "ours"}
    return Row(size, threads, float(np.median(times["ours"])), ratios)


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    torch = imported(options, "torch")
    rows = sweep(options, "lstm", of_sizes(options, SIZES), partial(measure, torch=torch and torch[0]))
    show(options, rows, "steps batch features hidden layers")
