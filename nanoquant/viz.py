"""Pictures: what the notebooks draw. Every function returns a matplotlib Figure, and shows nothing.

    number_line   which reals the integers stand for, and where data lands
    grids         several such grids, one below the other
    staircase     quantize and dequantize a sweep of reals, with the error below
    triptych      a small matrix three times: original, integers, reconstruction
    matrices      small matrices side by side, their values in the cells
    bars          named values, a panel for each measure
    lines         curves, with limits to compare them with and points to look at
    clips         histograms, and the range that a quantizer covers

matplotlib is an optional extra, imported with the first picture. Colours are safe for colour-blind readers.

Before: `nanoquant.demo`. After: `nanoquant.cli`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import affine
from .qparams import QParams

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, PURPLE = "#0072B2", "#D55E00", "#999999", "#882288"
SERIES = ((BLUE, "-"), (ORANGE, "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#000000", "-"))
FEW = 12  # labels that fit side by side


def number_line(qparams: QParams, x: ArrayLike = ()) -> Figure:
    """The reals that the integers of a per-tensor QParams stand for.

    A tick for each integer, with its code and its real value below it (a few of them when they are many); the zero
    point in orange. With data `x`: a dot for each element, and an arrow to the tick it becomes.
    """
    (low, high), scale, zero_point = qparams.limits, qparams.scale, qparams.zero_point
    codes = np.arange(low, high + 1)
    reals = affine.dequantize(codes, scale, zero_point)
    values = np.asarray(x, dtype=np.float32).reshape(-1)
    room = 17 * np.ptp(reals) / np.ptp([*reals, *values])  # labels that fit side by side
    every = int(np.ceil(len(codes) / room))
    figure, ((ax,),) = _figure(9, 2.2 if values.size else 1.3)
    ax.vlines(reals, -0.2, 0.2, color=BLUE, linewidth=1 if every == 1 else 0.4)
    for code, real in zip(codes, reals, strict=True):
        if (code - zero_point) % every == 0:
            colour = ORANGE if code == zero_point else BLUE
            ax.vlines(real, -0.3, 0.3, color=colour, linewidth=2.5)
            ax.text(real, -0.7, f"{code}", ha="center", va="center", color=colour)
            ax.text(real, -1.2, f"{real:.3g}", ha="center", va="center")
    ax.plot(values, np.ones(values.size), "o", color="black")
    for value, real in zip(values, affine.fake_quantize(values, scale, zero_point, low, high), strict=True):
        ax.annotate("", (real, 0.3), (value, 1), arrowprops={"arrowstyle": "->"})
    ax.set_yticks([-0.7, -1.2, 1], ["code", "real", "data"])
    ax.set(ylim=(-1.5, 1.3 if values.size else 0.5), xticks=[])
    return figure


def grids(reals: Mapping[str, ArrayLike], low: float, high: float) -> Figure:
    """Named sets of representable reals between low and high, one line each; a dot where one holds 0 exactly."""
    figure, ((ax,),) = _figure(9, 0.7 + 0.4 * len(reals))
    ax.axvline(0, color=GREY, linestyle="--")
    for row, values in enumerate(reals.values()):
        ax.vlines(np.asarray(values), row - 0.3, row + 0.3, color=BLUE, linewidth=1.5)
        if (np.asarray(values) == 0).any():
            ax.plot(0, row, "o", color=ORANGE)
    ax.set_yticks(range(len(reals)), list(reals))
    ax.set(xlim=(low, high), ylim=(len(reals) - 0.4, -0.6), xlabel="real value")
    return figure


def staircase(qparams: QParams, low: float, high: float) -> Figure:
    """What becomes of every real between low and high, and below it the error: quantized minus original.

    Left axis: reals; right axis: codes. Grey: outside the representable range.
    """
    x = np.linspace(low, high, 4001, dtype=np.float32)
    y = affine.fake_quantize(x, qparams.scale, qparams.zero_point, *qparams.limits)
    scale, zero_point = float(qparams.scale), int(qparams.zero_point)
    figure, ((top,), (bottom,)) = _figure(8, 4.5, rows=2, sharex=True, height_ratios=[2, 1])
    top.plot(x, x, color=GREY, linestyle="--", label="original")
    top.plot(x, y, color=BLUE, label="quantized and dequantized")
    top.set_ylabel("real value")
    top.legend(frameon=False)
    code_and_back = lambda real: real / scale + zero_point, lambda code: scale * (code - zero_point)
    top.secondary_yaxis("right", functions=code_and_back).set_ylabel("code")
    bottom.plot(x, y - x, color=ORANGE)
    bottom.set_yticks([-scale / 2, 0, scale / 2], ["-scale / 2", "0", "+scale / 2"])
    bottom.grid(axis="y", linestyle=":")
    bottom.set(xlabel="x, real value", ylabel="error", ylim=(-1.5 * scale, 1.5 * scale), xlim=(low, high))
    first, last = affine.dequantize(qparams.limits, scale, zero_point)
    for ax in (top, bottom):
        ax.axvspan(min(low, first), first, color=GREY, alpha=0.2)
        ax.axvspan(last, max(high, last), color=GREY, alpha=0.2)
    return figure


def triptych(x: ArrayLike, qparams: QParams) -> Figure:
    """A small matrix three times: the original, its integers, and what they mean; values in the cells."""
    q = affine.quantize(x, qparams.scale, qparams.zero_point, qparams.dtype, qparams.axis, *qparams.limits)
    back = affine.dequantize(q, qparams.scale, qparams.zero_point, qparams.axis)
    names = "original (float32)", f"codes ({q.dtype})", "reconstruction (float32)"
    return matrices(dict(zip(names, (x, q, back), strict=True)), shades={names[1]: back})


def matrices(
    panels: Mapping[str, ArrayLike], signs: Sequence[str] = (), rows: Sequence[str] = (), columns: Sequence[str] = (),
    x_label: str = "", block: tuple[int, int] | None = None, shades: Mapping[str, ArrayLike] | None = None,
) -> Figure:  # fmt: skip
    """Small matrices side by side, each with a title and its values in the cells.

    Colour follows the value: blue above zero, red below, stronger when larger. signs: what stands before the second
    panel, the third, ... ("=", "+"). rows, columns: names of the first panel's rows and of every panel's columns, and
    x_label of the latter. block: (height, width) of blocks to outline. shades: what a panel's colours follow, if not
    its values.
    """
    arrays = [np.atleast_2d(np.asarray(values)) for values in panels.values()]
    texts = [np.vectorize(lambda v: f"{v:.3f}" if isinstance(v, float) else str(v), otypes=[object])(a) for a in arrays]
    cells = [t.shape[1] * (0.22 + 0.09 * max(map(len, t.flat))) for t in texts]
    widths = np.maximum(cells, [0.09 * len(title) for title in panels])
    height = 0.9 + 0.3 * max(a.shape[0] for a in arrays)
    figure, (line,) = _figure(widths.sum() + 0.5 * len(arrays), height, len(arrays), width_ratios=widths)
    for ax, title, array, text, width in zip(line, panels, arrays, texts, widths, strict=True):
        shade = np.atleast_2d(np.asarray((shades or {}).get(title, array), dtype=np.float64))
        limit = 1.8 * float(np.abs(shade).max()) or 1.0  # the strongest colours would hide the text
        ax.imshow(shade, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), value in np.ndenumerate(text):
            ax.text(column, row, value, ha="center", va="center")
        ax.set_title(title, fontsize="medium")
        ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=[], xlabel=x_label)
        ax.set_box_aspect(0.3 * len(array) / width)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(True)
        for axis, draw in enumerate((ax.axhline, ax.axvline)):
            for edge in range(block[axis], array.shape[axis], block[axis]) if block else ():
                draw(edge - 0.5, color="black")
    for ax, sign in zip(line[1:], signs, strict=False):
        ax.annotate(sign, (0, 0.5), (-12, 0), "axes fraction", "offset points", ha="center", va="center", size=14)
    line[0].set_yticks(range(len(rows)), rows)
    return figure


def bars(panels: Mapping[str, Mapping[str, float]], formats: Sequence[str]) -> Figure:
    """Named values as horizontal bars, a panel for each measure; every panel has the same names, in the same order.

    panels: {"bytes": {"float32": 400, "int8": 100}, ...}; the keys label the axes. formats: of each panel's numbers.
    """
    names = list(next(iter(panels.values())))
    figure, (line,) = _figure(3 + 2.2 * len(panels), 0.8 + 0.35 * len(names), len(panels), sharey=True)
    for ax, (label, values), text, (colour, _) in zip(line, panels.items(), formats, cycle(SERIES), strict=False):
        drawn = ax.barh(names, list(values.values()), color=colour, alpha=0.75)
        ax.bar_label(drawn, [text.format(value) for value in values.values()], padding=3)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.use_sticky_edges = min(values.values()) >= 0  # room on both sides of 0, where there are bars on both
        ax.margins(x=0.5)
        ax.set(xticks=[], xlabel=label)
    line[0].invert_yaxis()
    return figure


def lines(
    x: ArrayLike, series: Mapping[str, ArrayLike], x_label: str, y_label: str, limits: Mapping[str, float] | None = None,
    marks: Mapping[str, tuple[float, float]] | None = None, log: str = "",
) -> Figure:  # fmt: skip
    """Curves over x, each in its own colour and line style.

    A series of several rows (runs of one experiment) is drawn as their median, in a band from the smallest to the
    largest. limits: named heights to compare with. marks: named points. log: the logarithmic axes, "x", "y" or "xy"; a
    few values of x are named there, instead of powers of ten.
    """
    figure, ((ax,),) = _figure(8, 3.2)
    for (name, values), (colour, style) in zip(series.items(), cycle(SERIES), strict=False):
        runs = np.atleast_2d(np.asarray(values))
        ax.plot(x, np.median(runs, axis=0), label=name, color=colour, linestyle=style, linewidth=2)
        if len(runs) > 1:
            ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.2)
    for name, height in (limits or {}).items():
        ax.axhline(height, color=GREY)
        ax.annotate(name, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#555555")
    for name, point in (marks or {}).items():
        ax.plot(*point, "o", color="black")
        ax.annotate(name, point, (0, 6), textcoords="offset points", ha="center")
    for axis in log:
        ax.set(**{f"{axis}scale": "log"})
    if "x" in log and np.size(x) <= FEW:
        ax.set_xticks(np.asarray(x), [f"{value:g}" for value in np.asarray(x)])
        ax.set_xticks([], minor=True)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), frameon=False)
    return figure


def clips(panels: Mapping[str, tuple[ArrayLike, float, float]], columns: int) -> Figure:
    """Histograms with logarithmic counts, and the range [low, high] that a quantizer covers between two purple lines.

    panels: {title: (data, low, high)}, `columns` of them side by side; those of one row share their horizontal axis.
    """
    rows = -(-len(panels) // columns)
    figure, axes = _figure(2.8 * columns, 1.7 * rows, columns, rows, sharex="row")
    for ax, (title, (x, low, high)) in zip(axes.flat, panels.items(), strict=False):
        ax.hist(np.asarray(x).reshape(-1), 80, color=BLUE, alpha=0.7, log=True)
        ax.vlines([low, high], 0, 1, transform=ax.get_xaxis_transform(), color=PURPLE, linewidth=2)
        ax.set_title(title, fontsize="medium")
        ax.set(yticks=[], xlabel=f"[{low:.3g}, {high:.3g}]")
        ax.minorticks_off()
    return figure


def _figure(width: float, height: float, columns: int = 1, rows: int = 1, **more: Any) -> tuple[Figure, NDArray[Any]]:
    """A figure with rows x columns axes. pyplot forgets it: the caller owns it, and a notebook shows it once."""
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install nanoquant[plot]") from error
    size = (width, height)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, dpi=75, squeeze=False, layout="constrained", **more)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    pyplot.close(figure)
    return figure, axes
