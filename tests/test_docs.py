"""Every public name is documented, and every example runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import nanoquant

ROOT = Path(__file__).parent.parent
NAMES = [
    "nanoquant",
    *(m.name for m in pkgutil.walk_packages(nanoquant.__path__, "nanoquant.") if m.name.split(".")[-1] != "__main__"),
]
NAMES = [name for name in NAMES if name != "nanoquant._native"]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    extra = {"np": importlib.import_module("numpy"), "nq": nanoquant}
    results = doctest.testmod(module, extraglobs=extra)
    assert results.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_documented(name: str) -> None:
    """A method that has nothing to add to what its base says of it inherits that, as `help` does."""
    module = importlib.import_module(name)
    path = Path(inspect.getfile(module))
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in method.decorator_list)
                    inherited = hasattr(module, node.name) and inspect.getdoc(getattr(getattr(module, node.name), method.name))
                    assert setter or ast.get_docstring(method) or inherited, f"{node.name}.{method.name}"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def test_the_reading_order_leads_somewhere() -> None:
    """'Before: ... After: ...' at the end of a module's docstring name files that exist."""
    for name in NAMES:
        text = inspect.getdoc(importlib.import_module(name)) or ""
        package = name.rpartition(".")[0] if not hasattr(importlib.import_module(name), "__path__") else name
        for target in re.findall(r"`((?:nanoquant\.)?[a-z_]+(?:\.[a-z_]+)*)`", text.partition("Before:")[2]):
            full = target if target.startswith("nanoquant.") else f"{package}.{target}"
            candidates = [full, f"nanoquant.{target}", f"{full}.__init__"]
            assert any(importlib.util.find_spec(c) for c in candidates if _parent_exists(c)), f"{name}: {target}"


def _parent_exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.rpartition(".")[0]) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("*.md"))], ids=lambda p: p.name)
def test_examples_in_markdown(path: Path) -> None:
    """Python blocks run, in order, and print what the text says they print."""
    text = path.read_text()
    assert text.count("\n") <= 180
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    source = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, path.name, str(path), 0)
    runner = doctest.DocTestRunner()
    runner.run(source)
    assert runner.failures == 0
