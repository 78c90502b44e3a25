"""Parameter: a tensor that a Module counts as its own.

Before: `tensor`. After: `gradcheck`.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from ..module import ParameterBase
from .tensor import Tensor


class Parameter(Tensor, ParameterBase):
    """A tensor that a Module lists among its parameters.

    >>> Parameter([0.5])
    Parameter containing:
    tensor([0.5], requires_grad=True)
    """

    def __init__(self, array: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(array, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
