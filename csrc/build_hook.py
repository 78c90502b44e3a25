"""Builds the C library into `nanoquant/_native.abi3.so` while hatchling makes a wheel.

    nanoquant.h --(the part between its cffi marks)--> cffi.cdef --> _native.c --(+ *.c, ref/, x86/, arm/)--> one module

Every source is compiled with the same flags (then the user's CFLAGS, so that a sanitizer can be asked for): code for an
instruction set is selected by target pragmas inside its file.
The module uses the stable ABI, so that one wheel serves CPython 3.10 and later.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CSRC = Path(__file__).parent
FLAGS = ["-O2", "-g0", "-std=c11", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
NO_COMPILER = (
    "nanoquant builds a small C library and needs a C compiler (gcc >= 11 or clang >= 12): "
    "install one, for example with 'apt install gcc', or name yours in the environment variable CC."
)


def declarations() -> str:
    """The part of nanoquant.h that cffi reads."""
    match = re.search(r"/\* cffi: begin \*/(.*)/\* cffi: end \*/", (CSRC / "nanoquant.h").read_text(), re.DOTALL)
    if match is None:
        raise SystemExit("csrc/nanoquant.h lacks its 'cffi: begin' and 'cffi: end' marks")
    return match[1]


def build(target: Path) -> Path:
    """Compiles the module into `target` and returns its path."""
    from cffi import FFI
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import CompileError, PlatformError

    own = shlex.split(os.environ.get("CFLAGS", ""))
    ffi = FFI()
    ffi.cdef(declarations())
    sources = sorted(str(path) for path in CSRC.rglob("*.c"))
    ffi.set_source(
        "nanoquant._native",
        '#include "nanoquant.h"',
        sources=sources,
        include_dirs=[str(CSRC)],
        extra_compile_args=[*FLAGS, *own],
        extra_link_args=["-pthread", *own],
        py_limited_api=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        extension = ffi.distutils_extension(temporary)
        extension.py_limited_api = True
        command = build_ext(Distribution({"name": "nanoquant", "ext_modules": [extension]}))
        command.build_lib, command.build_temp = str(target), temporary
        command.ensure_finalized()
        try:
            command.run()
        except (CompileError, PlatformError) as error:
            raise SystemExit(f"{NO_COMPILER}\n({error})") from None
        return Path(command.get_ext_fullpath("nanoquant._native"))


class NativeLibrary(BuildHookInterface[Any]):
    """Hatchling's hook: adds the module to the wheel, or puts it into the source tree for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
        build_data["pure_python"] = False
        build_data["tag"] = f"cp310-abi3-{platform}"
        if version == "editable":
            build(Path(self.root))
            return
        self.temporary = tempfile.TemporaryDirectory()
        module = build(Path(self.temporary.name))
        build_data["force_include"][str(module)] = f"nanoquant/{module.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        if hasattr(self, "temporary"):
            self.temporary.cleanup()


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else CSRC.parent))
