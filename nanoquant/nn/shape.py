"""Layers that move elements: borders, upsampling, flattening; and `take`, the gathering that they and embeddings share.

Before: `activation`. After: `conv`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..autograd.ops import Array, Op
from ..autograd.tensor import apply
from ..module import Module
from ..qtensor import QTensor
from .layer import Layer, as_tensor, layer, sizes

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # NumPy's names
Borders = tuple[tuple[int, int], ...]  # (before, after) of each axis


def sum_by_index(rows: Array, index: Array, count: int) -> Array:
    """y[i] = the sum of the rows whose index is i: (rows, ...) to (count, ...). A sort brings equal indices together.

    >>> sum_by_index(np.array([1.0, 2.0, 3.0]), np.array([2, 0, 2]), 3)
    array([2., 0., 4.])
    """
    order = index.argsort(kind="stable")
    found, starts = np.unique(index[order], return_index=True)
    y = np.zeros((count, *rows.shape[1:]), rows.dtype)
    if len(found):
        y[found] = np.add.reduceat(rows[order], starts, axis=0)
    return y


def _take_vjp(g: Array, y: Array, x: Array, index: Array, axis: int, frozen: int | None = None) -> tuple[Array]:
    flat = g.reshape(*x.shape[:axis], index.size, *x.shape[axis + 1 :])
    dx = sum_by_index(np.moveaxis(flat, axis, 0), index.reshape(-1), x.shape[axis])
    if frozen is not None:
        dx[frozen] = 0
    return (np.moveaxis(dx, 0, axis),)


TAKE = Op("take", lambda x, index, axis, frozen=None: x.take(index, axis), _take_vjp)


def take(x: Any, index: Array, axis: int) -> Any:
    """The elements of x at an array of indices along an axis; an index may occur more than once."""
    if isinstance(x, QTensor):
        return x.with_values(x.values.take(index, axis))
    return apply(TAKE, x, index=index, axis=axis)


def _pad_vjp(g: Array, y: Array, x: Array, borders: Borders, value: float) -> tuple[Array]:
    return (g[tuple(slice(before, before + n) for (before, _), n in zip(borders, x.shape, strict=True))],)


PAD = Op("pad", lambda x, borders, value: np.pad(x, borders, constant_values=value), _pad_vjp)


def pad_axes(x: Any, borders: Borders, mode: str = "constant", value: float = 0.0) -> Any:
    """`pad` with a pair for each axis, the first axis first."""
    if mode != "constant":
        for axis, (border, size) in enumerate(zip(borders, x.shape, strict=True)):
            if mode == "reflect" and max(border) >= size > 0:
                raise ValueError(f"reflecting {size} elements gives a border of at most {size - 1}; got {border}")
            if any(border):
                x = take(x, np.pad(np.arange(size), border, mode=MODES[mode]), axis)  # type: ignore[call-overload]
        return x
    if isinstance(x, QTensor):
        if value:
            raise ValueError(f"the border of a quantized tensor is zero; got {value}")
        return x.with_values(np.pad(x.values, borders, constant_values=x.q_zero_point()))
    return apply(PAD, x, borders=borders, value=value)


def pad(input: ArrayLike, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Any:
    """A tensor with a border: `value`, its edge mirrored ('reflect') or repeated ('replicate'), its other side ('circular').

    pad: elements before and after, of the last axis first: (left, right, top, bottom ...).

    >>> pad(nq.tensor([[1.0, 2.0, 3.0]]), (2, 1), "reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    x = as_tensor(input)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad must have two numbers for each of at most {x.ndim} axes; got {pad}")
    pairs = tuple(zip(pad[::2], pad[1::2], strict=True))
    return pad_axes(x, ((0, 0),) * (x.ndim - len(pairs)) + pairs[::-1], mode, value)


def _axis_positions(size: int, out: int, scale: float | None, linear: bool, align_corners: bool) -> tuple[Array, Array, Array]:
    """For each of `out` pixels: the two pixels of the input that it lies between, and the weight of the second."""
    step = size / out if scale is None else 1 / scale
    if not linear:
        low = np.minimum(np.floor(np.arange(out) * step).astype(np.int64), size - 1)
        return low, low, np.zeros(out)
    pixels = np.arange(out)
    at = pixels * ((size - 1) / max(out - 1, 1)) if align_corners else np.maximum((pixels + 0.5) * step - 0.5, 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), at - low


