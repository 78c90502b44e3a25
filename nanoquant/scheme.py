"""What is asked for: a quantized dtype, a scheme, a granularity.

A *dtype* says which integers may be stored. A *qscheme* says how a range becomes a scale and a zero point: `affine`
(the zero point is free) or `symmetric` (real zero sits in the middle), for a whole tensor or for each channel. A
*granularity* says which elements share one scale.

Before: nothing. After: `qparams`, which turns a range into numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


@dataclass(frozen=True)
class QDType:
    """A quantized dtype: `bits` bits, signed or not.

        unsigned: quant_min = 0,            quant_max = 2^bits - 1
        signed:   quant_min = -2^(bits-1),  quant_max = 2^(bits-1) - 1

    >>> quint8.quant_min, quint8.quant_max, qint8.quant_min, qint8.quant_max
    (0, 255, -128, 127)
    >>> qint8.storage, qint8.itemsize
    (dtype('int8'), 1)
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

    @property
    def storage(self) -> np.dtype[Any]:
        """The NumPy dtype of the integers."""
        return np.dtype(f"{'int' if self.signed else 'uint'}{self.bits}")

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.storage.itemsize

    def __repr__(self) -> str:
        return f"nanoquant.{self.name}"


quint8 = QDType("quint8", 8, signed=False)
qint8 = QDType("qint8", 8, signed=True)
qint32 = QDType("qint32", 32, signed=True)

QDTYPES = {dtype.name: dtype for dtype in (quint8, qint8, qint32)}


class QScheme(Enum):
    """How a range [min, max] becomes a scale and a zero point; `qparams.choose_qparams` holds the formulas.

    >>> per_channel_symmetric.symmetric, per_channel_symmetric.per_channel
    (True, True)
    """

    per_tensor_affine = "per_tensor_affine"
    per_tensor_symmetric = "per_tensor_symmetric"
    per_channel_affine = "per_channel_affine"
    per_channel_symmetric = "per_channel_symmetric"

    @property
    def symmetric(self) -> bool:
        """Whether the zero point is the middle of the integer range."""
        return self in (QScheme.per_tensor_symmetric, QScheme.per_channel_symmetric)

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a scale of its own."""
        return self in (QScheme.per_channel_affine, QScheme.per_channel_symmetric)

    def __repr__(self) -> str:
        return f"nanoquant.{self.value}"


per_tensor_affine = QScheme.per_tensor_affine
per_tensor_symmetric = QScheme.per_tensor_symmetric
per_channel_affine = QScheme.per_channel_affine
per_channel_symmetric = QScheme.per_channel_symmetric


def check_dtype(dtype: object) -> QDType:
    """Returns `dtype`, or raises TypeError with the list of quantized dtypes.

    >>> check_dtype(per_tensor_affine)
    Traceback (most recent call last):
    TypeError: dtype must be one of quint8, qint8, qint32; got the qscheme nanoquant.per_tensor_affine: did you mean \
qscheme=?
    """
    if isinstance(dtype, QDType):
        return dtype
    hint = f"the qscheme {dtype!r}: did you mean qscheme=?" if isinstance(dtype, QScheme) else repr(dtype)
    raise TypeError(f"dtype must be one of {', '.join(QDTYPES)}; got {hint}")


def check_qscheme(qscheme: object) -> QScheme:
    """Returns `qscheme`, or raises TypeError with the list of schemes.

    >>> check_qscheme(qint8)
    Traceback (most recent call last):
    TypeError: qscheme must be one of per_tensor_affine, per_tensor_symmetric, per_channel_affine, \
per_channel_symmetric; got the dtype nanoquant.qint8: did you mean dtype=?
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
