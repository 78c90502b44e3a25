"""What all layers share whose activations are quantized for each call, by the range they have.

Before: `nanoquant.nn.quantized`. After: `linear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....autograd.tensor import Tensor
from ....kernels import dynamic
from ....kernels.packed import PackedWeights
from ....qtensor import without_gradient
from ..weighted import Weighted

Floats = NDArray[np.float32]


def product(
    kind: dynamic.Kind, x: Any, packed: PackedWeights, reduce_range: bool, relu: bool = False, per_row: bool = False
) -> Floats:
    """A layer with int8 weights on floats, which are quantized with one scale, or with one for each row (or image).

    scale, zero_point = choose_dynamic_qparams(min x, max x)         0..127 with reduce_range, which QNNPACK ignores
    y = epilogue D(sum_k (q_x - z_x) (q_w - z_w))                    `nanoquant.numerics`

    x: float32; of a linear layer (rows, in_features), of a convolution (batch, in_channels, *size).
    """
    if x.size == 0:
        shape = (len(x),) if kind == "linear" else packed.out_shape((len(x), *x.shape[2:], x.shape[1]))[:-1]
        bias = np.float32(0) if packed.bias is None else packed.bias
        return np.moveaxis(np.broadcast_to(bias, (*shape, packed.out_channels)).copy(), -1, 1)
    return dynamic.run(packed, kind, x, dynamic.greatest_step(packed.profile, reduce_range), relu, per_row)


class Dynamic(Weighted):
    """A layer from floats to floats through int8.

    per_row: whether each row of the input (of a convolution: each image) is quantized by its own range. Its result is then
    the same in any batch. By default one range is that of the whole input, as in torch, and batch mates matter.
    """

    per_row = False
    relu = False

    def run(self, kind: dynamic.Kind, x: Any) -> Floats:
        """`product` of this layer."""
        return product(kind, x, self.packed(), True, self.relu, self.per_row)

    def printed_name(self) -> str:
        """'DynamicQuantizedLinear', as torch prints it."""
        return f"DynamicQuantized{type(self).__name__}"

    def geometry_repr(self) -> str:
        """Sizes."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """One line, true facts only: a dynamic layer has no output scale."""
        ranges = "dynamic per row" if self.per_row else "dynamic"
        return f"{self.geometry_repr()}, {self.weights_repr()}, x={ranges}, profile={self.profile.name}"


def of_integers(y: Floats, x: Tensor) -> Tensor:
    """y as a tensor without gradient, which says so when x wants one."""
    return without_gradient(y, x if x.requires_grad else None)
