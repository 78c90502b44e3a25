"""Executes the notebooks and stores them with their outputs: python tests/notebooks.py [--check] [name ...]

A name is the beginning of a file's name ("05"); without names, all are executed. Every warning inside a notebook is an
error. Stored are the cells and their outputs, and nothing that changes from run to run or tells of the machine: no
execution counts, no metadata, no absolute paths. `--check` executes and stores nothing. With NANOQUANT_FAST=1 in the
environment notebooks train less and draw fewer examples; their outputs are not meant to be stored.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
TIMEOUT = 300  # seconds for one cell, on a slow machine
PATH = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users|usr|opt|var)/[\w./+-]*")
WARNINGS = "import warnings; warnings.simplefilter('error'); warnings.filterwarnings('ignore', module='ipykernel')"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def paths(names: list[str] | None = None) -> list[Path]:
    """The notebooks whose names begin with one of `names`; all of them by default. ValueError if a name fits none."""
    found = {name: sorted(FOLDER.glob(f"{name}*.ipynb")) for name in names or [""]}
    for name, those in found.items():
        if not those:
            raise ValueError(f"no notebook's name begins with {name!r}")
    return sorted({path for those in found.values() for path in those})


def execute(path: Path) -> Any:
    """The notebook after all its cells have run, in its folder and with no settings of the user's."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WARNINGS))
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    with tempfile.TemporaryDirectory() as settings:
        inline = "module://matplotlib_inline.backend_inline"
        own = {"IPYTHONDIR": settings, "HYPOTHESIS_STORAGE_DIRECTORY": settings, "MPLBACKEND": inline}
        client.execute(env={**os.environ, **own})
    del notebook.cells[0]
    return notebook


def clean(notebook: Any) -> Any:
    """The notebook without what changes from run to run or tells of the machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                clean_output(output)
    return notebook


def clean_output(output: Any) -> None:
    """The same for one output of a cell."""
    if "execution_count" in output:
        output.execution_count = None
    if "text" in output:
        output.text = PATH.sub("<path>", output.text)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = PATH.sub("<path>", content)
    if "metadata" in output:
        output.metadata = {}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Executes the notebooks and stores them with their outputs.")
    parser.add_argument("names", nargs="*", help="beginnings of notebook names (default: all)")
    parser.add_argument("--check", action="store_true", help="execute, store nothing")
    options = parser.parse_args(arguments)
    for path in paths(options.names):
        start = time.perf_counter()
        notebook = execute(path)
        if not options.check:
            nbformat.write(clean(notebook), path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
