"""bench and csrc/peak.c: shapes and their arithmetic, the loops, the report. No time is asserted anywhere."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nanoquant import cli, nn
from nanoquant.bench import command, machine, peers, plot, recurrent, report, shapes, timing, train, weights
from nanoquant.bench.data import Data, Runner, ours
from nanoquant.bench.rows import Bench, Row
from nanoquant.bench.shapes import FORMS, SHAPES, conv, elementwise, gemm, parse
from nanoquant.kernels import native
from nanoquant.kernels.native import aligned, available_isas, ffi, lib, pointer

ROW = Row(
    "net", "2x3x4", 0.5, 1e-3, 0.1, 12.5, 3.0, 25.0, 5.0, 90.0, {"fbgemm": 2.0, "x86": 0.5}, {"fbgemm": 0.0, "x86": 1.5}, {}
)
MACHINE = machine.Machine("a CPU", "ref", 100.0, "imul", {"L1": 1}, {"L1": 50.0}, {"L1": 40.0})


# ---- shapes ------------------------------------------------------------------------------------------------------------


def test_the_arithmetic_of_shapes() -> None:
    s = gemm(128, 768, 3072)
    assert (s.macs, s.read, s.written) == (301_989_888, 98_304 + 2_359_296, 393_216)
    s = conv(1, 224, 224, 3, 64, 7, 2, 3)
    assert s.out == (1, 112, 112, 64)
    assert (s.M, s.K, s.N, s.macs) == (12_544, 147, 64, 118_013_952)
    assert (s.read, s.written) == (150_528 + 9_408, 802_816)
    s = conv(1, 14, 14, 576, 576, 3, 2, 1, 576)  # depthwise
    assert (s.out, s.M, s.K, s.N, s.macs) == ((1, 7, 7, 576), 49, 9, 1, 49 * 9 * 576)
    assert s.read == 14 * 14 * 576 + 9 * 576
    s = elementwise("quantize", 1000)
    assert (s.read, s.written, s.macs) == (4000, 1000, 0)
    s = elementwise("max_pool2d", 4096)
    assert (s.image, s.read, s.written) == ((1, 8, 8, 64), 4096, 1024)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_row_can_be_named_by_its_text(kind: str) -> None:
    for shape in SHAPES[kind]:
        again = parse(kind, shape.text)
        assert (again.image, again.out, again.macs, again.read) == (shape.image, shape.out, shape.macs, shape.read)
    assert len({shape.text for shape in SHAPES[kind]}) == len(SHAPES[kind])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gemm", "2x3"), ("gemm", "2x3x4x5"), ("gemm", "0x3x4"), ("gemm", "-2x3x4"), ("gemm", ""), ("gemm", "axbxc"),
        ("conv", "1x8x8x4"), ("conv", "1x8x8x4:8"), ("conv", "1x8x8x4:8:3:0"), ("conv", "1x8x8x4:8:3:1:1:0"),
        ("conv", "1x8x8x4:8:3:1:1:4:1"), ("elementwise", "quantize"), ("elementwise", "sqrt:10"), ("elementwise", "add:0"),
    ],
)  # fmt: skip
def test_a_shape_that_is_none_shows_the_form(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"--shape must be .*, as in ") as error:
        parse(kind, text)
    assert str(error.value) == f"--shape must be {FORMS[kind][0]}; got {text!r}"


@pytest.mark.parametrize("text", ["1x8x8x4:8:9", "1x8x8x4:8:3:1:1:3", "1x8x8x4:6:3:1:1:4"])
def test_a_convolution_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="groups must divide both channel counts, and the kernel must fit the image"):
        parse("conv", text)


# ---- the loops in C ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 3])
def test_the_peak_counts_what_it_multiplies(isa: str, threads: int) -> None:
    number, macs, before = native.isa_number(isa), ffi.new("int64_t *"), native.get_num_threads()
    native.set_num_threads(threads)
    try:
        assert (ffi.string(lib.nq_peak_name(number, 0)) == b"imul, add") == (isa == "ref")
        for chain in (0, 1):
            if lib.nq_peak_name(number, chain) != ffi.NULL:
                assert lib.nq_peak(number, chain, 10, macs) == lib.NQ_OK
                assert macs[0] > 0
                assert macs[0] % (4 * 10 * threads) == 0
        assert lib.nq_peak_name(number, 2) == lib.nq_peak_name(number, -1) == ffi.NULL
        for chain, rounds in ((2, 10), (-1, 10), (0, 0), (0, 1 << 31)):
            assert lib.nq_peak(number, chain, rounds, macs) == lib.NQ_BAD_ARGUMENT
    finally:
        native.set_num_threads(before)
    assert lib.nq_peak(99, 0, 10, macs) == lib.NQ_BAD_ARGUMENT


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("pattern", machine.PATTERNS)
@pytest.mark.parametrize("blocks", [1, 2, 255, 257, 2048])
def test_a_stream_writes_its_blocks_and_nothing_else(isa: str, pattern: int, blocks: int) -> None:
    read, written = (blocks * size for size in machine.PATTERNS[pattern])
    source, target = aligned(read), aligned(written + 64)
    source.fill(0)
    target.fill(0xA5)
    assert lib.nq_stream(native.isa_number(isa), pattern, blocks, 2, pointer("char[]", source), pointer("char[]", target)) == 0
    assert (target[:written] == 0).all()
    assert (target[written:] == 0xA5).all()


def test_a_stream_checks_its_arguments() -> None:
    memory = pointer("char[]", aligned(1024))
    for isa, pattern, blocks, passes in ((99, 0, 1, 1), (0, 4, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0)):
        assert lib.nq_stream(isa, pattern, blocks, passes, memory, memory) == lib.NQ_BAD_ARGUMENT
    assert lib.nq_stream(0, 0, 1, 1, memory + 8, memory) == lib.NQ_BAD_ARGUMENT
    assert lib.nq_stream(0, 0, 1, 1, memory, memory + 8) == lib.NQ_BAD_ARGUMENT


def test_caches() -> None:
    assert list(machine.caches()) == ["L1", "L2", "L3"]
    assert all(size >= 1 << 10 for size in machine.caches().values())


# ---- what is measured --------------------------------------------------------------------------------------------------


def test_the_data_cannot_saturate_by_default() -> None:
    safe, full = Data(gemm(1, 64, 64)), Data(gemm(1, 64, 64), full_range=True)
    assert int(np.abs(safe.weights).max()) == 63
    assert int(np.abs(full.weights.astype(int)).max()) == 127
    assert np.array_equal(safe.x, Data(gemm(1, 64, 64)).x)


@pytest.mark.parametrize("text", ["gemm 5x33x18", "conv 2x9x8x6:4:3:2:1:2", "conv 1x7x7x3:5:1"])
def test_ours_is_the_layer_that_the_data_describe(text: str) -> None:
    data = Data(parse(*text.split()), full_range=True)
    s, runner = data.shape, ours(data)
    weights = data.weights.reshape(s.out[3], s.K // s.kernel**2, s.kernel, s.kernel).astype(np.int64)
    x = np.pad(data.x.astype(np.int64) - 120, ((0, 0), (s.padding,) * 2, (s.padding,) * 2, (0, 0)))
    if s.operation == "linear":
        x = x[:, :1]
    expected = np.zeros(s.out)
    per_group, depth = s.out[3] // s.groups, weights.shape[1]
    for b, i, j, n in np.ndindex(*s.out):
        group = n // per_group * depth
        window = x[b, i * s.stride : i * s.stride + s.kernel, j * s.stride : j * s.stride + s.kernel, group : group + depth]
        acc = int((window.transpose(2, 0, 1) * weights[n]).sum()) + int(data.bias_integers[n])
        expected[b, i, j, n] = np.clip(np.rint(acc * 0.02 * float(data.w_scale[n]) / data.y_scale) + 128, 0, 255)
    found = runner.integers(runner.run()).reshape(s.out)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() < 0.01
    assert found.std() > 20  # the outputs fill the bytes


def test_turns_are_taken_in_every_round() -> None:
    order: list[str] = []
    times = timing.interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=4)
    assert {name: array.shape for name, array in times.items()} == {"a": (4,), "b": (4,)}
    assert all((array > 0).all() for array in times.values())
    turns = "".join(name for name, _ in itertools.groupby(order))
    assert turns == "abababa"  # calibration; then rounds ab, ba, ab, ba, whose equal neighbours are one here


@pytest.mark.parametrize(("spins", "waits"), [(0, 1), (3, 4), (1000, 250)])
def test_a_turn_waits_for_idle_workers_that_spin(monkeypatch: pytest.MonkeyPatch, spins: int, waits: int) -> None:
    """For as long as the process computes while the caller sleeps, and not for ever."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, perf_counter=lambda: sum(slept), process_time=lambda: sum(slept[:spins]))
    monkeypatch.setattr(timing, "time", clock)
    timing.settle(seconds=250 * timing.REST - 1e-9)
    assert len(slept) == waits


