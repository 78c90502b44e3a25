"""Convolutions with int8 weights and float activations.

Before: `linear`. After: `recurrent`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....autograd.tensor import Tensor
from ...conv import AXES, check_image
from ...layer import take_float
from ..conv import ConvWeights, TransposedWeights
from .weighted import Dynamic, of_integers


class _Conv(ConvWeights, Dynamic):
    def forward(self, x: Any) -> Tensor:
        """See the class."""
        value = take_float(self, x)
        if value.ndim == 1 + self.axes:
            return self.forward(value.unsqueeze(0)).squeeze(0)
        check_image(value.shape, self.in_channels, self.axes)
        padded, _ = self.split_padding(value)
        return of_integers(self.run("conv", np.asarray(padded.array, np.float32)), value)


def _layer(name: str, bases: tuple[type[Any], ...], axes: int) -> type[Any]:
    doc = f"""`nn.{name}` with int8 weights, float to float: x is quantized by its own range at every call.

    x: (batch, in_channels, {AXES[axes]}). The result is float32 of the integers' sums (torch rounds it once more, to the
    steps of its input). `per_row`: a range for each image, see `Dynamic`.
    """
    return type(name, bases, {"__doc__": doc, "__module__": __name__, "axes": axes})


Conv1d, Conv2d, Conv3d = (_layer(f"Conv{n}d", (_Conv,), n) for n in (1, 2, 3))
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = (
    _layer(f"ConvTranspose{n}d", (TransposedWeights, _Conv), n) for n in (1, 2, 3)
)
