"""scheme: dtypes, qschemes, integer ranges."""

from __future__ import annotations

import copy

import pytest

from nanoquant import scheme
from nanoquant.scheme import QDTYPES, QScheme, check_dtype, check_qscheme, check_quant_range, qint8, quint8


@pytest.mark.parametrize(
    ("name", "low", "high"), [("quint8", 0, 255), ("qint8", -128, 127), ("qint32", -(2**31), 2**31 - 1)]
)
def test_ranges(name: str, low: int, high: int) -> None:
    dtype = QDTYPES[name]
    assert (dtype.quant_min, dtype.quant_max) == (low, high)
    assert dtype.itemsize * 8 == dtype.bits == dtype.storage.itemsize * 8
    assert repr(dtype) == f"nanoquant.{name}"


def test_values_survive_a_copy() -> None:
    assert copy.deepcopy(qint8) == qint8 != quint8


def test_qschemes_say_what_they_are() -> None:
    described = {s.name: (s.per_channel, s.symmetric) for s in QScheme}
    assert described == {
        "per_tensor_affine": (False, False),
        "per_tensor_symmetric": (False, True),
        "per_channel_affine": (True, False),
        "per_channel_symmetric": (True, True),
    }


def test_a_dtype_in_place_of_a_scheme_is_named() -> None:
    with pytest.raises(TypeError, match=r"did you mean dtype=\?"):
        check_qscheme(qint8)
    with pytest.raises(TypeError, match=r"did you mean qscheme=\?"):
        check_dtype(scheme.per_tensor_affine)
    with pytest.raises(TypeError, match="dtype must be one of quint8, qint8, qint32; got 'int8'"):
        check_dtype("int8")


@pytest.mark.parametrize(
    ("dtype", "low", "high", "message"),
    [
        (quint8, 0, None, "both quant_min and quant_max"),
        (quint8, -1, 255, "must satisfy 0 <= quant_min"),
        (qint8, 5, 5, "quant_min < quant_max"),
        (quint8, 1, 255, "must contain 0"),
        (qint8, -8, -1, "must contain 0"),
    ],
)
def test_bad_ranges(dtype: scheme.QDType, low: int, high: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_quant_range(dtype, low, high)
