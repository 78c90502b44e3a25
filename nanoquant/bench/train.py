"""`nanoquant bench train`: a step of training, float and quantization-aware, beside PyTorch's.

The networks are those of `nanoquant.models`, whose source says nothing that torch.nn does not understand: with torch's
`nn` in place of ours, the same lines make the peer. Both train with SGD and momentum on the same numbers; for QAT, both
fuse each convolution with its batch normalization, take `get_default_qat_qconfig`, and call their own `prepare_qat`.

Before: `timing`. After: `recurrent`.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from .. import nn, optim, quantization
from ..creation import tensor
from ..kernels import native
from ..models import resnet, sequence
from .peers import set_blas_threads
from .sweep import imported, sweep
from .timing import Run, interleave


@dataclass(frozen=True)
class Network:
    """What is trained. shape: of a batch; examples: in an epoch; make: the network, of the names in `source`."""

    name: str
    shape: tuple[int, ...]
    examples: int
    source: ModuleType
    make: Callable[[Any], Any]


def _lstm(hidden: int) -> Network:
    make = lambda names: names["LSTMClassifier"](28, hidden)  # noqa: E731
    return Network(f"LSTM, 2 x {hidden}", (32, 28, 28), 60_000, sequence, make)


NETWORKS = {
    "resnet8": Network("ResNet-8", (32, 3, 32, 32), 50_000, resnet, lambda names: names["resnet8"]()),
    "lstm64": _lstm(64),
    "lstm128": _lstm(128),
}


@dataclass(frozen=True)
class Row:
    """A step's time, the median over rounds; an epoch's, in steps of that time; and torch's time over ours, if it is here."""

    name: str
    mode: str
    threads: int
    seconds: float
    spread: float
    epoch: float
    ratio: float | None


def source_on(library: Any, module: ModuleType) -> dict[str, Any]:
    """The names of a file of `nanoquant.models`, over another library's `nn`."""
    names: dict[str, Any] = {"nn": library.nn, "__name__": f"{module.__name__}_on_{library.__name__}"}
    exec(inspect.getsource(module).replace("from .. import nn\n", ""), names)
    return names


def between_stubs(network: Any, base: type[Any], stubs: Any) -> Any:
    """The network between stubs, as a module of either library."""

    class _Quantized(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.network, self.dequant = stubs.QuantStub(), network, stubs.DeQuantStub()

        def forward(self, x: Any) -> Any:
            return self.dequant(self.network(self.quant(x)))

    return _Quantized()


def convolutions_with_norms(network: Any) -> Iterator[list[str]]:
    """The paths of each convolution and of the batch normalization that was made right after it.

    >>> list(convolutions_with_norms(resnet.resnet8().layer1))
    [['0.conv1', '0.bn1'], ['0.conv2', '0.bn2']]
    """
    leaves = [(path, type(module).__name__) for path, module in network.named_modules() if not list(module.children())]
    for (path, kind), (following, norm) in itertools.pairwise(leaves):
        if (kind, norm) == ("Conv2d", "BatchNorm2d"):
            yield [path, following]


def step_of(network: Any, qat: bool, base: type[Any], stubs: Any, sgd: Any, loss: Any, x: Any, target: Any) -> Run:
    """One step of training, of either library. stubs: its namespace of quantization."""
    network.train()
    if qat:
        fused = list(convolutions_with_norms(network))
        network = between_stubs(stubs.fuse_modules_qat(network, fused) if fused else network, base, stubs).train()
        network.qconfig = stubs.get_default_qat_qconfig("fbgemm")
        network = stubs.prepare_qat(network)
    optimizer = sgd(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss(network(x), target).backward()
        optimizer.step()

    return step


def measure(network: Network, qat: bool, threads: int, rounds: int, torch: Any) -> Row:
    """A row; torch: the library, or None."""
    g = np.random.default_rng(0)
    x, target = g.standard_normal(network.shape, dtype=np.float32), g.integers(0, 10, network.shape[0])
    own = network.make(vars(network.source))
    runs = {"ours": step_of(own, qat, nn.Module, quantization, optim.SGD, nn.functional.cross_entropy, tensor(x), target)}
    native.set_num_threads(threads)
    set_blas_threads(threads)
    if torch is not None:
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = "fbgemm"
        given, loss = (torch.from_numpy(x), torch.from_numpy(target)), torch.nn.functional.cross_entropy
        other = network.make(source_on(torch, network.source))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runs["torch"] = step_of(other, qat, torch.nn.Module, torch.ao.quantization, torch.optim.SGD, loss, *given)
    times = interleave(runs, rounds, settles=threads > 1)
    low, middle, high = (float(q) for q in np.percentile(times["ours"], (25, 50, 75)))
    ratio = float(np.median(times["torch"] / times["ours"])) if "torch" in times else None
    epoch = middle * network.examples / network.shape[0]
    return Row(network.name, "QAT" if qat else "float", threads, middle, (high - low) / middle, epoch, ratio)


def table(rows: list[Row]) -> str:
    """A line for each row."""
    lines = [f"{'network':14}  {'mode':5}  {'threads':>7}  {'ms/step':>8}  {'+-%':>4}  {'s/epoch':>7}  {'torch':>5}"]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"{row.name:14}  {row.mode:5}  {row.threads:7}  {1e3 * row.seconds:8.2f}  {50 * row.spread:4.0f}  "
            f"{row.epoch:7.1f}  {ratio:>5}"
        )
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    modules = imported(options, "torch")
    torch = modules and modules[0]
    chosen = [NETWORKS[name] for name in options.network or NETWORKS]
    cases = [(network, qat, n) for n in options.threads for network in chosen for qat in (False, True)]
    rows = sweep(options, "train", cases, partial(measure, torch=torch))
    version = torch and torch.__version__
    if options.json:
        print(json.dumps({"torch": version, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(f"torch: {version or 'not here, or not asked for'}", table(rows), sep="\n\n")
