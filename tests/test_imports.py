"""The arrow: imports go down only, every file has its place, and files and functions keep to their size.

The layers stand in LAYERS, lowest first; a module may import from lower layers, and from its own package. Siblings (one
line) never import each other. The C files have their own rules, in INCLUDES.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from processes import run_python
from sizes import CSRC, PACKAGE, PROMISED, ROOT, all_lines, code_lines, counted, modules, sources

LAYERS = [
    {"errors", "progress", "scheme", "seed", "shaped"},
    {"methods", "module"},
    {"qparams"},
    {"affine", "numerics"},
    {"conventions", "observers", "kernels", "autograd"},
    {"per_tensor"},
    {"calibration", "creation", "qtensor"},
    {"functions", "metrics"},
    {"nn"},
    {"ops", "backends", "optim"},
    {"quantization"},
    {"quantization.eager", "quantization.analysis"},
    {"quantization.graph"},
    {"quantization.quantize_fx"},
    {"io"},
    {"data"},
    {"models"},
    {"demo", "viz"},
    {"bench"},
    {"cli", "testing"},
    {"__main__", ""},
    {"compat"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

ROWS = {f"../rows{part}.h" for part in ("", "_norm", "_pool", "_product", "_lstm", "_fake", "_dynamic", "_weights")}
# Who may include what. Intrinsics live under x86/ and arm/ only, and only dispatch.c names an instruction set's table.
INCLUDES = {
    "": {"nanoquant.h", "ukernel.h", "framework.h", "numerics.h", "stream.h"},
    "ref": {"../ukernel.h", "../numerics.h", "vec_scalar.h"} | ROWS,
    "x86": {
        "x86.h",
        "tile_256.h",
        "vnni_256.h",
        "forms.h",
        "epilogue_256.h",
        "epilogue_512.h",
        "tile_512.h",
        "series_512.h",
        "dot.h",
        "dwconv_line.h",
        "dwconv_256.h",
        "dwconv_vnni.h",
        "dwconv_window.h",
        "vec_avx2.h",
        "vec_avx512.h",
        "../ukernel.h",
        "../framework.h",
        "../stream.h",
        "immintrin.h",
        "cpuid.h",
    }
    | ROWS,
    "arm": {"arm.h", "tile_neon.h", "vec_neon.h", "../ukernel.h", "../framework.h", "arm_neon.h", "sys/auxv.h", "sys/sysctl.h"}
    | ROWS,
}
HEADERS = {
    "nanoquant.h": set(),
    "ukernel.h": {"nanoquant.h"},
    "framework.h": {"ukernel.h"},
    "numerics.h": set(),
    "stream.h": set(),
    "x86.h": {"../ukernel.h"},
    "arm.h": {"../ukernel.h", "arm_neon.h"},
    "tile_neon.h": set(),
    "vec_neon.h": set(),
    "forms.h": set(),
    "epilogue_256.h": {"forms.h"},
    "epilogue_512.h": {"forms.h"},
    "dot.h": set(),
    "dwconv_line.h": set(),
    "dwconv_vnni.h": set(),
    "dwconv_window.h": set(),
    "dwconv_256.h": {"dwconv_line.h", "epilogue_256.h"},
    "tile_512.h": {"epilogue_512.h"},
    "series_512.h": set(),
    "tile_256.h": {"epilogue_256.h"},
    "vnni_256.h": {"tile_256.h"},
    "rows.h": set(),
    "rows_norm.h": set(),
    "rows_pool.h": set(),
    "rows_product.h": set(),
    "rows_lstm.h": set(),
    "rows_fake.h": set(),
    "rows_dynamic.h": set(),
    "rows_weights.h": set(),
    "vec_scalar.h": set(),
    "vec_avx2.h": set(),
    "vec_avx512.h": set(),
}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place(name: str) -> str:
    """The entry of LAYERS that a module belongs to."""
    first = ".".join(name.split(".")[:2])
    return first if first in LAYER else name.split(".")[0]


def imported(path: Path) -> list[str]:
    """The nanoquant modules that a file imports, dotted, without the package's name."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                target = [*base, *(node.module.split(".") if node.module else [])]
            elif (node.module or "").split(".")[0] == "nanoquant":
                target = (node.module or "").split(".")[1:]
            else:
                continue
            for alias in node.names:
                whole = PACKAGE.joinpath(*target, alias.name)
                found.append(".".join([*target, alias.name] if whole.is_dir() or whole.with_suffix(".py").exists() else target))
        elif isinstance(node, ast.Import):
            found += [a.name.removeprefix("nanoquant").lstrip(".") for a in node.names if a.name.split(".")[0] == "nanoquant"]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: dotted(p) or "nanoquant")
