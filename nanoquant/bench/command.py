"""`nanoquant bench gemm | conv | elementwise | train | lstm | weights`: measures, prints, draws.

Before: `report`, `plot`. After: `nanoquant.cli`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from ..kernels import native
from ..progress import progress
from . import machine, peers, plot, recurrent, report, train, weights
from .machine import Peak
from .rows import Bench, Row
from .shapes import FORMS, SHAPES, parse

PEERS_ISA = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}}
EPILOG = (
    "A ratio is the peer's time over ours, the median over rounds in which all take turns: above 1 we are ahead. "
    "%peak and %GB/s: of what loops that only multiply, or only move as many bytes, reach in the same rounds."
)
NOTES = {
    "full_range": "weights in [-127, 127]: engines whose multiply saturates are wrong",
    "peers_isa": "oneDNN (onednn, x86) and FBGEMM are held to AVX2; onnxruntime and openvino know no such switch",
    "minima": "times are those of the shortest turns",
}
CONTENDED = "The same while another process keeps one core busy:"


def counts(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(number) for number in text.split(",")]


def add(commands: Any) -> None:
    """Adds the command to a parser's subcommands."""
    bench = commands.add_parser("bench", help="time the kernels against this CPU's limits and other int8 libraries")
    kinds = bench.add_subparsers(required=True, metavar="gemm | conv | elementwise | train | lstm | weights", dest="kind")
    for kind, (form, *_) in FORMS.items():
        command = kinds.add_parser(kind, epilog=EPILOG)
        command.add_argument("--shape", action="append", help=f"{form}, in place of the table's; may be repeated")
        command.add_argument("--threads", type=counts, help="of everybody, as in 1,2 (default 1; 2 with --contend)")
        command.add_argument("--isa", help="our instruction set (default: the best)")
        command.add_argument("--peers", help=f"none, or some of {','.join(peers.PEERS)} (default: those installed)")
        command.add_argument("--peers-isa", choices=PEERS_ISA, help="hold oneDNN and FBGEMM to this instruction set")
        command.add_argument("--full-range", action="store_true", help="weights in [-127, 127] instead of [-63, 63]")
        command.add_argument("--contend", action="store_true", help="then again, while another process takes a core")
        command.add_argument("--rounds", type=int, default=30, choices=range(1, 10_000), metavar="N", help="default 30")
        command.add_argument("--minima", action="store_true", help="shortest turns, not medians: on a machine in use")
        command.add_argument("--quick", action="store_true", help="3 rounds of every fifth row")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--plot", metavar="FILE", help="draw the last table, as in bench.png (nanoquant[plot])")
        command.set_defaults(run=run)
    said = "torch, numpy, onnxruntime: their time over ours, the median over rounds in which all take turns."
    for kind, module in (("train", train), ("lstm", recurrent), ("weights", weights)):
        command = kinds.add_parser(kind, epilog=said)
        if kind == "train":
            command.add_argument("--network", action="append", choices=train.NETWORKS, help="in place of all; may be repeated")
        command.add_argument("--threads", type=counts, default=[1], help="of everybody, as in 1,2 (default 1)")
        command.add_argument("--peers", help="none (default: torch, or onnxruntime, if installed)")
        command.add_argument("--rounds", type=int, default=20, choices=range(1, 10_000), metavar="N", help="default 20")
        command.add_argument("--quick", action="store_true", help="3 rounds, fewer rows")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=module.run)


@contextmanager
def busy_core(contended: bool) -> Iterator[None]:
    """Another process that never rests while we live, on one of our cores."""
    if not contended:
        yield
        return
    core, parent = max(os.sched_getaffinity(0)), os.getpid()
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile os.getppid() == {parent}: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            yield
        finally:
            process.kill()


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install nanoquant[plot]")
    os.environ.update({"NANOQUANT_ISA": options.isa} if options.isa else {}, **PEERS_ISA.get(options.peers_isa, {}))
    shapes = [parse(options.kind, text) for text in options.shape or ()]
    shapes = shapes or SHAPES[options.kind][:: 5 if options.quick else 1]
    names = (options.peers or ",".join(peers.PEERS)).split(",")
    versions, missing = peers.find([] if names == ["none"] else names)
    say = (lambda *_: None) if options.json else _say
    notes = [note for flag, note in NOTES.items() if getattr(options, flag)]
    say(report.participants(versions, missing), *notes)
    runs: list[dict[str, Any]] = []
    for threads in options.threads or ([2] if options.contend else [1]):
        native.set_num_threads(threads)
        peak = Peak()
        limits = machine.measure(peak)
        say(report.limits(limits, threads))
        rounds = 3 if options.quick else options.rounds
        bench = Bench(list(versions), threads, peak, rounds, options.full_range, options.minima)
        alone: list[Row] = []
        for contended in (False, True)[: 1 + options.contend]:
            with busy_core(contended):
                found = [bench.row(shape) for shape in progress(shapes, options.kind, len(shapes))]
            rows, skipped = [r for r in found if isinstance(r, Row)], [r for r in found if isinstance(r, str)]
            slower = report.slowdowns(alone, rows) if contended else {}
            say(CONTENDED if contended else "", report.table(rows), report.footer(rows, skipped, slower))
            runs.append(
                {"threads": threads, "contended": contended, "machine": asdict(limits), "rows": [asdict(r) for r in rows],
                 "summary": report.summary(rows), "skipped": skipped, "slowdowns": slower}
            )  # fmt: skip
            alone = rows
    if options.plot:
        plot.draw(limits, alone, options.plot)
    if options.json:
        print(json.dumps({"peers": versions, "missing": missing, "notes": notes, "runs": runs}, indent=1))


def _say(*paragraphs: str) -> None:
    print("".join(f"{paragraph}\n\n" for paragraph in paragraphs if paragraph), end="", flush=True)
