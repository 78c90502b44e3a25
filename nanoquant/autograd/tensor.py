"""Tensor: an array that remembers how it was computed.

Its methods are torch's, by name and arguments; each is a row of `ops`.

Before: `shaped`. After: `parameter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..qparams import QParams
from .fake_quant import FAKE_QUANTIZE, ON_GRID, ROUNDED_TO_GRID, round_to_grid
from .ops import OPS, Array, Axis, Number, Op, constant
from .shaped import Shaped, flattened
from .tape import Node, is_grad_enabled, walk


def apply(op: Op, *inputs: Any, **options: Any) -> Tensor:
    """Runs an operation, and records it if any input asks for a gradient. Inputs that are no tensors become constants."""
    like = next((t.array.dtype for t in inputs if isinstance(t, Tensor)), None)
    tensors = tuple(t if isinstance(t, Tensor) else Tensor(constant(t, like)) for t in inputs)
    grid = tensors[0].grid
    if grid is not None and op.name in ROUNDED_TO_GRID:
        op = round_to_grid(op, grid)
    result = Tensor(op.forward(*(t.array for t in tensors), **options))
    if is_grad_enabled() and any(t.requires_grad for t in tensors):
        result.requires_grad = True
        result.node = Node(op, tensors, options)
    if op.name in ON_GRID or op.name in ROUNDED_TO_GRID:
        result.grid = grid
    return result


class Tensor(Shaped):
    """An array with a gradient.

    array: the NumPy array it wraps, not a copy; `np.asarray(tensor)` gives it back. requires_grad: whether backward
    shall leave a gradient in `grad`. grid: the qparams that the values were rounded to, if they were fake-quantized;
    operations that keep a QTensor's qparams keep the grid, so that averages round in training as they do when
    deployed.

    >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __array_priority__ = 1000  # so that ndarray + Tensor asks the Tensor

    def __init__(self, array: ArrayLike, requires_grad: bool = False) -> None:
        self.array: Array = np.asarray(array)
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.grid: QParams | None = None
        self.requires_grad = requires_grad

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self.array.dtype

    @property
    def data(self) -> Tensor:
        """The same memory, outside the graph."""
        return Tensor(self.array)

    @data.setter
    def data(self, value: ArrayLike) -> None:
        self.array = np.asarray(value)

    def element_size(self) -> int:
        """Bytes per element."""
        return self.array.itemsize

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.array.tolist()

    def numpy(self) -> Array:
        """The array, not copied. A tensor that requires grad refuses: detach() it first."""
        if self.requires_grad:
            raise RuntimeError("this tensor requires grad: call detach().numpy()")
        return self.array

    def detach(self) -> Tensor:
        """The same memory, outside the graph."""
        return Tensor(self.array)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether backward shall leave a gradient."""
        self.requires_grad = requires_grad
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __index__(self) -> int:
        return int(self.array.__index__())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        body = np.array2string(self.array, separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (np.float32, np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        gradient = f", op={self.node.op.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({body}{dtype}{gradient})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise RuntimeError("only tensors made by the user can be deep-copied: detach() this one first")
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        Tensor.__init__(twin, self.array.copy(), self.requires_grad)
        twin.grad = None if self.grad is None else Tensor(self.grad.array.copy())
        return twin

    # ---- differentiation --------------------------------------------------------------------------------------------

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Adds d self / d leaf, times `gradient`, to the `grad` of every leaf that asks for it.

        gradient: of this tensor's shape; 1 for a single element. The graph is freed as it is walked, unless
        `retain_graph`.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward needs a tensor that depends on one with requires_grad=True; what an int8 model puts out depends on "
                "none: train the float model or its QAT twin and convert it afterwards"
            )
        if gradient is None and self.array.size != 1:
            raise RuntimeError(f"backward of a tensor of shape {self.shape} needs a gradient of that shape")
        seed = np.ones_like(self.array) if gradient is None else np.asarray(gradient, dtype=self.dtype)
        if seed.shape != self.shape:
            raise RuntimeError(f"the gradient must have shape {self.shape}; got {seed.shape}")
        walk(self, seed, retain_graph)

    def accumulate(self, gradient: Array) -> None:
        """Adds to `grad`."""
        self.grad = Tensor(gradient if self.grad is None else self.grad.array + gradient)

    # ---- arithmetic -------------------------------------------------------------------------------------------------

    def _binary(self, name: str, other: Any, swapped: bool = False) -> Tensor:
        if not isinstance(other, Tensor | np.ndarray | np.generic | Number):
            return NotImplemented  # type: ignore[no-any-return]
        return apply(OPS[name], other, self) if swapped else apply(OPS[name], self, other)

    def __add__(self, other: Any) -> Tensor:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Tensor:
        return self._binary("add", other, swapped=True)

    def __sub__(self, other: Any) -> Tensor:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._binary("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Tensor:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._binary("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Tensor:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._binary("div", other, swapped=True)

    def __matmul__(self, other: Any) -> Tensor:
        return self._binary("matmul", other)

    def __neg__(self) -> Tensor:
        return apply(OPS["neg"], self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply(OPS["pow"], self, p=exponent)

    def _compare(self, compare: Callable[[Array, Any], Any], other: Any) -> Tensor:
        return Tensor(compare(self.array, other.array if isinstance(other, Tensor) else other))

    def __lt__(self, other: Any) -> Tensor:
        return self._compare(np.less, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compare(np.less_equal, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compare(np.greater, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compare(np.greater_equal, other)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare(np.equal, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare(np.not_equal, other)

    def exp(self) -> Tensor:
        """e^x."""
        return apply(OPS["exp"], self)

    def log(self) -> Tensor:
        """Natural logarithm."""
        return apply(OPS["log"], self)

    def sqrt(self) -> Tensor:
        """Square root."""
        return apply(OPS["sqrt"], self)

    def abs(self) -> Tensor:
        """Absolute value; the gradient at 0 is 0."""
        return apply(OPS["abs"], self)

    def relu(self) -> Tensor:
        """max(x, 0); the gradient at 0 is 0."""
        return apply(OPS["relu"], self)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent."""
        return apply(OPS["tanh"], self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + e^-x)."""
        return apply(OPS["sigmoid"], self)

    def clamp(self, min: float | None = None, max: float | None = None) -> Tensor:  # noqa: A002  (torch's names)
        """Limits to [min, max]; the gradient passes where nothing was changed."""
        return apply(OPS["clamp"], self, low=min, high=max)

    # ---- reductions -------------------------------------------------------------------------------------------------

    def sum(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Sum over all axes, or over `dim`."""
        return apply(OPS["sum"], self, axis=dim, keepdims=keepdim)

    def mean(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Mean over all axes, or over `dim`."""
        return apply(OPS["mean"], self, axis=dim, keepdims=keepdim)

    def max(self) -> Tensor:
        """The greatest element; equal ones share the gradient."""
        return apply(OPS["max"], self)

    def min(self) -> Tensor:
        """The smallest element; equal ones share the gradient."""
        return apply(OPS["min"], self)

    def argmax(self, dim: int | None = None) -> Tensor:
        """Index of the greatest element: of the flat tensor, or along `dim`."""
        return Tensor(np.asarray(self.array.argmax(dim)))

    # ---- shape ------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements, in another shape; one size may be -1."""
        return apply(
            OPS["reshape"], self, shape=shape if len(shape) != 1 or isinstance(shape[0], int) else tuple(shape[0])
        )

    def view(self, *shape: Any) -> Tensor:
        """`reshape`."""
        return self.reshape(*shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Axes start_dim..end_dim merged into one."""
        return self.reshape(flattened(self.shape, start_dim, end_dim))

    def permute(self, *dims: Any) -> Tensor:
        """Axes in another order."""
        return apply(OPS["permute"], self, axes=dims if len(dims) != 1 or isinstance(dims[0], int) else tuple(dims[0]))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
        return self.permute(axes)

    def t(self) -> Tensor:
        """A matrix transposed."""
        return self.transpose(0, 1)

    def __getitem__(self, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        return apply(OPS["getitem"], self, index=tuple(i.array if isinstance(i, Tensor) else i for i in parts))

    def clone(self) -> Tensor:
        """A copy that stays in the graph."""
        return apply(OPS["clone"], self)

    def float(self) -> Tensor:
        """As float32."""
        return self._cast(np.float32)

    def long(self) -> Tensor:
        """As int64."""
        return self._cast(np.int64)

    def fake_quantize(self, qparams: QParams) -> Tensor:
        """Rounded to the grid that qparams stand for; the gradient passes straight through where nothing was clamped.

        See `autograd.fake_quant`.

        >>> x = Tensor(np.float32([0.3, 9.0]), requires_grad=True)
        >>> y = x.fake_quantize(QParams(0.25, 8, quant_min=0, quant_max=15))
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0.25, 1.75]), tensor([1., 0.]))
        """
        y = apply(FAKE_QUANTIZE, self, qparams=qparams)
        y.grid = qparams if qparams.axis is None else None
        return y

    def _cast(self, dtype: Any) -> Tensor:
        return self if self.dtype == dtype else Tensor(self.array.astype(dtype))
