"""`backends.quantized.engine`: torch's switch between engines. See `nanoquant.kernels.engine`."""

from .kernels.engine import quantized as quantized
