"""Batch normalization: y = gamma (x - mean) / sqrt(var + eps) + beta, for each channel.

In training, mean and var are those of the batch, hence functions of x; with xhat = (x - mean) / sigma over the m
values of a channel, and sums over them,

    dbeta = sum g,    dgamma = sum g xhat,    dx = gamma / sigma (g - dbeta / m - xhat dgamma / m)

In evaluation they are constants, and dx = gamma / sigma g. Each of these is a sum, or a line, over rows of channels.

Source: Ioffe and Szegedy, "Batch Normalization", 2015. Before: `spatial`. After: `layer`.
"""

from __future__ import annotations

import numpy as np

from ..autograd.ops import Array, Op
from ..kernels.channels import channel_line, channel_sums
from .spatial import channels_last


def _rows(x: Array) -> Array:
    """(batch, channels, ...) as (all others, channels)."""
    return channels_last(x).reshape(-1, x.shape[1])


def _like(rows: Array, x: Array) -> Array:
    """`_rows`, undone."""
    return np.moveaxis(rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, in x's dtype. x: (batch, channels, ...)."""
    rows = _rows(x)
    zero = np.zeros(x.shape[1], x.dtype)
    mean = (channel_sums(rows, zero, rows, zero)[0] / len(rows)).astype(x.dtype)
    rest, squares = channel_sums(rows, mean, rows, mean)
    return mean, ((squares - rest * rest / len(rows)) / len(rows)).astype(x.dtype)


def batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float = 1e-5, training: bool = True) -> Array:
    """x: (batch, channels, ...); all others (channels,)."""
    factor = gamma / np.sqrt(var + x.dtype.type(eps))
    return _like(channel_line(None, None, factor, _rows(x), mean, beta), x)


def batch_norm_vjp(
    g: Array, y: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float = 1e-5, training: bool = True
) -> tuple[Array | None, ...]:
    """The formulas above; mean and var get no gradient of their own."""
    rows, rows_g = _rows(x), _rows(g)
    inverse_sigma = 1 / np.sqrt(var + x.dtype.type(eps))
    factor = gamma * inverse_sigma
    dbeta, products = channel_sums(rows_g, np.zeros_like(mean), rows, mean)
    dgamma = products * inverse_sigma
    slope, offset = np.zeros_like(dgamma), np.zeros_like(dbeta)
    if training:
        slope, offset = -factor * inverse_sigma * dgamma / len(rows), -factor * dbeta / len(rows)
    slope, offset, dgamma, dbeta = (v.astype(x.dtype) for v in (slope, offset, dgamma, dbeta))
    return _like(channel_line(factor, rows_g, slope, rows, mean, offset), x), dgamma, dbeta, None, None


BATCH_NORM = Op("batch_norm", batch_norm, batch_norm_vjp)
