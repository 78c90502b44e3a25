"""What this CPU can do at best: multiply-adds per second in registers, and bytes per second from each cache.

    GOPS <= min(peak, operations per byte * bandwidth)          the roofline

Before: `timing`, csrc/peak.c. After: `rows`.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from ..kernels.native import aligned, check, ffi, isa_names, isa_number, lib, pointer
from .timing import best

CACHES = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}  # bytes, where the system does not say
PATTERNS = {  # bytes read and written in a block of nq_stream
    lib.NQ_READ: (256, 0), lib.NQ_NARROW: (256, 64), lib.NQ_WIDEN: (64, 256), lib.NQ_MERGE: (256, 128),
}  # fmt: skip


class Peak:
    """The fastest product of our instruction set, on registers; each call is about a millisecond of it, `macs` in all."""

    def __init__(self) -> None:
        self._isa, self._macs, self._rounds, self._chain = isa_number(), ffi.new("int64_t *"), 10_000, 0
        rates: list[tuple[float, int, str]] = []
        while (name := lib.nq_peak_name(self._isa, len(rates))) != ffi.NULL:
            self._chain = len(rates)
            seconds = best(self)
            rates.append((self._macs[0] / seconds, self._chain, ffi.string(name).decode()))
        rate, self._chain, self.name = max(rates)
        self.gops, self._rounds = 2e-9 * rate, max(1, int(1e-3 * rate / self._macs[0] * self._rounds))
        self()
        self.macs = int(self._macs[0])

    def __call__(self) -> None:
        check(lib.nq_peak(self._isa, self._chain, self._rounds, self._macs), "peak")


class Stream:
    """Moves about as many bytes as an operation reads and writes; each call is a millisecond of that, `bytes` in all."""

    def __init__(self, read: int, written: int) -> None:
        share = written / (read + written)
        self._pattern = min(PATTERNS, key=lambda p: abs(PATTERNS[p][1] / sum(PATTERNS[p]) - share))
        block = sum(PATTERNS[self._pattern])
        self._isa, self._blocks, self._passes = isa_number(), max(1, (read + written) // block), 1
        self._memory = [aligned(self._blocks * size or 64) for size in PATTERNS[self._pattern]]
        for part in self._memory:
            part.fill(1)
        self._passes = max(1, int(1e-3 / best(self)))
        self.bytes = self._blocks * block * self._passes

    def __call__(self) -> None:
        ends = (pointer("char[]", part) for part in self._memory)
        check(lib.nq_stream(self._isa, self._pattern, self._blocks, self._passes, *ends), "stream")


@dataclass(frozen=True)
class Machine:
    """The limits, on as many threads as are set. read_gbs, quantize_gbs: GB/s at each level, only reading and as 4 to 1."""

    cpu: str
    isa: str
    peak_gops: float
    product: str
    caches: dict[str, int]
    read_gbs: dict[str, float]
    quantize_gbs: dict[str, float]


def caches() -> dict[str, int]:
    """Bytes of the first core's data caches."""
    sizes = dict(CACHES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, level, size = ((index / fact).read_text().strip() for fact in ("type", "level", "size"))
        if kind != "Instruction" and size[-1] in "KM":
            sizes[f"L{level}"] = int(size[:-1]) << (10 if size[-1] == "K" else 20)
    return sizes


def measure(peak: Peak) -> Machine:
    """This machine: a second or so."""
    sizes, path, rates = caches(), Path("/proc/cpuinfo"), []
    working = {"L1": sizes["L1"] // 2, "L2": sizes["L2"] // 2, "L3": sizes["L3"] // 4, "DRAM": 2 * sizes["L3"]}
    for read in (1.0, 0.8):
        streams = {level: Stream(int(read * size), int((1 - read) * size)) for level, size in working.items()}
        rates.append({level: 1e-9 * stream.bytes / best(stream) for level, stream in streams.items()})
    name = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    cpu = name[1] if name else platform.machine()
    return Machine(cpu, isa_names()[isa_number()], peak.gops, peak.name, sizes, *rates)
