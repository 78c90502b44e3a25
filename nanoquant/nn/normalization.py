"""Batch normalization: y = gamma (x - mean) / sqrt(var + eps) + beta, for each channel.

In training, mean and var are those of the batch, hence functions of x; with xhat = (x - mean) / sigma over the m
values of a channel, and sums over them,

    dbeta = sum g,    dgamma = sum g xhat,    dx = gamma / sigma (g - dbeta / m - xhat dgamma / m)

In evaluation they are constants, and dx = gamma / sigma g.

Source: Ioffe and Szegedy, "Batch Normalization", 2015. Before: `spatial`. After: `functional`.
"""

from __future__ import annotations

import numpy as np

from ..autograd.ops import Array, Op


def channel_axes(x: Array) -> tuple[int, ...]:
    """All axes but 1, the channels'."""
    return (0, *range(2, x.ndim))


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape(1, -1, *(1 for _ in x.shape[2:]))


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float = 1e-5, training: bool = True
) -> Array:
    """x: (batch, channels, ...); all others (channels,)."""
    factor = gamma / np.sqrt(var + x.dtype.type(eps))
    return np.asarray(x * _per_channel(factor, x) + _per_channel(beta - mean * factor, x))


def batch_norm_vjp(
    g: Array,
    y: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    training: bool = True,
) -> tuple[Array | None, ...]:
    """The formulas above; mean and var get no gradient of their own."""
    inverse_sigma = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - _per_channel(mean, x)) * _per_channel(inverse_sigma, x)
    dbeta, dgamma = g.sum(axis=channel_axes(x)), (g * xhat).sum(axis=channel_axes(x))
    dx = g
    if training:
        m = x.dtype.type(x.size // x.shape[1])
        dx = g - _per_channel(dbeta / m, x) - xhat * _per_channel(dgamma / m, x)
    return dx * _per_channel(gamma * inverse_sigma, x), dgamma, dbeta, None, None


BATCH_NORM = Op("batch_norm", batch_norm, batch_norm_vjp)
