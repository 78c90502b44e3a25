"""viz: what is drawn. The backend is Agg, which needs no screen."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from processes import run_python

from nanoquant import affine, viz
from nanoquant.qparams import QParams
from nanoquant.scheme import qint8

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install nanoquant[plot]")
matplotlib.use("Agg")

THREE_BITS = QParams(0.5, 2, quant_min=0, quant_max=7)


def texts(axes: Any) -> list[str]:
    return [t.get_text() for t in axes.texts if t.get_text()]


def test_number_line_labels_codes_and_reals() -> None:
    (ax,) = viz.number_line(THREE_BITS).axes
    assert texts(ax) == [str(v) for code in range(8) for v in (code, f"{0.5 * (code - 2):.3g}")]
    coloured = {t.get_text() for t in ax.texts if t.get_color() == viz.ORANGE}
    assert coloured == {"2"}
    segments = ax.collections[0].get_segments()
    assert [float(s[0][0]) for s in segments] == [0.5 * (q - 2) for q in range(8)]


def test_number_line_shows_where_data_lands() -> None:
    (ax,) = viz.number_line(THREE_BITS, [0.1, 0.7, 99.0]).axes
    arrows = [t for t in ax.texts if not t.get_text()]
    assert [float(a.xy[0]) for a in arrows] == [0.0, 0.5, 2.5]
    assert ax.lines[0].get_xdata().tolist() == np.float32([0.1, 0.7, 99.0]).tolist()


@pytest.mark.parametrize("data", [[], [2.0, 3.0]])
def test_a_long_number_line_labels_a_few_codes_and_the_zero_point(data: list[float]) -> None:
    (ax,) = viz.number_line(QParams(1 / 255, -60, qint8), data).axes
    labels = [t.get_text() for t in ax.texts if t.get_position()[1] == -0.7]
    assert 2 <= len(labels) <= 17
    assert "-60" in labels
    assert len(ax.collections[0].get_segments()) == 256


def test_grids_mark_those_that_hold_zero() -> None:
    (ax,) = viz.grids({"with": [-1, 0, 1], "without": [-0.5, 0.5], "offset": [-1.5, 0]}, -2, 2).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["with", "without", "offset"]
    assert [line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "o"] == [[0], [2]]
    assert [len(c.get_segments()) for c in ax.collections] == [3, 2, 2]


def test_staircase() -> None:
    figure = viz.staircase(THREE_BITS, -2, 3)
    figure.draw_without_rendering()
    top, bottom = figure.axes
    original, mapped = top.lines
    x, y = original.get_xdata(), mapped.get_ydata()
    assert np.array_equal(y, affine.fake_quantize(x, 0.5, 2, 0, 7))
    assert np.array_equal(bottom.lines[0].get_ydata(), y - x)
    (codes,) = top.child_axes
    assert codes.get_ylabel() == "code"
    low, high = codes.get_ylim()
    assert np.allclose([low, high], [r / 0.5 + 2 for r in top.get_ylim()])
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in bottom.patches]
    assert spans == [(-2, -1), (2.5, 3)]


def test_triptych_prints_what_is_computed() -> None:
    x = np.float32([[-1, 0.26], [0, 9.0]])
    original, codes, back = viz.triptych(x, THREE_BITS).axes
    assert texts(original) == ["-1.000", "0.260", "0.000", "9.000"]
    assert texts(codes) == ["0", "3", "2", "7"]
    assert texts(back) == ["-1.000", "0.500", "0.000", "2.500"]
    assert [ax.get_title() for ax in (original, codes, back)] == [
        "original (float32)",
        "codes (uint8)",
        "reconstruction (float32)",
    ]
    assert np.array_equal(codes.images[0].get_array(), back.images[0].get_array())


def test_triptych_per_channel() -> None:
    qparams = QParams([0.5, 0.25], [0, 10], qint8, axis=0)
    _, codes, _ = viz.triptych([[1.0], [1.0]], qparams).axes
    assert texts(codes) == ["2", "14"]


def test_matrices() -> None:
    figure = viz.matrices(
        {"a": [[1, -2, 3]], "b": [[4], [5]], "c": [["x", "y"]]},
        signs=["="],
        rows=["only"],
        columns=["p", "q", "r"],
        x_label="k",
        block=(1, 2),
        shades={"c": [[0, 1]]},
    )
    a, b, c = figure.axes
    assert (texts(a), texts(b), texts(c)) == (["1", "-2", "3"], ["4", "5", "="], ["x", "y"])
    assert [t.get_text() for t in a.get_yticklabels()] == ["only"]
    assert [t.get_text() for t in a.get_xticklabels()] == ["p", "q", "r"]
    assert a.get_xlabel() == "k"
    assert [line.get_xdata()[0] for line in a.lines] == [1.5]  # a vertical edge after two columns
    assert [line.get_ydata()[0] for line in b.lines] == [0.5]  # a horizontal one after one row


def test_bars() -> None:
    panels = {"bytes": {"float32": 400.0, "int8": 100.0}, "drift": {"float32": 0.0, "int8": -0.25}}
    size, drift = viz.bars(panels, ["{:.0f}", "{:+.2f}"]).axes
    assert [p.get_width() for p in size.patches] == [400, 100]
    assert texts(size) == ["400", "100"]
    assert texts(drift) == ["+0.00", "-0.25"]
    assert (size.get_xlabel(), drift.get_xlabel()) == ("bytes", "drift")
    assert [t.get_text() for t in size.get_yticklabels()] == ["float32", "int8"]
    low, high = drift.get_xlim()
    assert low < -0.25
    assert high > 0


def test_lines() -> None:
    (ax,) = viz.lines([1, 2], {"up": [0, 1], "down": [1, 0]}, "codes", "reals", {"limit": 0.5}).axes
    assert [line.get_label() for line in ax.lines[:2]] == ["up", "down"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["up", "down"]
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines[:2]}) == 2
    assert ax.lines[2].get_ydata() == [0.5, 0.5]
    assert texts(ax) == ["limit"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("codes", "reals")


def test_lines_of_several_runs_have_a_band() -> None:
    (ax,) = viz.lines([1, 10], {"runs": [[0, 1], [2, 5], [1, 9]]}, "", "", marks={"here": (10, 5)}, log="x").axes
    curve, dot = ax.lines
    assert curve.get_ydata().tolist() == [1, 5]
    heights = {tuple(v) for v in ax.collections[0].get_paths()[0].vertices.tolist()}
    assert {(1, 0), (1, 2), (10, 1), (10, 9)} <= heights
    assert (dot.get_xdata().tolist(), dot.get_ydata().tolist()) == ([10], [5])
    assert texts(ax) == ["here"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")


def test_a_logarithmic_axis_names_a_few_values_and_otherwise_powers_of_ten() -> None:
    (ax,) = viz.lines([4, 64, 2048], {"few": [1, 2, 3]}, "", "", log="xy").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "64", "2048"]
    assert ax.get_yscale() == "log"
    (ax,) = viz.lines(range(1, 101), {"many": range(100)}, "", "", log="x").axes
    assert {1.0, 10.0, 100.0} <= set(ax.get_xticks().tolist())


def test_clips() -> None:
    figure = viz.clips({"a": ([0.0, 1.0, 1.0], 0, 2), "b": ([0.0, 4.0], -1, 1), "c": ([5.0, 6.0], 0, 9.5)}, columns=2)
    a, b, c, empty = figure.axes
    assert [ax.get_title() for ax in (a, b, c)] == ["a", "b", "c"]
    assert [ax.get_xlabel() for ax in (a, b, c)] == ["[0, 2]", "[-1, 1]", "[0, 9.5]"]
    assert sorted(p.get_height() for p in a.patches if p.get_height()) == [1, 2]
    assert [float(s[0][0]) for s in c.collections[0].get_segments()] == [0, 9.5]
    assert a.get_xlim() == b.get_xlim() != c.get_xlim()
    assert a.get_xlim()[0] < -1
    assert not empty.patches


def test_nothing_is_shown() -> None:
    from matplotlib import pyplot

    viz.number_line(THREE_BITS)
    assert pyplot.get_fignums() == []


def test_without_matplotlib_the_error_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"drawing needs matplotlib: pip install nanoquant\[plot\]"):
        viz.number_line(THREE_BITS)


def test_importing_viz_does_not_import_matplotlib() -> None:
    run_python("-c", "import sys, nanoquant.viz; assert 'matplotlib' not in sys.modules")