def test_peers_are_found_or_their_absence_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "absent", ("no_such_module", "numpy", lambda *_: None))
    versions, missing = peers.find(["numpy", "absent"])
    assert versions == {"numpy": f"numpy {np.__version__}"}
    assert missing == {"absent": "No module named 'no_such_module'"}
    with pytest.raises(ValueError, match="--peers takes none, or some of numpy,fbgemm,.*; got 'mkl'"):
        peers.find(["mkl"])


def test_a_peer_that_fails_or_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Runner:
        raise RuntimeError("no such kernel\nand a trace")

    monkeypatch.setitem(peers.PEERS, "failing", ("numpy", "numpy", failing))
    monkeypatch.setitem(peers.PEERS, "zero", ("numpy", "numpy", lambda *_: Runner(lambda: np.zeros(18), np.asarray)))
    row = Bench(["failing", "zero"], 1, machine.Peak(), 3).row(gemm(1, 33, 18))
    assert isinstance(row, Row)
    assert row.missing == {"failing": "no such kernel"}
    assert row.errors["zero"] > 50
    text = report.footer([row], [], {})
    assert "! zero: wrong in 1 of 1 rows, by " in text
    assert text.endswith("- failing: no such kernel")


def test_numpy_as_a_peer() -> None:
    """OpenBLAS computes what we compute, but for rounding."""
    row = Bench(["numpy"], 1, machine.Peak(), 3).row(gemm(4, 64, 48))
    assert isinstance(row, Row)
    if "numpy" in row.missing:
        pytest.skip(row.missing["numpy"])
    assert row.errors["numpy"] < 0.01


