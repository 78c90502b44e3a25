"""The methods of Tensor that need no derivative of their own: made of other methods, or without a gradient.

Nothing here knows how gradients work. `wrap(array)` makes a tensor outside the graph; all else goes through methods
that Tensor makes of the table in `autograd.ops`.

    >>> x = nq.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    >>> x.sort(1).values.tolist(), x.max(1).indices.tolist(), round(x.std().item(), 4)
    ([[1.0, 2.0, 3.0], [0.0, 4.0, 5.0]], [0, 1], 1.8708)
    >>> x.masked_fill(x > 3, 0).clamp_(max=2)
    tensor([[2., 1., 2.],
            [0., 0., 0.]])

Before: `seed`. After: `nanoquant.autograd`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .seed import generator
from .shaped import Shaped, says, sizes


class Found(NamedTuple):
    """Elements, and where along an axis they were found."""

    values: Any
    indices: Any


class device(str):  # noqa: N801  (torch's name)
    """Where a tensor is: on the 'cpu', the one device there is."""

    __slots__ = ()
    type = property(lambda self: str(self))


def _plain(doc: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A method without a gradient: a function of this array, and of another tensor, array or number."""

    def method(self: Methods, *others: Any) -> Any:
        if not all(isinstance(other, Methods | np.ndarray | np.generic | int | float) for other in others):
            return NotImplemented
        return self.wrap(function(self.array, *(o.array if isinstance(o, Methods) else o for o in others)))

    return says(doc, method)


