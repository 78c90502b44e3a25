"""One row of the table: a shape, its times, and what they mean.

    percent of the peak        2 * MACs / time, of what the register-only loop reaches in the same rounds
    percent of the bandwidth   bytes / time, of what a loop that only moves as many bytes reaches in the same rounds
    ratio                      the peer's time / ours: above 1 we are ahead

Before: `peers`, `machine`. After: `report`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import peers
from .data import Data, ours
from .machine import Peak, Stream
from .shapes import Shape, gemm
from .timing import Run, interleave

WRONG = 0.05  # mean error, in steps of the output, that differences in rounding do not reach and saturation passes


@dataclass(frozen=True)
class Row:
    """Figures of one shape. spread: between the quartiles of our time, as a part of it. gops, percent_of_peak: 0 without
    products; percent_of_gemm: 0 but for ungrouped convolutions, against our own product of the same M, N, K.

    errors: mean |difference| of each peer's integers from ours. missing: why a peer has no time.
    """

    name: str
    shape: str
    intensity: float
    seconds: float
    spread: float
    gops: float
    gbs: float
    percent_of_peak: float
    percent_of_bandwidth: float
    percent_of_gemm: float
    ratios: dict[str, float]
    errors: dict[str, float]
    missing: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """How rows are measured: the peers' names, everybody's threads, our peak on them."""

    names: list[str]
    threads: int
    peak: Peak
    rounds: int
    full_range: bool = False
    minima: bool = False  # the shortest turns instead of medians

    def row(self, shape: Shape) -> Row | str:
        """Times one shape on ours and the peers; the reason, when we have no such operator."""
        data = Data(shape, self.full_range)
        try:
            own = ours(data)
        except AttributeError as error:
            return f"{shape.text}: {error}"
        stream = Stream(shape.read, shape.written)
        runs: dict[str, Run] = {"ours": own.run, "stream": stream}
        if shape.macs:
            runs["peak"] = self.peak
        if shape.operation == "conv2d" and shape.groups == 1:
            runs["gemm"] = ours(Data(gemm(shape.M, shape.K, shape.N))).run
        expected, errors, missing = own.integers(own.run()).astype(np.float64), {}, {}
        for name in self.names:
            try:
                peer = peers.prepare(name, data, self.threads)
            except LookupError as reason:
                missing[name] = str(reason.args[0])
                continue
            errors[name] = float(np.abs(peer.integers(peer.run()).reshape(expected.shape) - expected).mean())
            runs[name] = peer.run
        times = interleave(runs, self.rounds, settles=self.threads > 1)
        shortest, low, middle, high = (float(q) for q in np.percentile(times["ours"], (0, 25, 50, 75)))
        if self.minima:
            seconds, ratio = shortest, {name: float(times[name].min()) / shortest for name in runs}
        else:
            seconds, ratio = middle, {name: float(np.median(times[name] / times["ours"])) for name in runs}
        moved = shape.read + shape.written
        return Row(
            shape.name, shape.text, 2 * shape.macs / moved, seconds, (high - low) / middle, 2e-9 * shape.macs / seconds,
            1e-9 * moved / seconds, 100 * shape.macs / self.peak.macs * ratio.get("peak", 0.0),
            100 * moved / stream.bytes * ratio["stream"], 100 * ratio.get("gemm", 0.0),
            {name: ratio[name] for name in errors}, errors, missing,
        )  # fmt: skip
