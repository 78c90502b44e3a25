"""What is asked for: a quantized dtype and a scheme.

A *dtype* says which integers may be stored. A *qscheme* says how a range becomes a scale and a zero point: `affine`
(the zero point is free) or `symmetric` (real zero sits in the middle), for a whole tensor, for each channel, each group
or each token.

Before: nothing. After: `qparams`, which turns a range into numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class QDType:
    """A quantized dtype: `bits` bits, signed or not.

        unsigned: quant_min = 0,            quant_max = 2^bits - 1
        signed:   quant_min = -2^(bits-1),  quant_max = 2^(bits-1) - 1

    In memory an integer takes the next of 8, 16 or 32 bits. Those of 2 and 4 bits can be packed (`affine.pack`); the
    other widths are simulated: their numbers are exact, their storage is not smaller.

    >>> quint8.quant_min, quint8.quant_max, qint4.quant_min, qint4.quant_max
    (0, 255, -8, 7)
    >>> qint8.storage, qint4.storage, QDTYPES["quint12"].storage
    (dtype('int8'), dtype('int8'), dtype('uint16'))
    """

    name: str
    bits: int
    signed: bool

    @property
    def quant_min(self) -> int:
        """The smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def quant_max(self) -> int:
        """The largest integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @cached_property
    def storage(self) -> np.dtype[Any]:
        """The NumPy dtype of the integers."""
        return np.dtype(f"{'int' if self.signed else 'uint'}{next(b for b in (8, 16, 32) if b >= self.bits)}")

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.storage.itemsize

    def __repr__(self) -> str:
        return f"nanoquant.{self.name}"


# Every width from 2 to 16 bits, and the 32 of biases and accumulators.
QDTYPES = {
    dtype.name: dtype
    for bits in (*range(2, 17), 32)
    for dtype in (QDType(f"quint{bits}", bits, signed=False), QDType(f"qint{bits}", bits, signed=True))
    if dtype.name != "quint32"
}
quint4, qint4, quint8, qint8 = (QDTYPES[name] for name in ("quint4", "qint4", "quint8", "qint8"))
qint16, qint32 = QDTYPES["qint16"], QDTYPES["qint32"]


class QScheme(Enum):
    """How a range [min, max] becomes a scale and a zero point; `qparams.choose_qparams` holds the formulas.

    A scheme names a granularity (which elements share a scale) and a symmetry:

        tensor     all
        channel    those of one index along an axis
        group      a run of `group_size` neighbours along an axis; every other index has runs of its own
        token      a group as long as the axis: a row of the last axis, ranged anew for each batch

    `per_channel_affine_float_qparams` keeps a float zero point, -min / scale, and does not force zero into the range
    (embedding tables).

    >>> per_channel_symmetric.symmetric, per_channel_symmetric.granularity
    (True, 'channel')
    """

    per_tensor_affine = "per_tensor_affine"
    per_tensor_symmetric = "per_tensor_symmetric"
    per_channel_affine = "per_channel_affine"
    per_channel_symmetric = "per_channel_symmetric"
    per_channel_affine_float_qparams = "per_channel_affine_float_qparams"
    per_group_affine = "per_group_affine"
    per_group_symmetric = "per_group_symmetric"
    per_token_affine = "per_token_affine"
    per_token_symmetric = "per_token_symmetric"

    @property
    def granularity(self) -> str:
        """Which elements share a scale: 'tensor', 'channel', 'group' or 'token'."""
        return self.value.split("_")[1]

    @property
    def symmetric(self) -> bool:
        """Whether the zero point is the middle of the integer range."""
        return self.value.endswith("symmetric")

    @property
    def float_qparams(self) -> bool:
        """Whether the zero point is a float."""
        return self is QScheme.per_channel_affine_float_qparams

    def __repr__(self) -> str:
        return f"nanoquant.{self.value}"


per_tensor_affine = QScheme.per_tensor_affine
per_tensor_symmetric = QScheme.per_tensor_symmetric
per_channel_affine = QScheme.per_channel_affine
per_channel_symmetric = QScheme.per_channel_symmetric
per_channel_affine_float_qparams = QScheme.per_channel_affine_float_qparams
per_group_affine, per_group_symmetric = QScheme.per_group_affine, QScheme.per_group_symmetric
per_token_affine, per_token_symmetric = QScheme.per_token_affine, QScheme.per_token_symmetric


def check_dtype(dtype: object) -> QDType:
    """Returns `dtype`, or raises TypeError.

    >>> check_dtype(per_tensor_affine)
    Traceback (most recent call last):
    TypeError: dtype must be a QDType (quint8, qint8, qint32, quint4, ...); got the qscheme \
nanoquant.per_tensor_affine: did you mean qscheme=?
    """
    if isinstance(dtype, QDType):
        return dtype
    hint = f"the qscheme {dtype!r}: did you mean qscheme=?" if isinstance(dtype, QScheme) else repr(dtype)
    raise TypeError(f"dtype must be a QDType (quint8, qint8, qint32, quint4, ...); got {hint}")


def check_qscheme(qscheme: object) -> QScheme:
    """Returns `qscheme`, or raises TypeError with the list of schemes.

    >>> check_qscheme(qint8)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: qscheme must be one of per_tensor_affine, ...; got the dtype nanoquant.qint8: did you mean dtype=?
    """
    if isinstance(qscheme, QScheme):
        return qscheme
    hint = f"the dtype {qscheme!r}: did you mean dtype=?" if isinstance(qscheme, QDType) else repr(qscheme)
    raise TypeError(f"qscheme must be one of {', '.join(s.name for s in QScheme)}; got {hint}")


def check_quant_range(dtype: QDType, quant_min: int | None, quant_max: int | None) -> tuple[int, int]:
    """The integer range to use: the dtype's, or a narrower one given by both `quant_min` and `quant_max`.

    The range must lie inside the dtype and contain 0 for a signed dtype: real zero has to be an integer of the range.

    >>> check_quant_range(qint8, None, None), check_quant_range(qint8, -8, 7)
    ((-128, 127), (-8, 7))
    >>> check_quant_range(quint8, 0, 300)
    Traceback (most recent call last):
    ValueError: quant_min=0, quant_max=300 must satisfy 0 <= quant_min < quant_max <= 255 for quint8
    """
    if (quant_min is None) != (quant_max is None):
        raise ValueError(f"give both quant_min and quant_max, or neither; got quant_min={quant_min}, {quant_max=}")
    if quant_min is None or quant_max is None:
        return dtype.quant_min, dtype.quant_max
    if not dtype.quant_min <= quant_min < quant_max <= dtype.quant_max:
        raise ValueError(
            f"quant_min={quant_min}, quant_max={quant_max} must satisfy "
            f"{dtype.quant_min} <= quant_min < quant_max <= {dtype.quant_max} for {dtype.name}"
        )
    if not quant_min <= 0 <= quant_max:
        raise ValueError(f"the quantized range must contain 0; got quant_min={quant_min}, quant_max={quant_max}")
    return int(quant_min), int(quant_max)


def channel_shape(ndim: int, axis: int) -> tuple[int, ...]:
    """The shape that broadcasts a vector of per-channel values along `axis` of an array with `ndim` axes.

    >>> channel_shape(4, 1)
    (1, -1, 1, 1)
    """
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of range for an array with {ndim} dimensions")
    return tuple(-1 if i == axis % ndim else 1 for i in range(ndim))
