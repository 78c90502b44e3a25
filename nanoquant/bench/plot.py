"""The bench's picture: the roofline with our rows under it, and beside it a bar for each peer of each row.

Before: `report`. After: `command`.
"""

from __future__ import annotations

import numpy as np

from ..viz import BLUE, GREY, ORANGE, SERIES
from .machine import Machine
from .rows import Row


def draw(machine: Machine, rows: list[Row], path: str) -> None:
    """Writes the picture to a file. Needs matplotlib.

    Left: GOPS over operations per byte, under the peak and each level's bandwidth; without products, GB/s by row. Right:
    each peer's time over ours; bars that end left of the line at 1 are peers ahead of us.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row.ratios))
    places = np.arange(len(rows))
    figure = Figure(figsize=(13, 2 + len(rows) * (0.2 + 0.1 * len(names))), layout="constrained")
    left, right = figure.subplots(1, 2)
    if rows[0].gops:
        x = np.geomspace(min(row.intensity for row in rows) / 2, 2 * max(row.intensity for row in rows), 100)
        for level, gbs in machine.read_gbs.items():
            left.plot(x, np.minimum(machine.peak_gops, gbs * x), color=GREY, linewidth=1)
            left.annotate(level, (x[0], gbs * x[0]), color=GREY)
        left.axhline(machine.peak_gops, color=ORANGE, label=f"peak: {machine.product}")
        left.plot([row.intensity for row in rows], [row.gops for row in rows], "o", color=BLUE, label="nanoquant")
        left.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GOPS")
        left.legend(frameon=False)
    else:
        left.barh(places, [row.gbs for row in rows], color=BLUE)
        left.set(yticks=places, yticklabels=[row.shape for row in rows], xlabel="GB/s")
        left.invert_yaxis()
    height = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        values = [row.ratios.get(name, np.nan) for row in rows]
        hatch = "//" * (i // len(SERIES))
        right.barh(places + i * height, values, height, color=SERIES[i % len(SERIES)][0], hatch=hatch, label=name)
    right.axvline(1, color="black")
    right.set(xscale="log", yticks=places + 0.4, yticklabels=[row.shape for row in rows], xlabel="peer's time / ours")
    right.invert_yaxis()
    if names:
        right.legend(frameon=False)
    left.set_title(f"{machine.cpu}, {machine.isa}", fontsize="medium")
    figure.savefig(path)
