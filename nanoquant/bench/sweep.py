"""What `bench train`, `lstm` and `weights` share: peers that may be there, cases one after the other, a table or JSON.

Before: `timing`. After: `train`, `recurrent`, `weights`.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..progress import progress


def imported(options: argparse.Namespace, *names: str) -> tuple[Any, ...] | None:
    """These modules; None if one is not installed, or peers are not asked for."""
    try:
        return None if options.peers == "none" else tuple(map(importlib.import_module, names))
    except ImportError:
        return None


def sweep(options: argparse.Namespace, what: str, cases: Sequence[Any], measure: Callable[..., Any]) -> list[Any]:
    """measure(*case, rounds) of every case, with a progress bar."""
    rounds = 3 if options.quick else options.rounds
    return [measure(*case, rounds) for case in progress(cases, what, len(cases))]


def of_sizes(options: argparse.Namespace, sizes: Sequence[tuple[int, ...]]) -> list[tuple[Any, int]]:
    """Every size on every number of threads; quickly, every fourth."""
    return [(size, threads) for threads in options.threads for size in sizes[:: 4 if options.quick else 1]]


def show(
    options: argparse.Namespace, rows: Sequence[Any], shape: str, more: Mapping[str, Callable[[Any], float]] | None = None
) -> None:
    """Prints rows that have a shape, threads, seconds and ratios, and `more` columns, as a table or as JSON."""
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    width, names, columns = max(len(shape), 36), list(rows[0].ratios), more or {}
    print("  ".join([f"{shape:>{width}}", "threads", f"{'us':>7}", *(f"{n:>6}" for n in columns), *names]))
    for row in rows:
        line = [f"{' '.join(map(str, row.shape)):>{width}}", f"{row.threads:7}", f"{1e6 * row.seconds:7.0f}"]
        line += [f"{of(row):6.1f}" for of in columns.values()]
        print("  ".join([*line, *(f"{row.ratios[name]:{len(name)}.2f}" for name in names)]))
