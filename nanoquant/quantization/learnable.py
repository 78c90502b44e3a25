"""Scales that are learned: LSQ and LSQ+.

    y = s (clamp(rint(x / s) + z, Q_n, Q_p) - z)

Training may change s (and z) like any weight, if y has a derivative with respect to them. Write r = x / s. Where
nothing is clamped y = s rint(r), and the straight-through estimator treats rint(r) = r + c as if the rounding error c
did not depend on anything. Then y = s (x / s + c) = x + s c, and

                    dy/dx          dy/ds               dy/dz
    inside          1              rint(r) - r         0                c, the rounding error
    below Q_n       0              Q_n - z             -s               y = s (Q_n - z)
    above Q_p       0              Q_p - z             -s               y = s (Q_p - z)

So a scale grows when clamping costs more than rounding, and shrinks when it does not. The gradient of s sums over all N
elements that share it, and is about sqrt(N Q_p) times larger, relative to s, than that of a weight; LSQ divides it by
that (`use_grad_scaling`).

Sources: Esser et al., "Learned Step Size Quantization", 2020; Bhalgat et al., "LSQ+", 2020 (the zero point).

Before: `fake_quantize`. After: `qconfig`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..affine import fake_quantize_as, inverse_scale, refuse_nan
from ..autograd.ops import Array, Op
from ..autograd.tensor import apply
from ..nn import Parameter
from ..nn.layer import as_tensor
from ..observers import MovingAverageMinMaxObserver, NotCalibratedError, Observer
from ..qparams import QParams
from .fake_quantize import FakeQuantize


def _forward(x: Array, scale: Array, zero_point: Array, grid: QParams, factor: float) -> Array:
    del scale, zero_point, factor
    refuse_nan(x)
    return fake_quantize_as(x, grid)


def _vjp(
    g: Array, y: Array, x: Array, scale: Array, zero_point: Array, grid: QParams, factor: float
) -> tuple[Array, Array, Array]:
    """The table above; `grid` holds scale and zero point as the forward pass used them."""
    s, z = grid.over(x.shape)
    low, high = grid.limits
    steps = np.rint(np.multiply(x, inverse_scale(s), dtype=np.float32)) + z
    inside = (steps >= low) & (steps <= high)
    by_scale = np.where(inside, (y - x) * inverse_scale(s), np.clip(steps, low, high) - z)
    by_zero_point = np.where(inside, 0, -s)
    return (
        g * inside,
        (_summed(g * by_scale, grid) * factor).reshape(scale.shape),
        (_summed(g * by_zero_point, grid) * factor).reshape(zero_point.shape),
    )


def _summed(values: Array, grid: QParams) -> Array:
    """Values summed over all elements that share a scale; float32."""
    if grid.axis is None:
        return np.asarray(values.sum(dtype=np.float64)).astype(np.float32)
    axis = grid.axis % values.ndim
    if grid.group_size is None:
        others = tuple(i for i in range(values.ndim) if i != axis)
        return np.asarray(values.sum(axis=others, dtype=np.float64)).astype(np.float32)
    groups = values.reshape(*values.shape[:axis], -1, grid.group_size, *values.shape[axis + 1 :])
    return np.asarray(groups.sum(axis=axis + 1, dtype=np.float64)).astype(np.float32)


LEARNABLE_FAKE_QUANTIZE = Op("learnable_fake_quantize", _forward, _vjp)


class LearnableFakeQuantize(FakeQuantize):
    """A fake-quantizer whose scale and zero point are parameters.

    It starts with `enable_static_estimate`: the observer sets the parameters. `enable_param_learning` hands them to the
    optimizer. A symmetric scheme keeps its zero point in the middle. Per channel and per group, as the observer says.

    observer, quant_min, quant_max, **observer_kwargs: as for `FakeQuantize`. scale, zero_point: what to start from if no
    data are observed first; channel_len: for how many channels, -1 per tensor. use_grad_scaling: multiply the parameters'
    gradients by 1 / sqrt(N quant_max), N being the elements of x.

    Source: as above; torch has it as torch.ao.quantization._learnable_fake_quantize._LearnableFakeQuantize.

    >>> fake = LearnableFakeQuantize(quant_min=0, quant_max=3)
    >>> _ = fake([0.0, 1.4, 3.0])
    >>> fake.enable_param_learning()
    >>> fake([0.0, 1.4, 5.0]).sum().backward()
    >>> fake.scale.grad  # (1 - 1.4) inside, 3 above
    tensor([2.6])
    """

    scale: Any
    zero_point: Any

    def __init__(
        self, observer: type[Observer] = MovingAverageMinMaxObserver, quant_min: int | None = 0,
        quant_max: int | None = 255, scale: float = 1.0, zero_point: float = 0.0, channel_len: int = -1,
        use_grad_scaling: bool = False, **observer_kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        self.scale = Parameter(np.full(max(channel_len, 1), scale, np.float32))
        self.zero_point = Parameter(np.full(max(channel_len, 1), zero_point, np.float32))
        self.use_grad_scaling = use_grad_scaling
        self.enable_static_estimate()

    def enable_param_learning(self) -> None:
        """Rounds, and learns scale and zero point; observes no more."""
        self._switch(observe=False, learn=True, fake_quant=True)

    def enable_static_estimate(self) -> None:
        """Rounds with what the observer says."""
        self._switch(observe=True, learn=False, fake_quant=True)

    def enable_static_observation(self) -> None:
        """Observes, and lets values pass unrounded."""
        self._switch(observe=True, learn=False, fake_quant=False)

    def _switch(self, observe: bool, learn: bool, fake_quant: bool) -> None:
        self.enable_observer(observe)
        self.enable_fake_quant(fake_quant)
        self.scale.requires_grad = self.zero_point.requires_grad = learn

    def forward(self, x: Any) -> Any:
        value = as_tensor(x)
        if not value.numel():
            return value
        if self.observer_enabled[0]:
            self.activation_post_process(value.detach())
            scale, zero_point = self.activation_post_process.calculate_qparams()
            self.scale.array, self.zero_point.array = np.array(scale, np.float32), np.array(zero_point, np.float32)
        if not self.fake_quant_enabled[0]:
            return value
        factor = (value.numel() * self.quant_max) ** -0.5 if self.use_grad_scaling else 1.0
        return apply(LEARNABLE_FAKE_QUANTIZE, value, self.scale, self.zero_point, grid=self.qparams(), factor=factor)

    def calculate_qparams(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """(scale, zero_point) in use: the scale at least the observer's eps, the zero point a whole number of the range."""
        observer = self.activation_post_process
        scale = np.maximum(self.scale.array, np.float32(observer.eps))
        if not np.isfinite(scale).all():
            raise NotCalibratedError("LearnableFakeQuantize has a scale that is not finite: lower the learning rate")
        if observer.qscheme.symmetric:
            return scale, observer.qparams_of(-scale, scale)[1]
        zero_point = np.clip(np.rint(self.zero_point.array), observer.quant_min, observer.quant_max)
        return scale, zero_point.astype(np.int64)
