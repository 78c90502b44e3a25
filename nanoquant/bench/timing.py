"""How time is taken: everybody in one process, in turns, in many short rounds.

    round 1   ours ours ours | fbgemm fbgemm | ort ort ort ort | ...          each turn long enough for the clock
    round 2   fbgemm fbgemm | ort ort ort ort | ... | ours ours ours          and one place further on

What slows the machine down for a while slows all of them; ratios are taken within a round, and their median counts.

Before: nothing. After: `rows`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Run = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """rounds, and the least seconds of a turn. settle: seconds between turns, in which others' threads go to sleep."""

    rounds: int = 30
    turn: float = 2e-3
    settle: float = 0.0


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def interleave(runs: Mapping[str, Run], effort: Effort) -> dict[str, NDArray[np.float64]]:
    """Seconds per call, for each run and round. Each turn begins with a call that is not counted."""
    calls = {}
    for name, run in runs.items():
        run()
        calls[name] = max(1, int(np.ceil(effort.turn / max(_seconds(run, 2), 1e-7))))
    names, seconds = list(runs), {name: np.empty(effort.rounds) for name in runs}
    for i in range(effort.rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            time.sleep(effort.settle)
            runs[name]()
            seconds[name][i] = _seconds(runs[name], calls[name])
    return seconds


def spread(seconds: NDArray[np.float64]) -> float:
    """How far the middle half of the rounds lies apart, as a part of the median."""
    low, middle, high = np.percentile(seconds, (25, 50, 75))
    return float((high - low) / middle)


def geometric_mean(ratios: list[float]) -> float:
    """exp(mean(log r)).

    >>> geometric_mean([2.0, 8.0])
    4.0
    """
    return float(np.exp(np.mean(np.log(ratios)))).__round__(12)