@pytest.mark.filterwarnings("ignore")  # theirs, while they are imported
@pytest.mark.parametrize("name", [name for name in peers.PEERS if name != "numpy"])
@pytest.mark.parametrize(
    "text", ["gemm 5x64x48", "conv 1x9x8x16:32:3:2:1", "conv 1x9x8x16:16:3:1:1:16", "elementwise dequantize:99"]
)
def test_peers_compute_what_we_compute(name: str, text: str) -> None:
    """In the layouts that the bench gives them, on data that cannot saturate."""
    versions, missing = peers.find([name])
    if not versions:
        pytest.skip(missing[name])
    row = Bench([name], 1, machine.Peak(), 1).row(parse(*text.split()))
    assert isinstance(row, Row)
    if name in row.missing:
        pytest.skip(row.missing[name])
    assert row.errors[name] < 0.01


# ---- what is shown -----------------------------------------------------------------------------------------------------


def test_the_table() -> None:
    assert report.table([ROW]).split("\n") == [
        "     shape      us  +-%  GOPS  %peak  GB/s  %GB/s  %gemm  fbgemm    x86",
        "net  2x3x4  1000.0    5  12.5   25.0   3.0    5.0   90.0    2.00   0.50!",
    ]


def test_the_summary() -> None:
    assert report.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    other = replace(ROW, ratios={"x86": 8.0}, errors={"x86": 0.0})
    total = report.summary([ROW, other])
    assert total == {"rows": 2, "geometric_mean": pytest.approx(2.0), "ahead": 0.5, "minimum": 0.5}
    assert report.summary([]) == {}
    assert report.footer([ROW, other], ["add:1: none"], {"ours": 1.5}).split("\n") == [
        "against the fastest peer of each of 2 rows: geometric mean 2.000, ahead in 50%, minimum 0.50",
        "times as long as alone: ours 1.50",
        "! x86: wrong in 1 of 2 rows, by 1.50 to 1.50 steps on average",
        "- add:1: none",
    ]


