"""Runs Python in a process of its own.

An emulated Python cannot start itself: its own path names a program for another CPU. NANOQUANT_TEST_PYTHON then names a
command that can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(
    *arguments: str, check: bool = True, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python *arguments` in a folder, with more environment variables; output is captured, as text."""
    command = [os.environ.get("NANOQUANT_TEST_PYTHON", sys.executable), *arguments]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=900, cwd=folder
    )
    assert not check or result.returncode == 0, result.stderr
    return result
