"""Where a network's time goes, layer by layer.

    hooks around every layer without children    start --> layer --> stop         median over rounds
    the same around a functional's methods       start --> add, mul, cat --> stop
    the whole network, without hooks, in turn    start --------------------> stop
    what is left between the two                 Python between layers: reshapes, the forward functions themselves

A graph in integers runs as a plan, in one call of C (`graph.plan`); hooks make it run layer by layer, so that its layers take
longer than the whole: what Python and cold caches cost without a plan.

Before: `nanoquant.quantization`. After: `compare`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...autograd.tape import no_grad
from ...module import Module
from ...nn.quantized.functionals import METHODS, FXFloatFunctional, QScalarFunctional

FUNCTIONALS = FXFloatFunctional, QScalarFunctional


@dataclass(frozen=True)
class LayerProfile:
    """A layer's time and work. seconds: of all its calls in one pass. macs: multiply-adds, 0 where it has no weights to
    multiply by. bytes: of its parameters and buffers."""

    path: str
    kind: str
    seconds: float
    macs: int
    bytes: int

    @property
    def gops(self) -> float:
        """Billions of operations per second; a multiply-add is two."""
        return 2e-9 * self.macs / self.seconds


@dataclass(frozen=True)
class ModelProfile:
    """A pass through a network. seconds: of the whole, measured without hooks. peak_gops: what the machine can do, or 0."""

    layers: list[LayerProfile]
    seconds: float
    peak_gops: float = 0.0

    @property
    def one_by_one(self) -> float:
        """Seconds of all layers, each called from Python: more than the whole, where a graph runs as a plan."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def between(self) -> float:
        """The share of the time that no layer accounts for."""
        return max(0.0, 1 - self.one_by_one / self.seconds)

    def beside(self, other: ModelProfile) -> str:
        """The table, and beside each layer the time and bytes that the layer of its path has in another profile, and how many
        times its own time that is. The other's further layers (fused ones here, say) follow."""
        theirs = {layer.path: layer for layer in other.layers}
        head, *rows, last = str(self).splitlines()
        width = len(head)
        lines = [f"{head}  {'us':>9}  {'times':>6}  {'bytes':>9}"]
        for layer, row in zip(self.layers, rows, strict=True):
            match = theirs.pop(layer.path, None)
            times = match and f"  {1e6 * match.seconds:9.1f}  {match.seconds / layer.seconds:6.2f}  {match.bytes:9,}"
            lines.append(f"{row:{width}}{times or ''}")
        for layer in theirs.values():
            name = f"{layer.path}  {layer.kind}"
            lines.append(f"{name:{width}}  {1e6 * layer.seconds:9.1f}  {'':6}  {layer.bytes:9,}")
        lines.append(f"{last:{width}}  {1e6 * other.seconds:9.1f}  {other.seconds / self.seconds:6.2f}")
        return "\n".join(lines)

    def __str__(self) -> str:
        width, kinds = (max(len(getattr(layer, name)) for layer in self.layers) for name in ("path", "kind"))
        width = max(width, len("layer"))
        peak = f"{'%peak':>7}" if self.peak_gops else ""
        lines = [f"{'layer':{width}}  {'':{kinds}}  {'us':>9}  {'share':>6}  {'GOPS':>7}{peak}  {'bytes':>9}"]
        for layer in self.layers:
            gops = f"{layer.gops:7.1f}" if layer.macs else " " * 7
            peak = f"{100 * layer.gops / self.peak_gops:7.1f}" if layer.macs and self.peak_gops else " " * len(peak)
            share = f"{layer.seconds / max(self.seconds, self.one_by_one):6.1%}"
            micros = f"{1e6 * layer.seconds:9.1f}"
            lines.append(f"{layer.path:{width}}  {layer.kind:{kinds}}  {micros}  {share}  {gops}{peak}  {layer.bytes:9,}")
        rest = f"between layers: {self.between:.1%}"
        if self.one_by_one > self.seconds:
            rest += f"; one by one, with hooks: {1e6 * self.one_by_one:.1f} us"
        lines.append(f"{'all':{width}}  {'':{kinds}}  {1e6 * self.seconds:9.1f}  {rest}")
        return "\n".join(lines)


