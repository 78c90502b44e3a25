"""How far two signals are apart, and how much of a quantization error is rounding.

    mse = mean (x - y)^2        SQNR = 10 log10(sum x^2 / sum (x - y)^2) dB        cosine = x . y / (|x| |y|)

x is the reference, y the approximation: arrays, Tensors or QTensors (which count as the floats they mean), of one
shape. Sums are taken in float64.

A quantizer errs in two ways, and a choice of scale is a choice between them: values beyond the ends of the grid are
*clipped* to it, the others are *rounded*. A small scale rounds finely and clips much.

                 clipped |<------ rounded ------>| clipped
             x  ---------+-+-+-+-+-+-+-+-+-+-+-+-+---------
                        low     the grid       high

Before: `nanoquant.qtensor`. After: `nanoquant.nn`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .affine import fake_quantize_as
from .qparams import QParams
from .qtensor import QTensor

Floats = NDArray[np.float64]


def _signal(x: Any, name: str) -> Floats:
    """x as float64; ValueError where a metric would have no meaning."""
    values = np.asarray(x.dequantize() if isinstance(x, QTensor) else x, dtype=np.float64)
    if not values.size:
        raise ValueError(f"{name} is empty: an error needs at least one value")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} of shape {values.shape} holds NaN or infinity: no error can be measured from there")
    return values


def _pair(x: Any, y: Any) -> tuple[Floats, Floats]:
    reference, approximation = _signal(x, "x"), _signal(y, "y")
    if reference.shape != approximation.shape:
        raise ValueError(f"x and y must have one shape; got {reference.shape} and {approximation.shape}")
    return reference, approximation


def mse(x: Any, y: Any) -> float:
    """Mean squared error: mean (x - y)^2. Raises ValueError on other shapes, on no values, on NaN and infinity.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    reference, approximation = _pair(x, y)
    return float(np.mean((reference - approximation) ** 2))


def sqnr(x: Any, y: Any) -> float:
    """Signal to quantization noise ratio in decibels, 10 log10(sum x^2 / sum (x - y)^2).

    Each bit more is worth 20 log10(2) = 6.02 dB. Equal signals give inf, any noise on silence -inf. Errors as in `mse`.

    Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, appendix A;
    torch.ao.ns.fx.utils.compute_sqnr.

    >>> sqnr([3.0, 4.0], [3.0, 4.5])
    20.0
    """
    reference, approximation = _pair(x, y)
    signal, noise = float(np.sum(reference**2)), float(np.sum((reference - approximation) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def cosine_similarity(x: Any, y: Any) -> float:
    """x . y / (|x| |y|), from -1 (opposite) to 1 (same direction); 0 if either is zero. Errors as in `mse`.

    Source: torch.ao.ns.fx.utils.compute_cosine_similarity.

    >>> cosine_similarity([1.0, 0.0], [3.0, 4.0])
    0.6
    """
    reference, approximation = _pair(x, y)
    norms = math.sqrt(np.sum(reference**2)) * math.sqrt(np.sum(approximation**2))
    return max(-1.0, min(1.0, float(np.sum(reference * approximation)) / norms)) if norms else 0.0


def kl_divergence(p: Any, q: Any) -> float:
    """sum p ln(p / q) in nats, for two histograms of one shape, each scaled to sum 1: what is lost by taking q for p.

    A bin where p is 0 adds nothing; one where only q is 0 makes it inf. Raises ValueError on negative counts, on a
    histogram without any, and as in `mse`.

    Source: Kullback and Leibler, "On information and sufficiency", 1951.

    >>> round(kl_divergence([1, 1], [1, 3]), 4)  # 1/2 ln 2 + 1/2 ln 2/3
    0.1438
    >>> kl_divergence([1, 1], [2, 0])
    inf
    """
    reference, approximation = _pair(p, q)
    for name, counts in (("p", reference), ("q", approximation)):
        if (counts < 0).any() or not counts.any():
            raise ValueError(f"{name} must be a histogram: no negative count, and not only zeros")
    seen = reference > 0
    if (approximation[seen] == 0).any():
        return math.inf
    a, b = reference[seen] / reference.sum(), approximation[seen] / approximation.sum()
    return max(0.0, float(np.sum(a * (np.log(a) - np.log(b)))))


@dataclass(frozen=True)
class QuantizationError:
    """The squared error of a quantizer on `count` values, in its two parts; `clipped` of the values left the grid."""

    clipping: float
    rounding: float
    clipped: int
    count: int

    @property
    def total(self) -> float:
        """The whole squared error; divided by `count`, the mse."""
        return self.clipping + self.rounding

    @property
    def clipping_share(self) -> float:
        """Clipping's part of the error, from 0 to 1; rounding's is the rest."""
        return self.clipping / self.total if self.total else 0.0


def quantization_error(x: Any, qparams: QParams) -> QuantizationError:
    """What quantizing x does to it, split into clipping and rounding.

        low, high = the floats that quant_min and quant_max mean        y = fake_quantize_as(x)
        clipping = sum (x - y)^2 over x < low or x > high               rounding = sum (x - y)^2 over the others

    Raises ValueError as in `mse`, and when y is no finite float32.

    >>> quantization_error([0.25, 3.0], QParams(1.0, 0, quant_min=0, quant_max=1))
    QuantizationError(clipping=4.0, rounding=0.0625, clipped=1, count=2)
    """
    values = _signal(x, "x")
    low, high = (fake_quantize_as(np.full(values.shape, far), qparams) for far in (-np.inf, np.inf))  # these saturate
    squares = (values - _signal(fake_quantize_as(values, qparams), "the quantized x")) ** 2
    outside = (values < low) | (values > high)
    return QuantizationError(float(squares[outside].sum()), float(squares[~outside].sum()), int(outside.sum()), values.size)
