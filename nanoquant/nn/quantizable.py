"""Recurrent layers and attention that can be observed inside: made of parts, each with a place for an observer.

    igates(x) --+
                add --> chunk --> sigmoid, sigmoid, tanh, sigmoid --> f c + i g --> tanh --> o tanh(c') --> h'
    hgates(h) --+                    every arrow is observed, and integers once converted

What prepare puts in the place of `nn.LSTM` and `nn.MultiheadAttention`; convert exchanges the parts. Names are torch's, so
that its state loads.

Source: torch.ao.nn.quantizable. Before: `nanoquant.nn.quantized`. After: `nanoquant.ops`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..autograd.parameter import Parameter
from ..autograd.tensor import Tensor
from ..errors import ModuleError
from ..functions import cat, stack
from ..module import Module
from ..qtensor import QTensor, quantize
from . import attention
from .activation import Sigmoid, Softmax, Tanh
from .container import ModuleList
from .layer import as_tensor
from .linear import Identity, Linear
from .norm import dropout
from .quantized.activation import tanh
from .quantized.arithmetic import join
from .quantized.functionals import FloatFunctional


class LSTMCell(Module):
    """One step: (x, (h, c)) to (h', c'), by the equations of `nn.LSTM`. x: (batch, input_dim), float or quantized."""

    def __init__(self, input_dim: int, hidden_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_dim, hidden_dim, bias
        self.igates, self.hgates = Linear(input_dim, 4 * hidden_dim, bias), Linear(hidden_dim, 4 * hidden_dim, bias)
        self.gates = FloatFunctional()
        self.input_gate, self.forget_gate, self.cell_gate, self.output_gate = Sigmoid(), Sigmoid(), Tanh(), Sigmoid()
        self.fgate_cx, self.igate_cgate = FloatFunctional(), FloatFunctional()
        self.fgate_cx_igate_cgate, self.ogate_cy = FloatFunctional(), FloatFunctional()

    def start(self, x: Any) -> tuple[Any, Any]:
        """h and c of zeros: on the grids that they will have, if x is quantized."""
        zeros = Tensor(np.zeros((x.shape[0], self.hidden_size), np.float32))
        if not isinstance(x, QTensor):
            return zeros, zeros
        h, c = self.ogate_cy, self.fgate_cx_igate_cgate
        return quantize(zeros, h.output()), quantize(zeros, c.output())

    def forward(self, x: Any, hidden: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
        """See the class."""
        h, c = self.start(x) if hidden is None else hidden
        i, f, g, o = self.gates.add(self.igates(x), self.hgates(h)).chunk(4, 1)
        i, f, g, o = self.input_gate(i), self.forget_gate(f), self.cell_gate(g), self.output_gate(o)
        c = self.fgate_cx_igate_cgate.add(self.fgate_cx.mul(f, c), self.igate_cgate.mul(i, g))
        squashed = tanh(c) if isinstance(c, QTensor) else c.tanh()
        return self.ogate_cy.mul(o, squashed), c

    def take_weights(self, lstm: Any, suffix: str) -> None:
        """The parameters of a layer and direction of `nn.LSTM`, shared."""
        for gates, name in ((self.igates, "ih"), (self.hgates, "hh")):
            gates.weight = getattr(lstm, f"weight_{name}{suffix}")
            if self.bias:
                gates.bias = getattr(lstm, f"bias_{name}{suffix}")


class LSTMSingleLayer(Module):
    """A cell over (steps, batch, inputs)."""

    def __init__(self, inputs: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.cell = LSTMCell(inputs, hidden, bias)

    def forward(self, x: Any, hidden: Any = None) -> tuple[Any, Any]:
        steps = []
        for t in range(x.shape[0]):
            hidden = self.cell(x[t], hidden)
            steps.append(hidden[0])
        return _stacked(steps), hidden


def _stacked(parts: list[Any]) -> Any:
    """Tensors of one grid along a new first axis."""
    if isinstance(parts[0], QTensor):
        return parts[0].with_values(np.stack([part.values for part in parts]))
    return stack(parts)


class LSTMLayer(Module):
    """A layer in one direction, or in both, side by side."""

    def __init__(self, inputs: int, hidden: int, bias: bool, bidirectional: bool) -> None:
        super().__init__()
        self.layer_fw = LSTMSingleLayer(inputs, hidden, bias)
        if bidirectional:
            self.layer_bw = LSTMSingleLayer(inputs, hidden, bias)
        self.bidirectional = bidirectional

    def forward(self, x: Any, hidden: list[Any]) -> tuple[Any, list[Any]]:
        y, end = self.layer_fw(x, hidden[0])
        if not self.bidirectional:
            return y, [end]
        back, end_back = self.layer_bw(x.flip(0), hidden[1])
        both = [y, back.flip(0)]
        y = join("cat", both, 2, None, None) if isinstance(y, QTensor) else cat(both, 2)
        return y, [end, end_back]


class LSTM(Module):
    """`nn.LSTM`, made of parts that are observed one by one. Arguments and sizes as there.

    >>> y, (h, c) = LSTM(3, 5, num_layers=2, bidirectional=True)(nq.ones(7, 1, 3))
    >>> y.shape, h.shape
    ((7, 1, 10), (4, 1, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        widths = [input_size, *[hidden_size * (1 + bidirectional)] * (num_layers - 1)]
        self.layers = ModuleList([LSTMLayer(width, hidden_size, bias, bidirectional) for width in widths])

    @classmethod
    def from_float(cls, module: Any) -> LSTM:
        """Of a float `nn.LSTM`, whose parameters it shares."""
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        twin = cls(*(getattr(module, name) for name in names))
        for number, layer in enumerate(twin.layers):
            layer.layer_fw.cell.take_weights(module, f"_l{number}")
            if twin.bidirectional:
                layer.layer_bw.cell.take_weights(module, f"_l{number}_reverse")
        return twin.train(module.training)

    def forward(self, x: Any, hidden: tuple[Any, Any] | None = None) -> tuple[Any, tuple[Any, Any]]:
        """See the class. hidden: (h_0, c_0), each (layers * directions, batch, hidden_size)."""
        value = as_tensor(x)
        value = value.transpose(0, 1) if self.batch_first else value
        ways = 1 + self.bidirectional
        ends: list[Any] = []
        for number, layer in enumerate(self.layers):
            first = number * ways
            given = [None if hidden is None else (hidden[0][first + k], hidden[1][first + k]) for k in range(ways)]
            value, last = layer(value, given)
            ends += last
            if number + 1 < self.num_layers and not isinstance(value, QTensor):
                value = dropout(value, self.dropout, self.training)
        h, c = ([end[k].dequantize() if isinstance(end[k], QTensor) else end[k] for end in ends] for k in range(2))
        return value.transpose(0, 1) if self.batch_first else value, (stack(h), stack(c))


class Quant(Identity):
    """Where floats become integers again: observed, and `nn.quantized.Quantize` once converted."""


class MultiheadAttention(attention.MultiheadAttention):
    """`nn.MultiheadAttention` of layers that are observed one by one. Arguments, inputs and masks as there.

    Converted, the four projections are integers', and so is what comes out. Between them queries, keys and values are floats, as
    in torch: scores, softmax and the weights' product with the values. With `integers` they are integers', too: of a float
    layer, set `layer.integers = True` before prepare. Masks are then an error. The weights that are returned are floats.

    >>> MultiheadAttention(8, 2)(*[nq.ones(5, 1, 8)] * 3)[0].shape
    (5, 1, 8)
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, *, batch_first: bool = False,
        integers: bool = False,
    ) -> None:  # fmt: skip
        Module.__init__(self)
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim} must be divisible by num_heads={num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.linear_Q, self.linear_K, self.linear_V = (Linear(embed_dim, embed_dim, bias) for _ in range(3))
        self.add_module("out_proj", Linear(embed_dim, embed_dim, bias))
        self.integers = integers
        if integers:
            self.scores, self.softmax, self.mixed = FloatFunctional(), Softmax(-1), FloatFunctional()
        else:
            self.quant_attn_output = Quant()

    @classmethod
    def from_float(cls, module: Any) -> MultiheadAttention:
        """Of a float `nn.MultiheadAttention`, with copies of the parts of its projection."""
        n, bias, integers = module.embed_dim, module.in_proj_bias, getattr(module, "integers", False)
        options = {"batch_first": module.batch_first, "integers": integers}
        twin = cls(n, module.num_heads, module.dropout, bias is not None, **options)
        for part, layer in enumerate((twin.linear_Q, twin.linear_K, twin.linear_V)):
            rows = slice(part * n, (part + 1) * n)
            layer.weight = Parameter(module.in_proj_weight.array[rows].copy())
            if bias is not None:
                layer.bias = Parameter(bias.array[rows].copy())
        twin.out_proj.weight, twin.out_proj.bias = module.out_proj.weight, module.out_proj.bias
        return twin.train(module.training)

    def take(self, x: Any) -> Any:
        """An input as a tensor, float or quantized."""
        return as_tensor(x)

    def project(self, x: Any, part: int) -> Any:
        """See the float layer; in floats, whatever the projection computes in, unless all is integers'."""
        y = (self.linear_Q, self.linear_K, self.linear_V)[part](x)
        return y.dequantize() if isinstance(y, QTensor) and not self.integers else y

    def attend(self, q: Any, k: Any, v: Any, bias: list[Any]) -> tuple[Any, Tensor]:
        """See the float layer."""
        if not self.integers:
            return super().attend(q, k, v, bias)
        if bias:
            raise ModuleError(self, "masks are floats' affair: leave integers=False, or call it without masks")
        weights = self.softmax(self.scores.matmul(_times(q, q.shape[-1] ** -0.5), k.transpose(-2, -1)))
        y = self.mixed.matmul(weights, v)
        return y, weights.dequantize() if isinstance(weights, QTensor) else weights

    def finish(self, y: Any) -> Any:
        """See the float layer."""
        return self.out_proj(y if self.integers else self.quant_attn_output(y))


def _times(x: Any, factor: float) -> Any:
    """x times a positive number: of integers, the same ones with a longer step."""
    if not isinstance(x, QTensor):
        return x * factor
    scale = np.asarray(x.qparams.scale * np.float32(factor))
    return QTensor(x.values, replace(x.qparams, scale=scale), x.origin)
