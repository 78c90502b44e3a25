"""The notebooks run, keep to their form, and are stored clean."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest
from processes import run_python

for module in ("nbclient", "ipykernel", "matplotlib"):
    pytest.importorskip(module, reason=f"notebooks need {module}: pip install nanoquant[test]")
nbformat: Any = pytest.importorskip("nbformat", reason="notebooks need nbformat: pip install nanoquant[test]")
notebooks: Any = pytest.importorskip("notebooks", reason="notebooks.py stands beside this file")

TOOL = Path(notebooks.__file__)
each = pytest.mark.parametrize("path", notebooks.paths(), ids=lambda p: p.stem)


def read(path: Path) -> tuple[Any, list[Any], str]:
    """(the notebook, its code cells, its prose)"""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return notebook, code, prose


def printed(code: list[Any]) -> list[str]:
    """Every text that the outputs hold."""
    outputs = [output for cell in code for output in cell.outputs]
    return [o.text for o in outputs if "text" in o] + [
        str(content) for o in outputs for kind, content in o.get("data", {}).items() if kind.startswith("text/")
    ]


@each
def test_it_runs_without_a_warning(path: Path) -> None:
    run_python(str(TOOL), "--check", path.stem, NANOQUANT_FAST="1")


@each
def test_it_keeps_to_the_form(path: Path) -> None:
    notebook, code, prose = read(path)
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} ")
    assert "seed(0)" in code[0].source
    assert any(re.search(r"^\s*assert ", cell.source, re.MULTILINE) for cell in code)
    for cell in code:
        assert len(cell.source.splitlines()) <= 15, cell.id
    for part in ("This answers ", "## Predict first", "easured and reported", "## Summary", "## Exercises"):
        assert part in prose
    assert prose.count("<details>") == prose.count("</details>") == 3
    assert "Spot the error" in prose
    assert notebook.cells[-1].source.startswith("## What was left out")


@each
def test_it_is_stored_clean_and_with_outputs(path: Path) -> None:
    notebook, code, _ = read(path)
    assert path.stat().st_size < 600_000
    assert all(cell.execution_count is None for cell in code)
    assert not any(cell.metadata for cell in notebook.cells)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for c in code for output in c.outputs)
    for text in printed(code):
        assert not re.search(r"/(work|tmp|root|home|Users)/", text)
        assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    assert nbformat.writes(notebooks.clean(notebook)).rstrip() == path.read_text(encoding="utf-8").rstrip()


def test_cleaning() -> None:
    output = nbformat.v4.new_output("stream", text="saved in /tmp/x1/model.nq, 3/4 of it\n")
    cell = nbformat.v4.new_code_cell("f()", execution_count=7, outputs=[output], metadata={"tags": ["slow"]})
    laptop = {"name": "mine", "display_name": "my laptop"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": laptop})
    (cleaned,) = notebooks.clean(notebook).cells
    assert cleaned.outputs[0].text == "saved in <path>, 3/4 of it\n"
    assert (cleaned.execution_count, cleaned.metadata) == (None, {})
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    source = "import warnings; warnings.warn('careful')"
    path = tmp_path / "warns.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    code = f"import sys; sys.path.insert(0, {str(TOOL.parent)!r}); import notebooks, pathlib"
    result = run_python("-c", f"{code}; notebooks.execute(pathlib.Path({str(path)!r}))", check=False)
    assert result.returncode != 0
    assert "UserWarning" in result.stderr


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="no notebook's name begins with '99'"):
        notebooks.paths(["99"])


def test_the_readme_links_what_exists() -> None:
    text = (notebooks.FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| (\d\d) \| (.*) \| (written|not yet written) \|$", text, re.MULTILINE)
    assert [number for number, _, _ in rows] == [f"{n:02}" for n in range(14)]
    linked = [name for _, cell, _ in rows for name in re.findall(r"\((.*\.ipynb)\)", cell)]
    assert linked == [path.name for path in notebooks.paths()]
    assert linked == [name for name in linked if name[:2] in {number for number, _, how in rows if how == "written"}]
    assert len(linked) == sum(how == "written" for _, _, how in rows)
    assert re.findall(r"^\| Q(\d+) \|", text, re.MULTILINE) == [str(n) for n in range(1, 31)]
    assert text.count("\n") <= 120
