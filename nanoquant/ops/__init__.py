"""Operators by torch's names: `ops.quantized`."""

from . import quantized as quantized
