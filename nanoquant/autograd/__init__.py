"""Reverse-mode differentiation on NumPy arrays, just large enough to train the networks we quantize.

`ops` is the table of what can be computed, with its derivatives; `fake_quant` the one op whose derivative is a convention;
`tape` records and walks back; `tensor` is what users hold; `function` takes derivatives of their own; `gradcheck` compares
derivatives with differences. The ops of networks live beside their layers in `nanoquant.nn`."""

from .function import Function as Function, grad as grad
from .gradcheck import gradcheck as gradcheck