def _multiply_adds(layer: Any, inputs: tuple[Any, ...], output: Any) -> int:
    """Of a linear layer or a convolution; 0 for any other."""
    first = output[0] if isinstance(output, tuple) else output
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return int(np.prod(np.shape(first))) * int(layer.in_features)
    if not hasattr(layer, "kernel_size") or not hasattr(layer, "in_channels"):
        return 0
    transposed = "Transpose" in type(layer).__name__
    pixels, channels = (inputs[0], layer.out_channels) if transposed else (first, layer.in_channels)
    return int(np.prod(np.shape(pixels))) * int(np.prod(layer.kernel_size)) * int(channels) // int(layer.groups)


def median_seconds(calls: Sequence[Callable[[Any], Any]], x: Any, rounds: int) -> list[float]:
    """The median time of each call, taken in turn so that a busy machine slows all alike.

    Each timed call follows an untimed one, so that none finds the caches as another model left them.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            call(x)
            start = time.perf_counter()
            call(x)
            taken.append(time.perf_counter() - start)
    return [float(np.median(taken)) for taken in times]


def watched_layers(model: Module) -> dict[str, Module]:
    """Modules without children, functionals, and recurrent and other layers that are called as one, by path."""
    parts = {
        path: module
        for path, module in model.named_modules()
        if not module._modules or hasattr(module, "hidden_size") or isinstance(module, FUNCTIONALS)
    }
    inside = [path for path in parts if any(path.startswith(other + ".") for other in parts if other)]
    return {path: module for path, module in parts.items() if path not in inside}


def profile(model: Module, x: Any, rounds: int = 20, peak_gops: float = 0.0) -> ModelProfile:
    """Times every layer of a network on x, float or quantized.

    Layers are modules without children, and recurrent and other layers that are called as one; a sum that a FloatFunctional
    computes is that one's. `beside` puts two profiles, of float and of int8, side by side. peak_gops: to compare with, as
    `nanoquant bench` measures it. Hooks add about a microsecond to each layer.

    >>> from nanoquant import nn
    >>> found = profile(nn.Sequential(nn.Linear(64, 32), nn.ReLU()), np.ones((1, 64), np.float32), rounds=3)
    >>> [(layer.path, layer.kind, layer.macs, layer.bytes) for layer in found.layers]
    [('0', 'Linear', 2048, 8320), ('1', 'ReLU', 0, 0)]
    """
    times: dict[str, list[float]] = {}
    work: dict[str, int] = {}
    watched = watched_layers(model)
    wholes: list[float] = []
    with no_grad():
        for _ in range(rounds + 1):
            handles = [handle for path, module in watched.items() for handle in _time(path, module, times, work)]
            try:
                for taken in times.values():
                    taken.append(0.0)
                model(x)
            finally:
                for handle in handles:
                    handle.remove()
            wholes += median_seconds([model], x, 1)
    whole = float(np.median(wholes[1:]))
    layers = [
        LayerProfile(path, type(watched[path]).__name__, float(np.median(taken[1:])), work[path], _bytes(watched[path]))
        for path, taken in times.items()
    ]
    return ModelProfile(layers, whole, peak_gops)


class _Watched:
    """The handle of a method that is watched until `remove`."""

    def __init__(self, module: Module, name: str, before: Callable[..., None], after: Callable[..., None]) -> None:
        method = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            before()
            y = method(*args, **options)
            after(module, args, y)
            return y

        self.space, self.name = module.__dict__, name
        self.space[name] = call

    def remove(self) -> None:
        """Gives the module its own method back."""
        del self.space[self.name]


def watch(module: Module, before: Callable[..., None], after: Callable[..., None]) -> list[Any]:
    """Handles of what calls `before` before a layer, or a functional's method, and `after(module, inputs, output)` after it."""
    if isinstance(module, FUNCTIONALS):
        return [_Watched(module, name, before, after) for name in METHODS if hasattr(module, name)]
    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


def _bytes(module: Module) -> int:
    return sum(np.asarray(value).nbytes for value in module.state_dict().values())


def _time(path: str, module: Module, times: dict[str, list[float]], work: dict[str, int]) -> list[Any]:
    """Hooks that add a module's time to the last entry of times[path]."""
    started: list[float] = []

    def before(*_: Any) -> None:
        started.append(time.perf_counter())

    def after(layer: Any, inputs: Any, output: Any) -> None:
        taken = time.perf_counter() - started.pop()
        times.setdefault(path, [0.0])[-1] += taken
        work[path] = _multiply_adds(layer, inputs, output)

    return watch(module, before, after)
