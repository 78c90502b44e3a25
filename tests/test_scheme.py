"""scheme: dtypes, qschemes, integer ranges."""

from __future__ import annotations

import copy

import pytest

from nanoquant import scheme
from nanoquant.scheme import QDTYPES, QScheme, check_dtype, check_qscheme, check_quant_range, qint8, quint8


@pytest.mark.parametrize(
    ("name", "low", "high", "storage"),
    [
        ("quint8", 0, 255, "uint8"),
        ("qint8", -128, 127, "int8"),
        ("quint4", 0, 15, "uint8"),
        ("qint3", -4, 3, "int8"),
        ("quint9", 0, 511, "uint16"),
        ("qint16", -(2**15), 2**15 - 1, "int16"),
        ("qint32", -(2**31), 2**31 - 1, "int32"),
    ],
)
def test_ranges(name: str, low: int, high: int, storage: str) -> None:
    dtype = QDTYPES[name]
    assert (dtype.quant_min, dtype.quant_max) == (low, high)
    assert dtype.storage == storage
    assert dtype.itemsize == dtype.storage.itemsize
    assert repr(dtype) == f"nanoquant.{name}"


def test_values_survive_a_copy() -> None:
    assert copy.deepcopy(qint8) == qint8 != quint8


def test_qschemes_say_what_they_are() -> None:
    described = {s.name: (s.granularity, s.symmetric, s.float_qparams) for s in QScheme}
    assert described == {
        "per_tensor_affine": ("tensor", False, False),
        "per_tensor_symmetric": ("tensor", True, False),
        "per_channel_affine": ("channel", False, False),
        "per_channel_symmetric": ("channel", True, False),
        "per_channel_affine_float_qparams": ("channel", False, True),
        "per_group_affine": ("group", False, False),
        "per_group_symmetric": ("group", True, False),
        "per_token_affine": ("token", False, False),
        "per_token_symmetric": ("token", True, False),
    }


def test_a_dtype_in_place_of_a_scheme_is_named() -> None:
    with pytest.raises(TypeError, match=r"did you mean dtype=\?"):
        check_qscheme(qint8)
    with pytest.raises(TypeError, match=r"did you mean qscheme=\?"):
        check_dtype(scheme.per_tensor_affine)
    with pytest.raises(TypeError, match="dtype must be a QDType .* got 'int8'"):
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
