"""Tensor: an array that remembers how it was computed.

Its methods are torch's, by name and arguments. Each row of `ops` becomes one here, by a line that names it; what is
made of other methods, or has no gradient, is inherited from `nanoquant.methods`.

Before: `tape`. After: `parameter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..methods import Methods
from ..qparams import QParams
from ..shaped import expanded, says, sizes
from .fake_quant import FAKE_QUANTIZE, ON_GRID, ROUNDED_TO_GRID, round_to_grid
from .ops import OPS, Array, Number, Op, constant
from .tape import Node, Source, changed, is_grad_enabled, walk

ARRAY_NAMES = {"dim": "axis", "keepdim": "keepdims", "min": "low", "max": "high", "exponent": "p"}  # torch's -> NumPy's


def apply(op: Op, *inputs: Any, **options: Any) -> Tensor:
    """Runs an operation, and records it if any input asks for a gradient. Inputs that are no tensors become constants."""
    like = next((t.array.dtype for t in inputs if isinstance(t, Tensor)), None)
    tensors = tuple(t if isinstance(t, Tensor) else Tensor(constant(t, like)) for t in inputs)
    arrays = tuple(t.array for t in tensors)
    grid = tensors[0].grid
    if grid is not None and op.name in ROUNDED_TO_GRID:
        op = round_to_grid(op, grid)
    y = op.forward(*arrays, **options)
    if y.dtype.char == "d" and "dtype" not in options and all(a.dtype.char != "d" for a in arrays):
        y = y.astype(np.float32)  # torch's float, where NumPy makes doubles of integers
    result = Tensor(y)
    if y.dtype.kind == "f" and is_grad_enabled() and any(t.requires_grad for t in tensors):
        result.requires_grad = True
        result.node = Node(op, arrays, tuple(t.source for t in tensors), options, result.array)
    if grid is not None and (op.name in ON_GRID or op.name in ROUNDED_TO_GRID):
        result.grid = grid
    return result


def _method(name: str) -> Callable[..., Tensor]:
    """The method of an op: the op's other inputs are its first arguments, the op's options the next."""
    op = OPS[name]
    parameters = list(signature(op.vjp).parameters.values())[3:]  # those after g, y and x
    count = sum(p.default is p.empty for p in parameters)
    names = [p.name for p in parameters[count:]]

    def method(self: Tensor, *given: Any, **options: Any) -> Tensor:
        if options or len(given) > count:
            options = {ARRAY_NAMES.get(k, k): v for k, v in options.items()} | dict(zip(names, given[count:]))  # noqa: B905
            options |= {"axis": tuple(options["axis"])} if isinstance(options.get("axis"), list) else {}
        return apply(op, self, *given[:count], **options)

    return says(op.doc, method)


def _methods(names: str) -> Iterator[Callable[..., Tensor]]:
    return map(_method, names.split())


def _operator(name: str, swapped: bool = False) -> Callable[..., Tensor]:
    """What Python calls for an operator: one operand is a tensor, the other may be an array or a number."""
    op = OPS[name]

    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor | np.ndarray | np.generic | Number):
            return NotImplemented
        return apply(op, other, self) if swapped else apply(op, self, other)

    return operator


def _arrays(index: Any) -> tuple[Any, ...]:
    """An index as NumPy takes it."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(i.array if isinstance(i, Tensor) else i for i in parts)