def _reduced(doc: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A method without a gradient that reduces all axes, or one."""
    return says(doc, lambda self, dim=None, keepdim=False: self.wrap(function(self.array, dim, keepdims=keepdim)))


def _in_place(names: str, part: bool = False) -> Iterator[Callable[..., Any]]:
    """x.name_(...) is x[...] = x.name(...). part: also where x is a part of another tensor."""
    for name in names.split():

        def method(self: Any, *given: Any, alpha: float = 1, _name: str = name, **options: Any) -> Any:
            value = getattr(self, _name)(*(given if alpha == 1 else (given[0] * alpha,)), **options)
            if value is NotImplemented:
                return value
            if value.dtype.kind == "f" and self.dtype.kind != "f":
                raise RuntimeError(f"{_name} gives {value.dtype}, which a tensor of {self.dtype} cannot hold")
            return self.assign(..., value, part)

        yield says(f"`{name}`, in place; see `assign`.", method)


def _casts(names: str) -> Iterator[Callable[..., Any]]:
    return (says(f"As {name}.", lambda self, name=name: self.type(name)) for name in names.split())


class Methods(Shaped):
    """What Tensor inherits; see the module."""

    array: NDArray[Any]
    requires_grad: bool
    node: Any
    wrap: Any
    assign: Any

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self.array.dtype

    def numpy(self) -> NDArray[Any]:
        """The array, not copied. A tensor that requires grad refuses: detach() it first."""
        if self.requires_grad:
            raise RuntimeError("this tensor requires grad: call detach().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        body = np.array2string(self.array, separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (np.float32, np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        gradient = f", op={self.node.op.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({body}{dtype}{gradient})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if self.node is not None:
            raise RuntimeError("only tensors made by the user can be deep-copied: detach() this one first")
        twin = memo[id(self)] = object.__new__(type(self))
        vars(twin).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return twin

    __bool__ = says("Of the only element.", lambda self: bool(self.item()))
    __float__ = says("Of the only element.", lambda self: float(self.item()))
    __int__ = says("Of the only element.", lambda self: int(self.item()))
    __index__ = says("Of the only element.", lambda self: self.item().__index__())
    __format__ = says("Of the only element.", lambda self, spec: format(self.item() if spec else str(self), spec))
    device = property(says("Where it is.", lambda self: device("cpu")))
    is_leaf = property(says("Whether no recorded operation made it.", lambda self: self.node is None))
    is_floating_point = says("Whether the elements are floats.", lambda self: self.dtype.kind == "f")
    element_size = says("Bytes per element.", lambda self: self.array.itemsize)
    item = says("The only element, as a Python number.", lambda self: self.array.item())
    tolist = says("Nested lists of Python numbers.", lambda self: self.array.tolist())
    argmax = _reduced("Index of the greatest element: of the flat tensor, or along `dim`.", np.argmax)
    argmin = _reduced("Index of the smallest element: of the flat tensor, or along `dim`.", np.argmin)
    all, any = _reduced("Whether no element is 0.", np.all), _reduced("Whether some element is not 0.", np.any)
    count_nonzero = _reduced("How many elements are not 0.", np.count_nonzero)
    unique = says("The different elements, in order.", lambda self: self.wrap(np.unique(self.array)))
    bincount = says(
        "How often each number from 0 on occurs.",
        lambda self, minlength=0: self.wrap(np.bincount(self.array, minlength=minlength)),
    )
    is_contiguous = says("Whether the elements lie in rows.", lambda self: self.array.flags.c_contiguous)
    equal = says("Equal shape and elements.", lambda self, other: np.array_equal(self.array, np.asarray(other)))
    allclose = says("Whether |x - other| <= atol + rtol |other| everywhere.",
        lambda self, other, rtol=1e-5, atol=1e-8: np.allclose(self.array, np.asarray(other), rtol, atol))  # fmt: skip

    def argsort(self: Any, dim: int = -1, descending: bool = False) -> Any:
        """The indices that sort along an axis; equal elements keep their order."""
        if not descending:
            return self.wrap(self.array.argsort(dim, kind="stable"))
        backward = np.flip(np.flip(self.array, dim).argsort(dim, kind="stable"), dim)
        return self.wrap(self.shape[dim] - 1 - backward)

    def nonzero(self: Any, as_tuple: bool = False) -> Any:
        """The indices of the elements that are not 0: one row each, or one tensor per axis."""
        found = np.nonzero(self.array)
        return tuple(map(self.wrap, found)) if as_tuple else self.wrap(np.stack(found, 1))

    # ---- outside the graph ------------------------------------------------------------------------------------------

    detach = says("The same memory, outside the graph.", lambda self: self.wrap(self.array))
    data = property(detach, lambda self, value: setattr(self, "array", np.asarray(value)))
    cpu = says("This tensor.", lambda self: self)
    new_tensor = says("A tensor of its own from `data`, in this dtype unless another is given.",
        lambda self, data, dtype=None: self.wrap(np.array(data, dtype or self.dtype)))  # fmt: skip
    new_full = says("Of one value, in this dtype unless another is given.",
        lambda self, size, value, dtype=None: self.wrap(np.full(size, value, dtype or self.dtype)))  # fmt: skip
    new_zeros = says("Zeros; see `new_full`.", lambda self, *size, dtype=None: self.new_full(sizes(size), 0, dtype))
    new_ones = says("Ones; see `new_full`.", lambda self, *size, dtype=None: self.new_full(sizes(size), 1, dtype))

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Sets whether backward shall leave a gradient; returns this tensor."""
        self.requires_grad = requires_grad
        return self

    def detach_(self) -> Any:
        """Takes this tensor out of the graph; returns it."""
        self.node = None
        return self.requires_grad_(False)

    # ---- made of others ---------------------------------------------------------------------------------------------

    add = says("x + alpha other.", lambda self, other, alpha=1: self + (other if alpha == 1 else other * alpha))
    sub = says("x - alpha other.", lambda self, other, alpha=1: self - (other if alpha == 1 else other * alpha))
    square = says("x^2.", lambda self: self * self)
    reciprocal = says("1 / x.", lambda self: 1 / self)
    log2 = says("Logarithm to base 2.", lambda self: self.log() * (1 / math.log(2)))
    log10 = says("Logarithm to base 10.", lambda self: self.log() * (1 / math.log(10)))
    trunc = says("x without its fraction.", lambda self: self.abs().floor() * self.sign())
    dot = says("The sum of x_i other_i.", lambda self, other: (self * other).sum())
    lerp = says("x + weight (end - x).", lambda self, end, weight: self + (end - self) * weight)
    tril = says("A matrix without what lies above a diagonal.",
        lambda self, diagonal=0: self.masked_fill(np.tri(self.shape[-2], self.shape[-1], diagonal) == 0, 0))  # fmt: skip
    triu = says("A matrix without what lies below a diagonal.",
        lambda self, diagonal=0: self.masked_fill(np.tri(self.shape[-2], self.shape[-1], diagonal - 1) == 1, 0))  # fmt: skip
    repeat_interleave = says("Each element along an axis so many times.",
        lambda self, repeats, dim: self.along(dim, np.repeat(np.arange(self.shape[dim]), np.asarray(repeats))))  # fmt: skip
    pow = says("x to a power: a number, or a tensor of them.", lambda self, exponent: self**exponent)
    softmax = says("e^x_i / sum_j e^x_j along an axis.", lambda self, dim=-1: self.log_softmax(dim).exp())
    expand_as = says("Broadcast to the shape of `other`.", lambda self, other: self.expand(other.shape))
    where = says("x where the condition holds, else other.", lambda self, mask, other: self.choose(mask, self, other))
    masked_fill = says("value where the mask holds, else x.", lambda self, mask, value: self.choose(mask, value, self))
    masked_select = says("The elements where the mask holds, in one axis.", lambda self, mask: self[mask])
    std = says("Square root of `var`.", lambda self, *given, **options: self.var(*given, **options).sqrt())
    contiguous = says("The same elements, in a copy if they do not lie in rows.",
        lambda self: self if self.array.flags.c_contiguous else self.clone())  # fmt: skip
    sort = says("(values, indices) in ascending or descending order along an axis; equal elements keep their order.",
        lambda self, dim=-1, descending=False: self._found(self.argsort(dim, descending), dim))  # fmt: skip
    topk = says("(values, indices) of the k greatest (or smallest) elements along an axis, in order.",
        lambda self, k, dim=-1, largest=True, sorted=True:  # noqa: A006  (torch's name)
        self._found(self.argsort(dim, largest).narrow(dim, 0, k), dim))  # fmt: skip
    max = says("The greatest element; along `dim`, (values, indices); with a tensor, `maximum`.",
        lambda self, dim=None, keepdim=False: self._extreme("max", dim, keepdim))  # fmt: skip
    min = says("The smallest element; along `dim`, (values, indices); with a tensor, `minimum`.",
        lambda self, dim=None, keepdim=False: self._extreme("min", dim, keepdim))  # fmt: skip

    def _extreme(self: Any, name: str, dim: Any, keepdim: bool) -> Any:
        if isinstance(dim, Methods):
            return getattr(self, name + "imum")(dim)
        if dim is None:
            return getattr(self, "a" + name)()
        found = self._found(getattr(self, "arg" + name)(dim, True), dim)
        return found if keepdim else Found(*(part.squeeze(dim) for part in found))

    def _found(self, indices: Any, dim: int) -> Found:
        return Found(self.gather(dim, indices), indices)

    def gather(self, dim: int, index: Any) -> Any:
        """y[i, j, ...] = x[index[i, j, ...], j, ...] for dim = 0, and so on."""
        grid: list[Any] = list(np.ogrid[tuple(slice(size) for size in index.shape)])
        grid[dim] = index
        return self[tuple(grid)]

    def var(self: Any, dim: Any = None, unbiased: Any = True, keepdim: bool = False, correction: Any = None) -> Any:
        """Sum of (x - mean)^2 over the count less `correction` (1 if unbiased, else 0)."""
        square = (self - self.mean(dim, keepdim=True)) ** 2
        count = self.numel() if dim is None else math.prod(self.shape[d] for d in np.atleast_1d(dim))
        free = count - (int(unbiased) if correction is None else correction)
        return square.sum(dim, keepdim=keepdim) / (free if free > 0 else math.nan)

    def prod(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """Product over all axes, or over one: of its halves, again and again."""
        axis, y, odd = (0, self.reshape(-1), 1) if dim is None else (dim, self, 1)
        while (half := y.shape[axis] // 2) > 0:
            odd = odd * y.narrow(axis, 2 * half, 1) if y.shape[axis] % 2 else odd
            y = y.narrow(axis, 0, half) * y.narrow(axis, half, half)
        y = y * odd if y.shape[axis] else y.sum(axis, keepdim=True) + 1
        return y if keepdim else y.squeeze(axis)

    def logsumexp(self: Any, dim: Any, keepdim: bool = False) -> Any:
        """log(sum e^x) over axes, computed from the greatest x on."""
        greatest = self.detach().amax(dim, keepdim=True)
        y = (self - greatest).exp().sum(dim, keepdim=True).log() + greatest
        return y if keepdim else y.squeeze(dim)

    def roll(self: Any, shifts: int, dim: int | None = None) -> Any:
        """Moved along an axis, what leaves at its end entering at its start; without `dim`, as one long axis."""
        if dim is None:
            return self.flatten().roll(shifts, 0).reshape(self.shape)
        return self.along(dim, (np.arange(self.shape[dim]) - shifts) % self.shape[dim])

    def median(self: Any, dim: int | None = None) -> Any:
        """The lower of the middle elements; along `dim`, (values, indices)."""
        if dim is None:
            return self.flatten().median(0).values
        found = self._found(self.argsort(dim).narrow(dim, (self.shape[dim] - 1) // 2, 1), dim)
        return Found(*(part.squeeze(dim) for part in found))

    def scatter(self: Any, dim: int, index: Any, value: Any) -> Any:
        """A copy in which value[i, j, ...] stands at [index[i, j, ...], j, ...] for dim = 0, and so on. No gradient."""
        if self.requires_grad or getattr(value, "requires_grad", False):
            raise RuntimeError("scatter has no gradient here: detach() first, or use where or gather")
        y, values = self.array.copy(), np.asarray(value, self.dtype)
        np.put_along_axis(y, np.asarray(index), values[tuple(map(slice, index.shape))] if values.ndim else values, dim)
        return self.wrap(y)

    def norm(self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
        """(sum |x|^p)^(1/p) over all axes or over `dim`; the greatest |x| for p = inf."""
        if p in (2, "fro"):  # at 0, where the root has no derivative, the gradient is 0
            square = (self * self).sum(dim, keepdim=keepdim)
            none = square == 0
            return square.masked_fill(none, 1).sqrt().masked_fill(none, 0)
        size = self.abs()
        if math.isinf(p):
            return size.amax(dim, keepdim=keepdim) if p > 0 else size.amin(dim, keepdim=keepdim)
        return (size**p).sum(dim, keepdim=keepdim) ** (1 / p)

    def clamp(self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002  (torch's names)
        """Limits to [min, max], numbers or tensors; the gradient passes where nothing was changed."""
        if not isinstance(min, Methods) and not isinstance(max, Methods):
            return self.limit(min, max)
        raised = self if min is None else self.choose(self < min, min, self)
        return raised if max is None else raised.choose(raised > max, max, raised)

    def repeat(self: Any, *repeats: Any) -> Any:
        """Copies side by side: so many along each axis; axes may be added in front."""
        counts = sizes(repeats)
        shape = (*(1 for _ in counts[self.ndim :]), *self.shape)
        spread = self.reshape([size for n in shape for size in (1, n)])
        spread = spread.expand([size for pair in zip(counts, shape, strict=True) for size in pair])
        return spread.reshape([count * size for count, size in zip(counts, shape, strict=True)])

    def to(self: Any, *targets: Any, dtype: Any = None, device: str = "cpu") -> Any:
        """In a dtype, or in that of another tensor; 'cpu' is the one device there is."""
        y = self
        for target in (*targets, dtype, device):
            if target is not None and str(target) != "cpu":
                y = y.type(target.dtype if isinstance(target, Methods) else target)
        return y

    # ---- comparisons, and changes in place --------------------------------------------------------------------------

    lt, le = __lt__, __le__ = _plain("x < other.", np.less), _plain("x <= other.", np.less_equal)
    gt, ge = __gt__, __ge__ = _plain("x > other.", np.greater), _plain("x >= other.", np.greater_equal)
    eq, ne = __eq__, __ne__ = _plain("x = other.", np.equal), _plain("x != other.", np.not_equal)
    isnan, isinf = _plain("Where x is no number.", np.isnan), _plain("Where x is infinite.", np.isinf)
    logical_and, logical_or = _plain("Both not 0.", np.logical_and), _plain("One not 0.", np.logical_or)
    logical_not, logical_xor = _plain("Where x is 0.", np.logical_not), _plain("Just one not 0.", np.logical_xor)
    isfinite = _plain("Where x is a finite number.", np.isfinite)
    floor_divide = __floordiv__ = _plain("floor(x / other).", np.floor_divide)
    __and__, __or__ = _plain("Bit by bit.", np.bitwise_and), _plain("Bit by bit.", np.bitwise_or)
    __xor__, __invert__ = _plain("Bit by bit.", np.bitwise_xor), _plain("Bit by bit.", np.invert)

    add_, sub_, mul_, div_, pow_, abs_, neg_ = _in_place("add sub mul div pow abs neg")
    exp_, sqrt_, relu_, sigmoid_, tanh_, sign_ = _in_place("exp sqrt relu sigmoid tanh sign")
    round_, floor_, ceil_, clamp_, masked_fill_, scatter_ = _in_place("round floor ceil clamp masked_fill scatter")
    __iadd__, __isub__, __imul__, __itruediv__ = _in_place("__add__ __sub__ __mul__ __truediv__", part=True)
    fill_ = copy_ = says("Its elements become those of `value`.", lambda self, value: self.assign(..., value))
    zero_ = says("Every element becomes 0.", lambda self: self.assign(..., 0))
    uniform_ = says("Uniform random numbers in [low, high).",
        lambda self, low=0.0, high=1.0: self.assign(..., generator().uniform(low, high, self.shape)))  # fmt: skip
    normal_ = says("Normal random numbers.",
        lambda self, mean=0.0, std=1.0: self.assign(..., generator().normal(mean, std, self.shape)))  # fmt: skip

    # ---- other dtypes (last: the names hide Python's) ---------------------------------------------------------------

    double, float, half = _casts("float64 float32 float16")
    long, int, bool = _casts("int64 int32 bool")
