"""What the bench prints.

Before: `rows`. After: `command`.
"""

from __future__ import annotations

import math
from typing import Any

from .machine import Machine
from .rows import WRONG, Row
from .timing import geometric_mean


def header(machine: Machine, threads: int, versions: dict[str, str]) -> str:
    """The machine's limits, and who is compared."""
    bandwidth = ", ".join(f"{level} {gbs:.0f} ({machine.quantize_gbs[level]:.0f})" for level, gbs in machine.read_gbs.items())
    return "\n".join(
        [
            f"{machine.cpu}, {machine.isa}, threads {threads}",
            f"peak {machine.peak_gops:.1f} GOPS ({machine.product}); GB/s read (4 bytes read, 1 written): {bandwidth}",
            *(f"{name:12} {version}" for name, version in versions.items()),
        ]
    )


def table(rows: list[Row], names: list[str]) -> str:
    """A line per row; ratios above 1: ours is faster. `!`: the peer's result is wrong."""
    products = any(row.gops for row in rows)
    convolutions = any(row.percent_of_gemm for row in rows)
    width = max(len(row.shape) for row in rows)
    names = [name for name in names if any(name in row.ratios for row in rows)]
    head = f"{'':13}{'':{width}}        us  +-%  " + ("GOPS  %peak   " if products else "") + " GB/s  %GB/s"
    lines = [head + "  %gemm" * convolutions + "".join(f"{name:>{max(7, len(name) + 2)}}" for name in names)]
    for row in rows:
        line = f"{row.name:13}{row.shape:{width}} {1e6 * row.seconds:9.1f} {50 * row.spread:4.0f} "
        line += f"{row.gops:6.1f} {row.percent_of_peak:6.1f} " if products else " "
        line += f"{row.gbs:7.1f} {row.percent_of_bandwidth:6.1f}"
        if convolutions:
            line += f" {row.percent_of_gemm:6.1f}" if row.percent_of_gemm else "      -"
        for name in names:
            wide = max(7, len(name) + 2) - 1
            wrong = "!" if row.errors.get(name, 0) > WRONG else " "
            line += f"{row.ratios[name]:{wide}.2f}{wrong}" if name in row.ratios else f"{'-':>{wide}} "
        lines.append(line.rstrip())
    return "\n".join(lines)


def summary(rows: list[Row]) -> dict[str, Any]:
    """Over the fastest right peer of each row: the geometric mean, the share of rows ahead, the minimum."""
    fastest = [row.fastest for row in rows if row.fastest is not None]
    if not fastest:
        return {}
    return {
        "rows": len(fastest),
        "geometric_mean": geometric_mean(fastest),
        "ahead": sum(ratio > 1 for ratio in fastest) / len(fastest),
        "minimum": min(fastest),
    }


def footer(rows: list[Row]) -> str:
    """The summary in words, then what was wrong and what was left out."""
    total = summary(rows)
    lines = [
        f"fastest peer of each of {total['rows']} rows: geometric mean {total['geometric_mean']:.3f}x, "
        f"ahead in {total['ahead']:.0%}, minimum {total['minimum']:.2f}x"
    ] if total else []  # fmt: skip
    for name in dict.fromkeys(name for row in rows for name in row.errors):
        wrong = [row.errors[name] for row in rows if row.errors.get(name, 0) > WRONG]
        if wrong:
            lines.append(f"! {name} is wrong in {len(wrong)} rows, by {min(wrong):.1f} to {max(wrong):.1f} steps on average")
    reasons = dict.fromkeys((name, why) for row in rows for name, why in row.missing.items())
    return "\n".join([*lines, *(f"- {name}: {why}" for name, why in reasons)])
