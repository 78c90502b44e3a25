"""How time is taken: everybody in one process, in turns, in many short rounds.

    round 1   ours ours ours | fbgemm fbgemm | onednn onednn onednn       each turn long enough for the clock
    round 2   fbgemm fbgemm | onednn onednn onednn | ours ours ours       and one place further on

What slows the machine down for a while slows all of them; ratios are taken within a round, and their median counts.

Before: nothing. After: `machine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Run = Callable[[], object]
TURN = 2e-3  # seconds
REST = 2e-2  # seconds: systems count what other threads compute in ticks, of up to 10 ms


def seconds_per_call(run: Run, calls: int = 1) -> float:
    """The mean over that many calls."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def best(run: Run, seconds: float = 0.03) -> float:
    """The shortest call, of as many as fit in `seconds`."""
    end, shortest = time.perf_counter() + seconds, seconds_per_call(run)
    while time.perf_counter() < end:
        shortest = min(shortest, seconds_per_call(run))
    return shortest


def settle(seconds: float = 0.5) -> None:
    """Waits until no thread of this process computes. Idle workers of some libraries spin for a tenth of a second, on the
    cores that the next in turn needs."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(REST)
        if time.process_time() - before < REST / 4:
            return


def interleave(runs: Mapping[str, Run], rounds: int, settles: bool = False) -> dict[str, NDArray[np.float64]]:
    """Seconds per call, for each run and round. A turn begins with a call that is not counted: the caches are another's.

    settles: each turn waits until the threads of the one before sleep.
    """
    names, times = list(runs), {name: np.empty(rounds) for name in runs}
    calls = {name: max(1, round(TURN / min(seconds_per_call(runs[name]) for _ in range(3)))) for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            if settles:
                settle()
            runs[name]()
            times[name][i] = seconds_per_call(runs[name], calls[name])
    return times