def test_imports_go_down(path: Path) -> None:
    own = place(dotted(path))
    assert own in LAYER, f"{path.name} has no place in LAYERS"
    if own == "":
        return
    contents = f"{own}." if path.name == "__init__.py" else "/"  # what a package's __init__ re-exports
    for target in imported(path):
        if target == "_native":
            assert dotted(path) == "kernels.native", "the C module is imported in kernels/native.py alone"
            continue
        if target == "" and dotted(path) == "cli":
            continue  # the version
        down = place(target) == own or LAYER[place(target)] < LAYER[own] or target.startswith(contents)
        assert down, f"{dotted(path)} imports {target}, which is not below it"


@pytest.mark.parametrize("path", modules(), ids=lambda p: dotted(p) or "nanoquant")
def test_habits(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 350
    optional = {"tqdm", "matplotlib"}
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        assert (function.end_lineno or 0) - function.lineno < 60, function.name
        for inner in ast.walk(function):
            if isinstance(inner, ast.ImportFrom | ast.Import):
                names = {(inner.module if isinstance(inner, ast.ImportFrom) else inner.names[0].name or "").split(".")[0]}
                assert names <= optional, f"{function.name} imports inside a function"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names)
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)


def test_importing_loads_no_optional_package() -> None:
    code = "import sys, nanoquant; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = run_python("-c", code).stdout.split()
    assert not {"matplotlib", "tqdm", "torch", "scipy", "hypothesis", "pytest"} & set(loaded)


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(CSRC).as_posix())
def test_includes_go_down(path: Path) -> None:
    folder = path.relative_to(CSRC).parent.as_posix().removeprefix(".")
    assert folder in INCLUDES, f"{folder} has no place in INCLUDES"
    text = path.read_text()
    included = set(re.findall(r'#include "([^"]+)"', text)) | set(re.findall(r"#include <(\w*intrin\.h|arm_neon\.h)>", text))
    assert included <= (HEADERS[path.name] if path.suffix == ".h" else INCLUDES[folder])
    if path.suffix == ".c":
        assert text.count("\n") <= 300
        assert text.startswith("/* " + path.name), "a file opens by saying what it is"
    if path.name not in ("dispatch.c", "ukernel.h") and folder == "":
        assert "nq_isa_avx" not in text


@pytest.mark.parametrize("part", PROMISED)
def test_size_is_a_promise(part: str) -> None:
    assert sum(map(code_lines, counted()[part])) <= PROMISED[part]


def test_an_afternoon_reads_the_core() -> None:
    assert sum(map(all_lines, counted()["core"])) <= PROMISED["core"]


def test_lines_of_code_are_counted_without_what_explains_them(tmp_path: Path) -> None:
    python, c = tmp_path / "a.py", tmp_path / "a.c"
    python.write_text('"""One\n\ntwo."""\n\n# note\nx = 1  # one\ns = """a\n\nb"""\n\ndef f():\n    "f"\n    return (\n    1)\n')
    c.write_text("/* one\n   two */\n\nint a; // a\n// b\nint b; /* b\n*/ int c;\n")
    assert (code_lines(python), code_lines(c)) == (1 + 3 + 3, 3)


def test_the_top_level() -> None:
    expected = {"pyproject.toml", "README.md", "LICENSE", "nanoquant", "csrc", "tests", "notebooks"}
    ignored = {"build", "dist"}
    present = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert present - ignored == expected
