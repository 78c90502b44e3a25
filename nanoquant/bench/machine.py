"""What this CPU can do at best: multiply-adds per second in registers, and bytes per second from each cache.

    GOPS <= min(peak, operations per byte * bandwidth)          the roofline

Before: csrc/peak.c. After: `rows`.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..kernels.native import aligned, check, ffi, isa_names, isa_number, lib, pointer

CACHES = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}  # where the system does not say
PATTERNS = {  # bytes read and written in a block, nanoquant.h
    lib.NQ_READ: (256, 0), lib.NQ_COPY: (256, 256), lib.NQ_NARROW: (256, 64), lib.NQ_WIDEN: (64, 256),
    lib.NQ_MERGE: (256, 128),
}  # fmt: skip


def caches() -> dict[str, int]:
    """Bytes of this core's data caches."""
    sizes = dict(CACHES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, level, size = ((index / fact).read_text().strip() for fact in ("type", "level", "size"))
        if kind != "Instruction" and size[-1] in "KM":
            sizes[f"L{level}"] = int(size[:-1]) << (10 if size[-1] == "K" else 20)
    return sizes


def processor() -> str:
    """The CPU's name."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    return match[1] if match else platform.machine()


def best(run: Callable[[], object], seconds: float = 0.05) -> float:
    """The shortest time of a call, of as many as fit in `seconds`."""
    end, shortest = time.perf_counter() + seconds, float("inf")
    while (start := time.perf_counter()) < end:
        run()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


class Peak:
    """A loop of this instruction set's fastest product; called, it runs for about a millisecond."""

    def __init__(self) -> None:
        self.isa, self.macs = isa_number(), ffi.new("int64_t *")
        self.rounds, rates = 10_000, []
        while (name := lib.nq_peak_name(self.isa, len(rates))) != ffi.NULL:
            self.chain = len(rates)
            shortest = best(self)
            rates.append((self.macs[0] / shortest, ffi.string(name).decode(), shortest))
        rate, self.name, shortest = max(rates)
        self.chain = [r for r, *_ in rates].index(rate)
        self.rounds = max(1, int(self.rounds * 1e-3 / shortest))
        self()
        self.gops = 2e-9 * rate

    def __call__(self) -> None:
        check(lib.nq_peak(self.isa, self.chain, self.rounds, self.macs), "peak")


class Stream:
    """Moves about as many bytes as an operation reads and writes; called, again and again for about a millisecond."""

    def __init__(self, read: int, written: int) -> None:
        share = written / (read + written)
        self.pattern = min(PATTERNS, key=lambda p: abs(PATTERNS[p][1] / sum(PATTERNS[p]) - share))
        block = sum(PATTERNS[self.pattern])
        self.isa, self.blocks = isa_number(), max(1, (read + written) // block)
        self.memory = [aligned(self.blocks * size) for size in PATTERNS[self.pattern]]
        for part in self.memory:
            part.fill(1)
        self.passes = 1
        self.passes = max(1, int(1e-3 / best(self, 2e-3)))
        self.bytes = self.blocks * block * self.passes

    def __call__(self) -> None:
        source, target = (pointer("char[]", part) for part in self.memory)
        check(lib.nq_stream(self.isa, self.pattern, self.blocks, self.passes, source, target), "stream")


@dataclass(frozen=True)
class Machine:
    """The limits, on the threads set: GOPS, and GB/s of reading and of quantize's pattern from each level."""

    cpu: str
    isa: str
    peak_gops: float
    product: str
    caches: dict[str, int]
    read_gbs: dict[str, float]
    quantize_gbs: dict[str, float]


def measure() -> Machine:
    """This machine, in a second or two."""
    sizes = caches()
    levels = {"L1": sizes["L1"] // 2, "L2": sizes["L2"] // 2, "L3": sizes["L3"] // 4, "DRAM": 2 * sizes["L3"]}
    rates = []
    for share in (0, 1):
        streams = {level: Stream(4 * size // (4 + share), share * size // 5) for level, size in levels.items()}
        rates.append({level: 1e-9 * stream.bytes / best(stream) for level, stream in streams.items()})
    peak = Peak()
    return Machine(processor(), isa_names()[isa_number()], peak.gops, peak.name, sizes, *rates)
