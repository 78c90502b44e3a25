"""demo and the command line."""

from __future__ import annotations

import json

import pytest
from processes import run_python

from nanoquant import cli, demo
from nanoquant.demo import Row


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for part in (
        "compiler: ",
        "cpu features: ",
        "isa: ",
        "threads: ",
        "gemm native",
        "engines:",
        "profiles: fbgemm, qnnpack, onednn, ort, tflite, tflite_single",
    ):
        assert part in text
    assert "HistogramObserver" in text
    assert "ConvReLU2d" in text
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "x86"


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NANOQUANT_ISA", "sse9")
    assert cli.main(["info"]) == 1
    assert capsys.readouterr().err.startswith("nanoquant: instruction set 'sse9'")


def test_the_demo() -> None:
    """The quick demo, as a user runs it: JSON on stdout, every row complete, int8 close to float and much smaller."""
    output = run_python("-m", "nanoquant", "demo", "--quick", "--json", "--seed", "1").stdout
    rows = json.loads(output)["rows"]
    assert [row["name"] for row in rows[:4]] == ["float32", "dynamic", "static", "qat"]
    assert len(rows) == 10
    for row in rows:
        assert set(row) == {"name", "accuracy", "bytes", "latency_ms", "sqnr_db"}
        assert set(row["latency_ms"]) == {"1", "64"}
    by_name = {row["name"]: row for row in rows}
    assert by_name["float32"]["sqnr_db"] is None
    assert by_name["float32"]["bytes"] > 3.5 * by_name["static"]["bytes"]
    assert abs(by_name["static"]["accuracy"] - by_name["float32"]["accuracy"]) < 0.02
    assert by_name["static"]["sqnr_db"] > 20


def test_the_table_shows_losses_and_why() -> None:
    rows = [
        Row("float32", demo.DigitsCNN(), 0.99, 400, {"1": 1.0, "64": 10.0}),
        Row("dynamic", demo.DigitsCNN(), 0.99, 390, {"1": 1.1, "64": 9.0}, 40.0),
        Row("static", demo.DigitsCNN(), 0.98, 100, {"1": 1.5, "64": 2.0}, 30.0),
        Row("qat", demo.DigitsCNN(), 0.98, 100, {"1": 0.5, "64": 2.0}, 30.0),
    ]
    table = demo.table(rows)
    assert "4.00x" in table
    assert "dynamic is not faster at batch 1: only the last layer, 0.2% of the multiplications, is int8" in table
    assert "static is not faster at batch 1: the network is so small" in table
    assert "qat is not faster" not in table
