"""Convolutions over signals, images and volumes, and transposed ones; y has the dtype of x.

The sum is `kernels.reference.accumulate`, the rest `nanoquant.numerics`.

>>> x = nq.quantize_per_tensor(np.ones((1, 1, 3, 3)), 0.5, 0, nq.quint8)
>>> packed = conv2d_prepack(nq.quantize_per_tensor(np.ones((1, 1, 2, 2)), 1.0, 0, nq.qint8), stride=2, padding=1)
>>> conv2d(x, packed, 0.25, 0).int_repr().tolist()
[[[[4, 8], [8, 16]]]]
>>> packed = conv_transpose1d_prepack(nq.quantize_per_tensor([[[1.0, 3.0]]], 1.0, 0, nq.qint8), stride=2)
>>> conv_transpose1d(nq.quantize_per_tensor([[[1.0, 2.0]]], 1.0, 0, nq.quint8), packed, 1.0, 0).int_repr().tolist()
[[[1, 3, 2, 6]]]

Before: `linear`. After: `pooling`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...kernels.engine import quantized as engine
from ...kernels.memory import CHANNELS_FIRST
from ...kernels.packed import PackedWeights
from ...nn.quantized.arguments import check_input, check_weight, floats, named
from ...nn.quantized.conv import outputs_first
from ...nn.quantized.weighted import run, run_again
from ...per_tensor import per_tensor
from ...qtensor import QTensor

Sizes = int | tuple[int, ...]


Prepack = Callable[..., PackedWeights]
Convolution = Callable[..., QTensor]


def _prepack(name: str, ndim: int) -> Prepack:
    def prepack(
        weight: QTensor, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, dilation: Sizes = 1, groups: int = 1
    ) -> PackedWeights:
        """Packs the weights of a convolution.

        weight: qint8 (out_channels, in_channels / groups, *kernel_size), per tensor or per channel on axis 0, any zero
        points. bias: float (out_channels,) or None. The rest: one number, or one for each axis.
        """
        w = check_weight(name, weight, ndim)
        return PackedWeights(
            w.values, w.qparams.scale, w.qparams.zero_point, floats(bias), stride, padding, dilation, groups, engine.profile
        )

    return named(name, prepack)


def _transposed_prepack(name: str, ndim: int) -> Prepack:
    def prepack(
        weight: QTensor, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1,
    ) -> PackedWeights:  # fmt: skip
        """Packs the weights of a transposed convolution.

        weight: qint8 (in_channels, out_channels / groups, *kernel_size), per tensor, or per channel on axis 1 if there
        is one group. bias: float (out_channels,) or None. output_padding: rows added at the end, to choose among the
        sizes that stride allows.
        """
        w = check_weight(name, weight, ndim, axis=1)
        if groups < 1 or len(w.values) % groups or (groups > 1 and w.qparams.axis is not None):
            raise ValueError(
                f"{name}: groups must divide the {len(w.values)} input channels, and be 1 when each channel has a scale; "
                f"got {groups}"
            )
        return PackedWeights(
            outputs_first(w.values, groups), w.qparams.scale, w.qparams.zero_point, floats(bias), stride, padding, dilation,
            groups, engine.profile, transposed=True, output_padding=output_padding,
        )  # fmt: skip

    return named(name, prepack)


def _convolution(name: str, ndim: int, relu: bool = False, transposed: bool = False) -> Convolution:
    shape = ("length", "height, width", "depth, height, width")[ndim - 3]

    def conv(qx: QTensor, packed_weight: PackedWeights, output_scale: float, output_zero_point: int) -> QTensor:
        numbers = type(output_scale) is float and type(output_zero_point) is int
        asked = (name, output_scale, output_zero_point) if numbers else None
        if asked is not None and type(qx) is QTensor and qx.values.ndim == ndim:
            y = run_again(packed_weight, qx, qx.lying(CHANNELS_FIRST[ndim]), asked)
            if y is not None:
                return y
        x, packed = check_input(name, qx), packed_weight
        if packed.weights.ndim != ndim or packed.transposed != transposed:
            raise TypeError(f"{name}: these are another layer's weights: call {name.removesuffix('_relu')}_prepack")
        if x.values.ndim != ndim or x.values.shape[1] != packed.in_channels:
            raise ValueError(f"{name}: the input must have shape (batch, {packed.in_channels}, {shape}); got {x.shape}")
        return run("conv", packed, x, per_tensor(output_scale, output_zero_point, x.qparams.dtype), relu, asked)

    kind = f"{'transposed ' * transposed}convolution{' and ReLU' * relu}"
    conv.__doc__ = f"A {kind}, requantized; qx: (batch, in_channels, {shape})."
    return named(name, conv)


conv1d_prepack, conv2d_prepack, conv3d_prepack = (_prepack(f"conv{n}d_prepack", n + 2) for n in (1, 2, 3))
conv1d, conv2d, conv3d = (_convolution(f"conv{n}d", n + 2) for n in (1, 2, 3))
conv1d_relu, conv2d_relu, conv3d_relu = (_convolution(f"conv{n}d_relu", n + 2, relu=True) for n in (1, 2, 3))
conv_transpose1d_prepack, conv_transpose2d_prepack = (_transposed_prepack(f"conv_transpose{n}d_prepack", n + 2) for n in (1, 2))
conv_transpose1d, conv_transpose2d = (_convolution(f"conv_transpose{n}d", n + 2, transposed=True) for n in (1, 2))