def test_the_slowdowns() -> None:
    slow = replace(ROW, seconds=4e-3, ratios={"fbgemm": 6.0})
    assert report.slowdowns([ROW], [slow]) == {"ours": pytest.approx(4.0), "fbgemm": pytest.approx(12.0)}


def test_the_limits() -> None:
    assert (
        report.limits(MACHINE, 2) == "a CPU, ref, threads: 2, peak: 100 GOPS (imul)\nGB/s read (4 read to 1 written): L1 50 (40)"
    )
    assert report.participants({"a": "a 1"}, {"b": "not found"}) == "a: a 1\nno b: not found"


@pytest.mark.parametrize("gops", [12.5, 0.0])
def test_the_picture(tmp_path: Path, gops: float) -> None:
    pytest.importorskip("matplotlib")
    plot.draw(MACHINE, [replace(ROW, gops=gops)], str(tmp_path / "bench.png"))
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


# ---- the command -------------------------------------------------------------------------------------------------------


def bench(*arguments: str) -> int:
    return cli.main(["bench", *arguments, "--quick", "--peers", "none"])


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command sets is set back, the number of threads included."""
    for name in ("NANOQUANT_ISA", "ONEDNN_MAX_CPU_ISA", "FBGEMM_ENABLE_INSTRUCTIONS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(native, "set_num_threads", lambda threads: None)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("kind", "shape", "columns"),
    [
        ("gemm", "5x64x48", "shape us +-% GOPS %peak GB/s %GB/s"),
        ("conv", "1x9x9x8:16:3:1:1", "shape us +-% GOPS %peak GB/s %GB/s %gemm"),
        ("conv", "1x9x9x8:8:3:1:1:8", "shape us +-% GOPS %peak GB/s %GB/s"),
        ("elementwise", "quantize:1000", "shape us +-% GB/s %GB/s"),
        ("elementwise", "max_pool2d:256", "shape us +-% GB/s %GB/s"),
    ],
)
def test_the_command(kind: str, shape: str, columns: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(kind, "--shape", shape, "--full-range", "--isa", "ref", "--threads", "1,2") == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "weights in [-127, 127]: engines whose multiply saturates are wrong"
    for threads in (1, 2):
        assert any(f", ref, threads: {threads}, peak: " in line for line in lines)
    heads = [i for i, line in enumerate(lines) if line.split() == columns.split()]
    assert len(heads) == 2
    assert all(lines[i + 1].split()[0] == shape for i in heads)


@pytest.mark.usefixtures("environment")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("gemm", "--shape", "4x32x16", "--contend", "--peers-isa", "avx2", "--isa", "ref", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"peers", "missing", "notes", "runs"}
    assert answer["notes"] == [command.NOTES["peers_isa"]]
    assert [(run["threads"], run["contended"]) for run in answer["runs"]] == [(2, False), (2, True)]
    for run in answer["runs"]:
        assert set(run) == {"threads", "contended", "machine", "rows", "summary", "skipped", "slowdowns"}
        assert set(run["machine"]) == set(machine.Machine.__dataclass_fields__)
        assert list(run["machine"]["read_gbs"]) == ["L1", "L2", "L3", "DRAM"]
        (row,) = run["rows"]
        assert set(row) == set(Row.__dataclass_fields__)
        assert row["shape"] == "4x32x16"
        assert row["intensity"] == 2 * 2048 / (4 * 32 + 32 * 16 + 4 * 16)
        assert row["gops"] == pytest.approx(2e-9 * 2048 / row["seconds"])
    assert set(answer["runs"][1]["slowdowns"]) == {"ours"}


@pytest.mark.usefixtures("environment")
def test_the_command_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    assert bench("gemm", "--shape", "4x32x16", "--isa", "ref", "--plot", str(path)) == 0
    assert path.stat().st_size > 1000
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bench("gemm", "--plot", str(path)) == 1
    assert capsys.readouterr().err == "nanoquant: --plot needs matplotlib: pip install nanoquant[plot]\n"


@pytest.mark.parametrize("arguments", [["--threads", "two"], ["--rounds", "0"], ["--peers-isa", "sse"]])
def test_wrong_flags(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench("gemm", *arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_row_that_we_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.OPERATIONS, "erf", (1, 1))
    found = Bench([], 1, machine.Peak(), 3).row(elementwise("erf", 10))
    assert found == "erf:10: module 'nanoquant.ops.quantized' has no attribute 'erf'"


# ---- training ----------------------------------------------------------------------------------------------------------


def test_training_rows_are_measured_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "train", "--network", "resnet8", "--rounds", "1", "--peers", "none"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[-2:]] == [["ResNet-8", "float"], ["ResNet-8", "QAT"]]
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["mode"], row["threads"], row["ratio"]) for row in found["rows"]] == [("float", 1, None), ("QAT", 1, None)]
    assert all(row["epoch"] == pytest.approx(row["seconds"] * 50_000 / 32) for row in found["rows"])


def test_the_networks_of_the_bench_are_the_same_on_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for network in train.NETWORKS.values():
        own, other = network.make(vars(network.source)), network.make(train.source_on(torch, network.source))
        other.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in own.state_dict().items()})
        x = np.random.default_rng(0).standard_normal((2, *network.shape[1:]), dtype=np.float32)
        y = np.asarray(own.eval()(x).detach()), other.eval()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(*y, rtol=1e-4, atol=1e-5)


def test_lstm_rows_are_measured_and_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "SIZES", ((3, 2, 4, 5, 2),))
    assert cli.main(["bench", "lstm", "--rounds", "1", "--peers", "none", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["shape"], list(row["ratios"])) == ([3, 2, 4, 5, 2], ["numpy float32"])
    assert cli.main(["bench", "lstm", "--rounds", "1", "--peers", "none"]) == 0
    assert capsys.readouterr().out.split("\n")[1].split()[:6] == ["3", "2", "4", "5", "2", "1"]


def test_weight_rows_are_measured_and_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SIZES", ((2, 64, 48, 32, 4),))
    assert cli.main(["bench", "weights", "--rounds", "1", "--peers", "none", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["shape"], row["ratios"]) == ([2, 64, 48, 32, 4], {})
    assert 0 < row["percent_of_bandwidth"] < 200
    assert cli.main(["bench", "weights", "--rounds", "1", "--peers", "none"]) == 0
    assert capsys.readouterr().out.split("\n")[1].split()[:6] == ["2", "64", "48", "32", "4", "1"]


def test_the_peers_of_weights_compute_the_same() -> None:
    modules = tuple(pytest.importorskip(n, reason=f"{n} is not installed") for n in ("onnxruntime", "onnx"))
    x = np.random.default_rng(1).standard_normal((2, 64), np.float32)
    exact, rounded = (weights.matmul_nbits(modules, (2, 64, 48, 32, 4), n, 1).run(None, {"x": x})[0] for n in (0, 4))
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_the_textbook_is_the_layer() -> None:
    layer = nn.LSTM(4, 5, 2)
    x = np.random.default_rng(0).standard_normal((3, 2, 4), dtype=np.float32)
    np.testing.assert_allclose(recurrent.textbook(layer, x)(), np.asarray(layer(x)[0].detach()), rtol=1e-4, atol=1e-6)
