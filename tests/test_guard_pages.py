"""No kernel touches a byte outside its buffers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import run_python

SCRIPT = Path(__file__).with_name("guarded.py")
OVERRUN = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np, guarded
array = guarded.Guarded(np.zeros(10, np.uint8), at_end=True).array
guarded.ctypes.memset(array.ctypes.data, 0, 11)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mmap flags")
def test_no_byte_outside_the_buffers(isa: str) -> None:
    result = run_python(str(SCRIPT), isa)
    assert result.stdout.split() == ["ok", str(2 * (250 * 3 + 398 + 134 * 11 + 14))]


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mmap flags")
def test_the_guard_catches_one_byte() -> None:
    code = OVERRUN.format(folder=str(SCRIPT.parent))
    assert run_python("-c", code, check=False).returncode != 0
