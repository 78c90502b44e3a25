"""The command `nanoquant`: `info`, `demo` and `bench`.

Before: `nanoquant.demo`. After: the end; read the tests next.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import __version__, demo, nn, observers
from .bench import command as bench
from .kernels import native
from .kernels.engine import quantized as backend
from .module import Module
from .nn import intrinsic, qat, quantized
from .numerics import ENGINES, Profile


def info() -> dict[str, Any]:
    """What this installation is and can do."""
    spaces = (nn, intrinsic, qat, quantized, quantized.dynamic)
    return {
        "nanoquant": __version__, "python": platform.python_version(), "numpy": np.__version__,
        "compiler": native.compiler(), "machine": platform.machine(),
        "cpu features": ", ".join(native.cpu_features()) or "none asked for",
        "isa": native.isa_names()[native.isa_number()],
        "kernels": {name: native.isa_status(name) for name in native.isa_names()},
        "threads": native.get_num_threads(), "engines": {name: profile.name for name, profile in ENGINES.items()},
        "engine": backend.engine, "profiles": [profile.name for profile in Profile],
        "observers": _classes(observers, observers.Observer),
        "modules": {space.__name__.removeprefix("nanoquant."): _classes(space, Module) for space in spaces},
    }  # fmt: skip


def _classes(space: Any, base: type[Any]) -> list[str]:
    """The subclasses of `base` that a package, and no other, offers."""
    kinds = [v for v in vars(space).values() if isinstance(v, type) and issubclass(v, base) and v is not base]
    return [kind.__name__ for kind in kinds if kind.__module__.startswith(space.__name__)]


def print_info(options: argparse.Namespace) -> None:
    """`nanoquant info`."""
    facts = info()
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    for name, fact in facts.items():
        if isinstance(fact, dict):
            print(f"{name}:", *(f"  {key:20} {_words(value)}" for key, value in fact.items()), sep="\n")
        else:
            print(f"{name}: {_words(fact)}")


def _words(fact: Any) -> str:
    """A fact on one line."""
    if isinstance(fact, dict):
        fact = [f"{key} {value}" for key, value in fact.items()]
    return ", ".join(fact) if isinstance(fact, list) else str(fact)


def run_demo(options: argparse.Namespace) -> None:
    """`nanoquant demo`."""
    effort = demo.QUICK if options.quick else demo.FULL
    rows = demo.build(options.seed, effort)
    demo.measure(rows, effort)
    if options.json:
        print(json.dumps({"rows": [row.as_json() for row in rows]}))
        return
    print(
        f"{platform.machine()}, {native.isa_names()[native.isa_number()]}, {native.get_num_threads()} threads, "
        f"seed {options.seed}\n"
    )
    print(demo.table(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="nanoquant", description="Quantize neural networks to int8, and run them on a CPU.")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("info", help="what this installation is and can do")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=print_info)
    command = commands.add_parser("demo", help="train on handwritten digits, quantize in three ways, compare")
    command.add_argument("--seed", type=int, default=0, help="of the initial weights and the order of the data (default 0)")
    command.add_argument("--quick", action="store_true", help="train for seconds only; accuracies are then lower")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run_demo)
    bench.add(commands)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except ValueError as error:
        print(f"nanoquant: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, head say, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for the interpreter's own last flush)
    return 0


if __name__ == "__main__":
    sys.exit(main())
