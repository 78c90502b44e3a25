"""`nanoquant bench gemm | conv | elementwise`.

Before: `report`, `plot`. After: `nanoquant.cli`.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import Any

from ..demo import progress
from ..kernels import native
from . import machine, peers, report, rows
from .shapes import FORMS, SHAPES, parse
from .timing import Effort

PEERS_ISA = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}}
EPILOG = "Ratios are a peer's time over ours, medians over rounds in which all take turns: above 1 ours is faster."


def add(commands: Any) -> None:
    """Adds the command to a parser's subcommands."""
    bench = commands.add_parser("bench", help="time the kernels against this CPU's limits and other int8 libraries")
    kinds = bench.add_subparsers(required=True, metavar="gemm | conv | elementwise", dest="kind")
    for name, (form, *_) in FORMS.items():
        command = kinds.add_parser(name, epilog=EPILOG)
        command.add_argument("--shape", action="append", help=f"instead of the table's: {form}; may be repeated")
        command.add_argument("--threads", default="1", help="one or more numbers of threads, as in 1,2 (default 1)")
        command.add_argument("--isa", help="our instruction set (default: the best)")
        command.add_argument("--peers", help=f"of {','.join(peers.PEERS)} (default: those installed); 'none' for none")
        command.add_argument("--peers-isa", choices=PEERS_ISA, help="hold oneDNN and FBGEMM to this; onnxruntime has no such")
        command.add_argument("--full-range", action="store_true", help="weights in [-127, 127] instead of [-63, 63]")
        command.add_argument("--rounds", type=int, default=30, help="turns for each contestant (default 30)")
        command.add_argument("--quick", action="store_true", help="3 rounds, and every fourth row")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    if options.isa:
        os.environ["NANOQUANT_ISA"] = options.isa
    if options.peers_isa:
        os.environ.update(PEERS_ISA[options.peers_isa])
    shapes = [parse(options.kind, text) for text in options.shape or ()] or SHAPES[options.kind][:: 4 if options.quick else 1]
    versions = {} if options.peers == "none" else peers.find(options.peers.split(",") if options.peers else [])
    names = [name for name, version in versions.items() if not version.startswith("not here")]
    runs = []
    for threads in map(int, options.threads.split(",")):
        native.set_num_threads(threads)
        effort = Effort(3 if options.quick else options.rounds, settle=2e-3 if threads > 1 else 0.0)
        limits, peak = machine.measure(), machine.Peak()
        if not options.json:
            print(report.header(limits, threads, versions), end="\n\n")
        measured = [
            rows.measure(shape, names, threads, peak, effort, options.full_range)
            for shape in progress(shapes, options.kind, len(shapes))
        ]
        runs.append({"machine": asdict(limits), "threads": threads, "rows": [asdict(row) for row in measured]})
        if not options.json:
            print(report.table(measured, names), report.footer(measured), sep="\n\n", end="\n\n")
    if options.json:
        print(json.dumps({"peers": versions, "full_range": options.full_range, "runs": runs}, indent=1))