class Tensor(Methods):
    """An array with a gradient.

    array: the NumPy array it wraps, not a copy, or, as integers, the sizes of zeros. requires_grad: whether backward shall
    leave a gradient in `grad`. grid: the qparams that the values were rounded to, if they were fake-quantized; operations
    that keep a QTensor's qparams keep the grid, so that averages round in training as they do when deployed.

    >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __array_priority__ = 1000  # so that ndarray + Tensor asks the Tensor

    def __init__(self, array: ArrayLike, *more: int, requires_grad: bool = False) -> None:
        self.array: Array = np.zeros((array, *more), np.float32) if type(array) is int else np.asarray(array)
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.grid: QParams | None = None
        self.requires_grad = requires_grad

    def wrap(self, array: ArrayLike) -> Tensor:
        """A tensor outside the graph."""
        return Tensor(array)

    # ---- differentiation --------------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """Where a gradient of this tensor goes: to the operation that made it, to itself, or nowhere."""
        return (self.node or self) if self.requires_grad else None

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Adds d self / d leaf, times `gradient`, to the `grad` of every leaf that asks for it.

        gradient: of this tensor's shape; 1 for a single element. The graph is freed as it is walked, unless
        `retain_graph`.
        """
        walk(*self.seed(gradient), retain_graph)

    def seed(self, gradient: ArrayLike | None) -> tuple[Source, Array]:
        """Where a walk from here begins, and with what; raises RuntimeError where none can."""
        if self.source is None:
            raise RuntimeError(
                "backward needs a tensor that depends on one with requires_grad=True; what an int8 model puts out depends on "
                "none: train the float model or its QAT twin and convert it afterwards"
            )
        if gradient is None and self.array.size != 1:
            raise RuntimeError(f"backward of a tensor of shape {self.shape} needs a gradient of that shape")
        seed = np.ones_like(self.array) if gradient is None else np.asarray(gradient, dtype=self.dtype)
        if seed.shape != self.shape:
            raise RuntimeError(f"the gradient must have shape {self.shape}; got {seed.shape}")
        return self.source, seed

    def accumulate(self, gradient: Array, shared: bool) -> None:
        """Adds to `grad`, which has memory of its own: clipping changes it in place."""
        if self.grad is None:
            self.grad = Tensor(gradient.copy() if shared else gradient)
        else:
            self.grad.array += gradient

    def assign(self, index: Any, value: Any, part: bool = False) -> Tensor:
        """self[index] = value; returns self. What is recorded gets a new array, so that the graph keeps the old one.

        Raises RuntimeError for a leaf that requires grad while operations are recorded, and for a recorded change of
        what is a `part` of another tensor, which would not see it.
        """
        if is_grad_enabled() and (self.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
            if self.source is self:
                raise RuntimeError("a leaf that requires grad cannot change in place while that is recorded: use no_grad()")
            if not part and (self.node.op.name == "getitem" if self.node else self.array.base is not None):
                raise RuntimeError("a part of a tensor cannot change in place while that is recorded: x[i] = x[i] + y")
            made = apply(OPS["setitem"], self, value, index=_arrays(index))
            self.array, self.node, self.requires_grad = made.array, made.node, made.requires_grad
        else:
            self.array[_arrays(index)] = value.array if isinstance(value, Tensor) else value
            changed(self.array)
        self.grid = None
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self.assign(index, value)

    def __getitem__(self, index: Any) -> Tensor:
        return apply(OPS["getitem"], self, index=_arrays(index))

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

    # ---- the rows of the table --------------------------------------------------------------------------------------

    reshape: Callable[..., Tensor] = says("The same elements, in another shape; one size may be -1.",
        lambda self, *shape: apply(OPS["reshape"], self, shape=sizes(shape)))  # fmt: skip
    permute: Callable[..., Tensor] = says("Axes in another order.",
        lambda self, *dims: apply(OPS["permute"], self, axes=sizes(dims)))  # fmt: skip
    expand = says("Broadcast to a shape, in the same memory; -1 keeps a size.",
        lambda self, *size: apply(OPS["expand"], self, shape=expanded(self.shape, sizes(size))))  # fmt: skip
    choose = says("a where the condition holds, else b.",
        lambda self, condition, a, b: apply(OPS["where"], np.asarray(condition), a, b))  # fmt: skip
    type = says("In another dtype; the gradient passes.",
        lambda self, dtype: self if self.dtype == dtype else apply(OPS["cast"], self, dtype=dtype))  # fmt: skip

    def __pow__(self, exponent: Any) -> Tensor:
        if isinstance(exponent, Tensor | np.ndarray):
            return apply(OPS["power"], self, exponent)
        return apply(OPS["pow"], self, p=exponent)

    __add__, __sub__, __mul__, __truediv__ = map(_operator, ("add", "sub", "mul", "div"))
    __radd__, __rsub__, __rmul__ = (_operator(name, swapped=True) for name in ("add", "sub", "mul"))
    __rtruediv__, __rmatmul__, __rpow__ = (_operator(name, swapped=True) for name in ("div", "matmul", "power"))
    __mod__, __matmul__ = _operator("remainder"), _operator("matmul")
    mul, div, remainder, matmul, neg = _methods("mul div remainder matmul neg")
    exp, log, log1p, sqrt, rsqrt, abs, sin, cos = _methods("exp log log1p sqrt rsqrt abs sin cos")
    erf, relu, tanh, sigmoid, sign, round, floor = _methods("erf relu tanh sigmoid sign round floor")
    ceil, clone, limit, maximum, minimum, amax, amin = _methods("ceil clone clamp maximum minimum max min")
    sum, mean, cumsum, log_softmax, __neg__, __abs__ = _methods("sum mean cumsum log_softmax neg abs")
