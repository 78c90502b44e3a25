"""The product of two quantized matrices.

Before: `arithmetic`. After: `activation`.
"""

from __future__ import annotations

import numpy as np

from ...kernels.packed import Output, PackedWeights
from ...per_tensor import grid, per_tensor
from ...qparams import QParams
from ...qtensor import QTensor
from .arguments import check_input


def matmul(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """y = a b, of matrices (..., m, k) and (..., k, n); leading axes broadcast. y has the dtype of a.

        q_y = clamp(rint(sum_k (q_a - z_a) (q_b - z_b) * (s_a s_b / s_y)) + z_y)

    It is a linear layer without bias in the profile of FBGEMM, with b for weights, one for each pair of matrices.

    >>> a = nq.quantize_per_tensor([[1.0, 2.0]], 0.5, 10, nq.quint8)
    >>> matmul(a, a.transpose(0, 1), 0.25, 3).int_repr()
    tensor([[23]], dtype=uint8)
    """
    return multiply(qa, qb, per_tensor(scale, zero_point, check_input("matmul", qa).qparams.dtype))


def multiply(qa: QTensor, qb: QTensor, qparams: QParams) -> QTensor:
    """`matmul` onto the grid of qparams."""
    a, b = check_input("matmul", qa), check_input("matmul", qb)
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul takes matrices (..., m, k) and (..., k, n); got {a.shape} and {b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: the leading axes of {a.shape} and {b.shape} do not broadcast") from None
    flip = 0 if b.dtype.signed else 128  # weights are int8: q ^ 0x80 = q - 128
    left = np.broadcast_to(a.values, (*batch, *a.shape[-2:]))
    weights = (b.values ^ b.values.dtype.type(flip)).view(np.int8).swapaxes(-2, -1)
    right = np.broadcast_to(weights, (*batch, *weights.shape[-2:]))
    zero_point = np.asarray(b.qparams.zero_point - flip)
    low, high = qparams.limits
    wanted = Output(float(qparams.scale), int(qparams.zero_point), qparams.dtype.storage, False, low, high)
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), qparams.dtype.storage)
    for index in np.ndindex(batch):
        packed = PackedWeights(np.ascontiguousarray(right[index])[:, :, None, None], b.qparams.scale, zero_point)
        packed.linear(np.ascontiguousarray(left[index]), grid(a.qparams), wanted, out=y[index])
    return QTensor(y, qparams, a.origin)