LINEAR_MODES = {"linear": 3, "bilinear": 4, "trilinear": 5}  # and the axes that they take


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:  # fmt: skip
    """Images (batch, channels, *size) of another size: one axis after the other, out[i] = (1 - t) x[low] + t x[low + 1].

    With step = size / out, or 1 / scale_factor if that is given: 'nearest' has low = floor(i step), t = 0; 'linear',
    'bilinear' and 'trilinear' have low + t = (i + 1/2) step - 1/2, at least 0; with align_corners, the corner pixels' centres
    agree: i (size - 1) / (out - 1). Integers: nearest only.

    >>> interpolate(nq.tensor([[[0.0, 1.0]]]), scale_factor=2, mode="linear")
    tensor([[[0.  , 0.25, 0.75, 1.  ]]])
    """
    x = as_tensor(input)
    if mode != "nearest" and LINEAR_MODES.get(mode) != x.ndim:
        raise ValueError(f"mode {mode!r} does not take {x.ndim} axes; modes: nearest, {', '.join(LINEAR_MODES)} (3, 4, 5)")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate takes either size or scale_factor")
    axes = x.ndim - 2
    given = size if scale_factor is None else scale_factor
    given = tuple(given) if isinstance(given, tuple | list) else (given,) * axes
    for axis, (old, wanted) in enumerate(zip(x.shape[2:], given, strict=True), 2):
        out, scale = (wanted, None) if scale_factor is None else (int(old * wanted), wanted)
        low, high, t = _axis_positions(old, out, scale, mode != "nearest", bool(align_corners))
        first = take(x, low, axis)
        if t.any():
            weight = t.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
            x = first * (1 - weight) + take(x, high, axis) * weight
        else:
            x = first
    return x


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., c r^2, height, width) to (..., c, height r, width r): each r^2 channels become a block of r x r pixels."""
    x, r = as_tensor(input), upscale_factor
    *batch, channels, height, width = x.shape
    n = len(batch)
    blocks = x.reshape(*batch, channels // (r * r), r, r, height, width)
    return blocks.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2).reshape(*batch, -1, height * r, width * r)


def unflatten(input: Any, dim: int, unflattened_size: tuple[int, ...]) -> Any:
    """Axis `dim` split into axes of these sizes; one may be -1."""
    x = as_tensor(input)
    axis = dim % x.ndim
    return x.reshape(*x.shape[:axis], *unflattened_size, *x.shape[axis + 1 :])


class Flatten(Layer):
    """Axes start_dim..end_dim merged into one; by default all but the batch's.

    >>> Flatten()(nq.ones(2, 3, 4)).shape
    (2, 12)
    """

    function, shown = (staticmethod(lambda x, start_dim=1, end_dim=-1: x.flatten(start_dim, end_dim)), "start_dim end_dim")
    integers = True


Unflatten = layer("Unflatten", unflatten, "Axis `dim` split into axes of the sizes unflattened_size; one may be -1.",
                  shown="dim unflattened_size", integers=True)  # fmt: skip
PixelShuffle = layer("PixelShuffle", pixel_shuffle, "(batch, c r^2, height, width) to (batch, c, height r, width r).",
                     shown="upscale_factor", integers=True)  # fmt: skip


class Upsample(Layer):
    """Images of `size`, or larger by `scale_factor`; mode 'nearest', 'linear', 'bilinear', 'trilinear' as in `interpolate`.

    >>> Upsample(scale_factor=2)([[[[1.0, 2.0]]]])
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    function, shown, integers = staticmethod(interpolate), "size? scale_factor? mode", True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if isinstance(given := vars(self)["scale_factor"], int):
            self.scale_factor = float(given)


class _Pad(Module):
    axes: int
    mode: str
    value = 0.0

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__()
        self.padding = sizes(padding, "padding", 2 * self.axes)

    def forward(self, x: Any) -> Any:
        return pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _pads(name: str, mode: str, base: type[_Pad] = _Pad) -> list[type[Any]]:
    doc = "A border around the last {} axes, in mode '{}' of `pad`; padding: an integer, or (left, right, top ...)."
    bodies = [{"axes": n, "mode": mode, "__doc__": doc.format(n, mode), "__module__": __name__} for n in (1, 2, 3)]
    return [type(f"{name}{body['axes']}d", (base,), body) for body in bodies]


ConstantPad1d, ConstantPad2d, ConstantPad3d = _pads("ConstantPad", "constant", _ConstantPad)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _pads("ZeroPad", "constant")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _pads("ReflectionPad", "reflect")
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _pads("ReplicationPad", "replicate")
