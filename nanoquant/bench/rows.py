"""One row of the table: a shape, its times, and what they mean.

    percent of the peak        2 * MACs / time, of what the register-only loop reaches in the same rounds
    percent of the bandwidth   bytes / time, of what a loop that only moves as many bytes reaches in the same rounds
    ratio                      the peer's time / ours: above 1 we are ahead

Before: `peers`, `machine`, `timing`. After: `report`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import peers
from .data import Data, ours
from .machine import Peak, Stream
from .shapes import Shape, gemm
from .timing import Effort, Run, interleave, spread

WRONG = 0.05  # mean error, in steps of the output: rounding differences stay far below, saturation far above


@dataclass(frozen=True)
class Row:
    """Figures of one shape. Times in seconds; `gemm`: our product of the same M, N, K and groups, in ours.

    errors: mean |difference| from our integers, of each peer. missing: why a peer has no time.
    """

    name: str
    shape: str
    threads: int
    seconds: float
    spread: float
    gops: float
    gbs: float
    percent_of_peak: float
    percent_of_bandwidth: float
    percent_of_gemm: float | None
    ratios: dict[str, float]
    errors: dict[str, float]
    missing: dict[str, str]

    @property
    def fastest(self) -> float | None:
        """The ratio to the fastest peer whose result is right."""
        return min((r for peer, r in self.ratios.items() if self.errors[peer] <= WRONG), default=None)


def measure(shape: Shape, names: list[str], threads: int, peak: Peak, effort: Effort, full_range: bool) -> Row:
    """Times one shape on ours and these peers."""
    data = Data(shape, full_range)
    own, stream = ours(data), Stream(shape.read, shape.written)
    expected = own.integers(own.run()).astype(np.float64)
    runs: dict[str, Run] = {"": own.run, "stream": stream}
    if shape.macs:
        runs["peak"] = peak
    if shape.operation == "conv2d" and shape.groups == 1:
        runs["gemm"] = ours(Data(gemm(shape.M, shape.K, shape.N))).run
    errors, missing = {}, {}
    for name in names:
        try:
            runner = peers.prepare(name, data, threads)
        except LookupError as reason:
            missing[name] = str(reason)
            continue
        found = np.asarray(runner.integers(runner.run()), np.float64)
        errors[name] = float(np.abs(found.reshape(expected.shape) - expected).mean())
        runs[name] = runner.run
    times = interleave(runs, effort)
    own_times = times[""]
    seconds = float(np.median(own_times))
    ratio = {name: float(np.median(times[name] / own_times)) for name in runs}
    moved = shape.read + shape.written
    return Row(
        shape.name, shape.text, threads, seconds, spread(own_times), 2e-9 * shape.macs / seconds, 1e-9 * moved / seconds,
        100 * shape.macs / peak.macs[0] * ratio["peak"] if shape.macs else 0.0,
        100 * moved / stream.bytes * ratio["stream"],
        100 * ratio["gemm"] if "gemm" in ratio else None,
        {name: ratio[name] for name in errors}, errors, missing,
    )  # fmt: skip
