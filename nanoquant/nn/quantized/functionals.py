"""Operations that need a place in the model, because what they put out needs a scale: x + y becomes `self.add.add(x, y)`.

    FloatFunctional      observed in prepare, by one observer each         float
    QFunctional          what convert makes of it                          integers
    QScalarFunctional    the same, of one that only met numbers            integers
    FXFloatFunctional    what graph mode leaves where nothing is observed  float

Source: torch.ao.nn.quantized.FloatFunctional. Before: `normalization`. After: `activations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...autograd.tensor import Tensor
from ...functions import cat, matmul
from ...module import Module
from ...observers import NotCalibratedError
from ...qparams import QParams
from ...qtensor import QTensor, quantize
from ..layer import take_float
from ..linear import Identity
from .arithmetic import combine, join
from .on_grid import OnGrid, output_qparams
from .product import multiply

Self = Any
METHODS = "add", "add_relu", "mul", "matmul", "cat", "add_scalar", "mul_scalar"


def _by_methods(self: Any, *_: Any) -> Any:
    """Is not called: the methods are."""
    methods = ", ".join(name for name in METHODS if hasattr(self, name))
    raise RuntimeError(f"{type(self).__name__} is used by its methods: {methods}")


class FXFloatFunctional(Module):
    """`FloatFunctional`, not observed."""

    forward = _by_methods
    met_numbers = False  # whether add_scalar or mul_scalar was called

    def observed(self, y: Tensor) -> Tensor:
        """y itself."""
        return y

    def add(self, x: Any, y: Any) -> Any:
        """x + y."""
        return self.observed(take_float(self, x) + take_float(self, y))

    def add_relu(self, x: Any, y: Any) -> Any:
        """max(x + y, 0)."""
        return self.observed((take_float(self, x) + take_float(self, y)).relu())

    def mul(self, x: Any, y: Any) -> Any:
        """x y."""
        return self.observed(take_float(self, x) * take_float(self, y))

    def matmul(self, x: Any, y: Any) -> Any:
        """The product of matrices."""
        return self.observed(matmul(take_float(self, x), take_float(self, y)))

    def cat(self, x: Sequence[Any], dim: int = 0) -> Any:
        """Tensors joined along an axis."""
        return self.observed(cat([take_float(self, part) for part in x], dim))

    def add_scalar(self, x: Any, y: float) -> Any:
        """x + y for a number y. Not observed: the integers have the steps of x."""
        self.met_numbers = True
        return take_float(self, x) + y

    def mul_scalar(self, x: Any, y: float) -> Any:
        """x y for a number y. Not observed: the integers are those of x."""
        self.met_numbers = True
        return take_float(self, x) * y


class FloatFunctional(FXFloatFunctional):
    """Operations of floats whose result is observed, once prepare has put an observer there. One object for each place.

    >>> f = FloatFunctional()
    >>> f.add_relu(nq.tensor([1.0, -3.0]), nq.tensor([1.0, 1.0]))
    tensor([2., 0.])
    """

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process = Identity()

    def observed(self, y: Tensor) -> Tensor:
        """y as it leaves the observer, or the fake-quantizer."""
        return self.activation_post_process(y)  # type: ignore[no-any-return]


class QScalarFunctional(OnGrid):
    """Sums and products of integers and numbers, which need no grid but the input's. What convert makes of a FloatFunctional
    whose observer has seen nothing because it was called with numbers alone.
    """

    forward = _by_methods

    def add_scalar(self, x: Any, y: float) -> QTensor:
        """x + y for a number y: the same integers, z' = z - rint(y / scale). Where z' leaves the dtype, it is the nearest end,
        and the steps become so much larger that the other end still means what it would.
        """
        q = self.take(x)
        grid, zero_point = _moved(q.qparams, float(y))
        if grid.zero_point == zero_point:
            return QTensor(q.values, grid, q.origin)
        return quantize((q.values.astype(np.int64) - zero_point).astype(np.float32) * q.qparams.scale, grid)

    def mul_scalar(self, x: Any, y: float) -> QTensor:
        """x y for a number y: the same integers with another scale; mirrored, if y is negative; zeros, if it is zero."""
        q = self.take(x)
        values = q.values if y else np.zeros_like(q.values)
        if y < 0:
            values = (sum(q.qparams.limits) - values.astype(np.int16)).astype(values.dtype)
        return QTensor(values, _scaled(q.qparams, float(y)), q.origin)


# Of equal grids and numbers, QParams are one object, by which layers find what they have run before.
@lru_cache(maxsize=256)
def _moved(grid: QParams, y: float) -> tuple[QParams, int]:
    """The grid of sums with a number, and the zero point that it would have if it could."""
    low, high = grid.limits
    zero_point = int(grid.zero_point) - int(np.rint(np.float32(y) / grid.scale))
    if low <= zero_point <= high:
        return replace(grid, zero_point=np.asarray(zero_point)), zero_point
    end, steps = (low, high - zero_point) if zero_point < low else (high, zero_point - low)
    wider = np.asarray(float(grid.scale) * steps / (high - low), np.float32)
    return replace(grid, scale=wider, zero_point=np.asarray(end)), zero_point


@lru_cache(maxsize=256)
def _scaled(grid: QParams, y: float) -> QParams:
    """The grid of products with a number."""
    if y == 0:
        return replace(grid, scale=np.ones((), np.float32), zero_point=np.asarray(0))
    zero_point = grid.zero_point if y > 0 else np.asarray(sum(grid.limits) - grid.zero_point)
    return replace(grid, scale=np.asarray(grid.scale * np.float32(abs(y))), zero_point=zero_point)


class QFunctional(QScalarFunctional):
    """The operations of `FloatFunctional` on integers; the result has this module's scale and zero point.

    Source of the arithmetic: `kernels.pointwise`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_output()

    @classmethod
    def from_float(cls, module: Any) -> QScalarFunctional:
        """From a FloatFunctional whose observer has seen data, or that has met numbers only."""
        try:
            grid = output_qparams(module)
        except NotCalibratedError:
            if module.met_numbers:
                return QScalarFunctional()
            raise
        twin = cls()
        twin.set_output(grid)
        return twin

    def add(self, x: Any, y: Any) -> QTensor:
        """x + y."""
        return combine("add", self.take(x), self.take(y), self.output())

    def add_relu(self, x: Any, y: Any) -> QTensor:
        """max(x + y, 0)."""
        return combine("add_relu", self.take(x), self.take(y), self.output())

    def mul(self, x: Any, y: Any) -> QTensor:
        """x y."""
        return combine("mul", self.take(x), self.take(y), self.output())

    def matmul(self, x: Any, y: Any) -> QTensor:
        """The product of matrices, in integers (torch multiplies floats)."""
        return multiply(self.take(x), self.take(y), self.output())

    def cat(self, x: Sequence[Any], dim: int = 0) -> QTensor:
        """Tensors joined along an axis, each requantized to this module's grid."""
        return join("cat", [self.take(part) for part in x], dim, None, None, self.output())

    def extra_repr(self) -> str:
        """The output's grid."""
        return self.grid_repr()
