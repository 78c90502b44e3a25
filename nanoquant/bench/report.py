"""What the bench prints: who takes part, a line for each row, and what it comes to.

Before: `rows`. After: `plot`, `command`.
"""

from __future__ import annotations

import numpy as np

from .machine import Machine
from .rows import WRONG, Row


def participants(versions: dict[str, str], missing: dict[str, str]) -> str:
    """The peers that are here, and why the others are not."""
    return "\n".join([*(f"{n}: {v}" for n, v in versions.items()), *(f"no {n}: {why}" for n, why in missing.items())])


def limits(machine: Machine, threads: int) -> str:
    """What this machine can do."""
    rates = [f"{level} {gbs:.0f} ({machine.quantize_gbs[level]:.0f})" for level, gbs in machine.read_gbs.items()]
    return (
        f"{machine.cpu}, {machine.isa}, threads: {threads}, peak: {machine.peak_gops:.0f} GOPS ({machine.product})\n"
        f"GB/s read (4 read to 1 written): {', '.join(rates)}"
    )


def table(rows: list[Row]) -> str:
    """A line per row, losing ones like winning ones; `!` beside a peer's ratio: its result is wrong."""
    columns = {
        "": [row.name for row in rows], "shape": [row.shape for row in rows],
        "us": [f"{1e6 * row.seconds:.1f}" for row in rows], "+-%": [f"{50 * row.spread:.0f}" for row in rows],
        "GOPS": [f"{row.gops:.1f}" if row.gops else "" for row in rows],
        "%peak": [f"{row.percent_of_peak:.1f}" if row.gops else "" for row in rows],
        "GB/s": [f"{row.gbs:.1f}" for row in rows], "%GB/s": [f"{row.percent_of_bandwidth:.1f}" for row in rows],
        "%gemm": [f"{row.percent_of_gemm:.1f}" if row.percent_of_gemm else "" for row in rows],
    }  # fmt: skip
    for name in dict.fromkeys(name for row in rows for name in row.ratios):
        columns[name + " "] = [
            f"{row.ratios[name]:.2f}" + (" !"[row.errors[name] > WRONG]) if name in row.ratios else "- " for row in rows
        ]
    padded = []
    for title, texts in columns.items():
        width = max(map(len, (title, *texts)))
        if any(texts):
            padded.append([t.ljust(width) if title in ("", "shape") else t.rjust(width) for t in (title, *texts)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def geometric_mean(ratios: list[float]) -> float:
    """exp(mean(log(ratio)))."""
    return float(np.exp(np.mean(np.log(ratios))))


def summary(rows: list[Row]) -> dict[str, float]:
    """Over the fastest peer of each row, right or wrong: the geometric mean, the share of rows ahead, the minimum."""
    fastest = [min(row.ratios.values()) for row in rows if row.ratios]
    if not fastest:
        return {}
    ahead = sum(ratio > 1 for ratio in fastest) / len(fastest)
    return {"rows": len(fastest), "geometric_mean": geometric_mean(fastest), "ahead": ahead, "minimum": min(fastest)}


def footer(rows: list[Row], skipped: list[str], slower: dict[str, float]) -> str:
    """The summary in words, then whose results are wrong, and who or what was left out, and why."""
    lines = []
    if total := summary(rows):
        lines.append(
            f"against the fastest peer of each of {total['rows']} rows: geometric mean {total['geometric_mean']:.3f}, "
            f"ahead in {total['ahead']:.0%}, minimum {total['minimum']:.2f}"
        )
    if slower:
        lines.append("times as long as alone: " + ", ".join(f"{name} {factor:.2f}" for name, factor in slower.items()))
    for name in dict.fromkeys(name for row in rows for name in row.errors):
        wrong = [row.errors[name] for row in rows if row.errors.get(name, 0) > WRONG]
        if wrong:
            steps = f"{min(wrong):.2f} to {max(wrong):.2f} steps on average"
            lines.append(f"! {name}: wrong in {len(wrong)} of {len(rows)} rows, by {steps}")
    reasons = dict.fromkeys(f"{name}: {why}" for row in rows for name, why in row.missing.items())
    return "\n".join([*lines, *(f"- {reason}" for reason in (*reasons, *skipped))])


def slowdowns(alone: list[Row], contended: list[Row]) -> dict[str, float]:
    """How many times as long everybody takes when contended: geometric means over the rows."""
    factors: dict[str, list[float]] = {}
    for before, after in zip(alone, contended, strict=True):
        slower = after.seconds / before.seconds
        ratios = {name: after.ratios[name] / before.ratios[name] for name in before.ratios if name in after.ratios}
        for name, ratio in {"ours": 1.0, **ratios}.items():
            factors.setdefault(name, []).append(slower * ratio)
    return {name: geometric_mean(values) for name, values in factors.items()}
