"""Recurrent layers: the same cell at every step of a sequence, in several layers, in one direction or both.

Before: `steps`. After: `attention`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.ops import Op
from ..autograd.tensor import Tensor, apply
from ..functions import cat
from ..module import Module
from .layer import Layer, take_float
from .linear import linear, uniform
from .norm import dropout
from .steps import KINDS


class _Recurrent(Layer):
    kind = "tanh"
    hidden_size: int
    bias: bool

    def add_weights(self, inputs: int, suffix: str) -> None:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer in one direction, uniform in +-1/sqrt(hidden_size)."""
        rows, hidden = KINDS[self.kind].gates * self.hidden_size, self.hidden_size
        for name, shape in {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}.items():
            setattr(self, name + suffix, uniform(shape, hidden))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name + suffix, uniform((rows,), hidden) if self.bias else None)

    def run(self, x: Tensor, suffix: str, start: list[Tensor], reverse: bool = False) -> tuple[Tensor, list[Tensor]]:
        """(h_1 ... h_T, [h_T, and c_T if there is one]) of one layer in one direction. x: (steps, batch, inputs)."""
        w_ih, w_hh, b_ih, b_hh = (getattr(self, f"{n}{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        steps, none = KINDS[self.kind](reverse), np.zeros(len(w_hh), x.dtype)
        b_p, b_a = (b_ih + b_hh, none) if self.bias and steps.shared else (b_ih, b_hh if self.bias else none)
        y = apply(Op(self.kind, steps.forward, steps.vjp), linear(x, w_ih, b_p), w_hh, b_a, *start)
        out = y if len(start) == 1 else y[: len(x)]
        return out, [out[0 if reverse else len(x) - 1], *([y[len(x)]] if len(start) == 2 else [])]

    def start(self, hx: Any, shape: tuple[int, ...], dtype: Any) -> list[Tensor]:
        """The initial h, and c for an LSTM, each of `shape`: zeros unless given."""
        count = 2 if self.kind == "lstm" else 1
        given = [Tensor(np.zeros(shape, dtype))] * count if hx is None else list(hx) if count == 2 else [hx]
        states = [take_float(self, state) for state in given]
        if len(states) != count or any(state.numel() != np.prod(shape) for state in states):
            raise ValueError(f"an initial state has shape {shape}; got {[state.shape for state in states]}")
        return [state.reshape(shape) for state in states]

    def states(self, states: list[Tensor]) -> Any:
        """h, or (h, c)."""
        return tuple(states) if self.kind == "lstm" else states[0]


class _Sequence(_Recurrent):
    shown = "*input_size *hidden_size num_layers? bias? batch_first? dropout? bidirectional?"

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        Module.__init__(self)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.suffixes = ["", "_reverse"] if bidirectional else [""]
        for layer in range(num_layers):
            for suffix in self.suffixes:
                self.add_weights(hidden_size * len(self.suffixes) if layer else input_size, f"_l{layer}{suffix}")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(output, h_n), or (output, (h_n, c_n)); sizes as the class says."""
        x = take_float(self, input)
        alone, across = x.ndim == 2, (1, 0, 2)
        x = x.reshape(x.shape[0], 1, x.shape[1]) if alone else x.permute(across) if self.batch_first else x
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(f"{type(self).__name__} takes sequences of {self.input_size} features; got {np.shape(input)}")
        shape = (self.num_layers * len(self.suffixes), x.shape[1], self.hidden_size)
        start = self.start(hx, shape, x.dtype)
        ends: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self.suffixes:
                first = [state[len(ends)] for state in start]
                y, end = self.run(x, f"_l{layer}{suffix}", first, bool(suffix))
                outputs.append(y)
                ends.append([state.reshape(1, *state.shape) for state in end])
            x = outputs[0] if len(outputs) == 1 else cat(outputs, 2)
            x = dropout(x, self.dropout, self.training) if layer + 1 < self.num_layers else x
        last = [cat(list(states)) for states in zip(*ends, strict=True)]
        last = [state.reshape(shape[0], shape[2]) for state in last] if alone else last
        y = x.reshape(x.shape[0], -1) if alone else x.permute(across) if self.batch_first else x
        return y, self.states(last)


class RNN(_Sequence):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_t-1 + b_hh), or max(..., 0) with nonlinearity='relu'.

    Sizes as in `LSTM`, without c.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        self.kind = self.nonlinearity = _known(nonlinearity)


def _known(nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity must be 'tanh' or 'relu'; got {nonlinearity!r}")
    return nonlinearity


class LSTM(_Sequence):
    """Long short-term memory: i, f, g, o = s, s, tanh, s of the four parts of W_ih x_t + b_ih + W_hh h_t-1 + b_hh,

        c_t = f c_t-1 + i g,    h_t = o tanh(c_t)                  s: the sigmoid

    input: (steps, batch, input_size), or (batch, steps, input_size) with batch_first, or (steps, input_size). output: the
    h_t of the last layer, directions side by side. h_n, c_n: (layers * directions, batch, hidden_size), also as the initial
    (h_0, c_0). dropout: between layers, in training.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997.

    >>> output, (h, c) = LSTM(3, 5, num_layers=2, bidirectional=True)(nq.ones(7, 1, 3))
    >>> output.shape, h.shape
    ((7, 1, 10), (4, 1, 5))
    """

    kind = "lstm"


class GRU(_Sequence):
    """Gated recurrent unit; with p = W_ih x_t + b_ih and a = W_hh h_t-1 + b_hh in three parts each,

        r = s(p_r + a_r),    z = s(p_z + a_z),    n = tanh(p_n + r a_n),    h_t = (1 - z) n + z h_t-1

    Sizes as in `LSTM`, without c. Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014.
    """

    kind = "gru"


class _Cell(_Recurrent):
    shown = "*input_size *hidden_size bias?"

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        Module.__init__(self)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.add_weights(input_size, "")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The next h, or (h, c), of the same shape as the given ones: (batch, hidden_size) or (hidden_size,)."""
        x = take_float(self, input)
        rows = x.reshape(1, -1, x.shape[-1])
        _, end = self.run(rows, "", self.start(hx, (rows.shape[1], self.hidden_size), x.dtype))
        return self.states([state.reshape(*x.shape[:-1], self.hidden_size) for state in end])


class RNNCell(_Cell):
    """One step of `RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or max(..., 0).

    >>> RNNCell(3, 5)(nq.ones(2, 3)).shape
    (2, 5)
    """

    shown = "*input_size *hidden_size bias? nonlinearity?"

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size, bias)
        self.kind = self.nonlinearity = _known(nonlinearity)


class LSTMCell(_Cell):
    """One step of `LSTM`: (x, (h, c)) to (h', c')."""

    kind = "lstm"


class GRUCell(_Cell):
    """One step of `GRU`."""

    kind = "gru"
