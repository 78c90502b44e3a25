"""Settings and fixtures of the whole suite.

Hypothesis has three profiles, chosen with --hypothesis-profile: `ci` (the default; the same examples every time),
`quick` (a twentieth of them, for emulated CPUs) and `thorough` (fresh random examples, many more).
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from nanoquant.kernels import native

settings.register_profile("ci", derandomize=True, database=None, deadline=None, max_examples=200)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
settings.register_profile("thorough", database=None, deadline=None, max_examples=5000, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(params=native.isa_names())
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that the library knows; those out of reach are skipped with the reason."""
    name: str = request.param
    status = native.isa_status(name)["gemm"]
    if status.startswith("not"):
        pytest.skip(f"{name}: {status}")
    return name


@pytest.fixture(autouse=True)
def _unchanged_engine() -> object:
    """A test may set the engine; the next one starts from the default."""
    from nanoquant.backends import quantized

    before = quantized.engine
    yield
    quantized.engine = before


def pytest_report_header() -> str:
    """Which instruction sets this run covers."""
    absent = {n: native.isa_status(n)["gemm"] for n in native.isa_names() if n not in native.available_isas()}
    return f"nanoquant ISAs: {', '.join(native.available_isas())}" + "".join(f"; {n} {why}" for n, why in absent.items())
