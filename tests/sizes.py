"""The sizes that are promised, counted: `python tests/sizes.py` prints them, `test_imports` holds them.

Counted are lines of code: those that hold something besides blanks, comments and docstrings, so that an explanation
costs nothing. The files' whole lengths are printed beside them, and the core keeps its promise by those, too: it is
what an afternoon's reading covers, explanations included.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nanoquant"
CSRC = ROOT / "csrc"

CORE = ["scheme.py", "qparams.py", "affine.py", "numerics.py", "observers", "kernels/reference.py", "autograd"]
PROMISED = {"core": 3000, "C": 6000, "nanoquant/": 14_000}

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def sources() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in (".c", ".h"))


def counted() -> dict[str, list[Path]]:
    """The files of each promise."""
    core = [p for part in CORE for p in ([PACKAGE / part] if part.endswith(".py") else (PACKAGE / part).rglob("*.py"))]
    return {"core": core + list((CSRC / "ref").glob("*.c")), "C": sources(), "nanoquant/": modules()}


def code_lines(path: Path) -> int:
    """How many lines of a Python or C file hold code."""
    text = path.read_text()
    if path.suffix != ".py":
        text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment.group().count("\n"), text, flags=re.DOTALL)
        return sum(bool(line.strip()) for line in re.sub(r"//.*", "", text).split("\n"))
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in NO_CODE]
    lines = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def all_lines(path: Path) -> int:
    return path.read_text().count("\n")


if __name__ == "__main__":
    for name, paths in counted().items():
        print(
            f"{name}: {sum(map(code_lines, paths))} lines of code of {PROMISED[name]};",
            f"{sum(map(all_lines, paths))} lines with blanks, comments and docstrings",
        )
