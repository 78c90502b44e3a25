"""Recurrent layers: the same cell at every step of a sequence.

    p_t = W_ih x_t + b_ih        for all steps in one product
    a_t = W_hh h_t-1 + b_hh      step by step: h_t = cell(p_t, a_t)

A layer in one direction is one op on the tape. Its backward walks the steps in reverse, and leaves dW_hh to one product
over all steps. Each class below writes the cell's equations beside the code, and their derivatives beside `back`.

Before: `embedding`. After: `attention`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.ops import Array, Op
from ..autograd.tensor import Tensor, apply
from ..functions import cat
from ..module import Module
from .layer import Layer, take_float
from .linear import linear, uniform
from .norm import dropout


class _Steps:
    """A cell over a sequence: p (steps, batch, gates * hidden), w (gates * hidden, hidden), b, h0 and perhaps c0.

    The op's value is h_1 ... h_T, and behind them c_T if there is a c. p, which nobody else sees, becomes the gates.
    """

    gates = 1
    shared = True  # p and a are only ever added: b is in p already, and da = dp

    def __init__(self, reverse: bool) -> None:
        self.turn = slice(None, None, -1 if reverse else 1)

    def parts(self, x: Array) -> Array:
        """(batch, gates * hidden) as (gates, batch, hidden)."""
        return x.reshape(len(x), self.gates, -1).swapaxes(0, 1)

    def forward(self, p: Array, w: Array, b: Array, *start: Array) -> Array:
        """All steps; what the way back needs is kept."""
        shape = (len(p) + 1, *start[0].shape)
        self.h, self.c = np.empty(shape, p.dtype), np.empty(shape, p.dtype)
        self.h[0], self.c[0] = start[0], start[-1]
        self.kept, a = p[self.turn], np.empty_like(p[0])
        with np.errstate(over="ignore"):
            for t, gates in enumerate(self.kept):
                np.matmul(self.h[t], w.T, out=a)
                if not self.shared:
                    a += b
                self.step(t, gates, a, self.h[t + 1])
        y = self.h[1:][self.turn]
        return y if len(start) == 1 else np.concatenate([y, self.c[-1:]])

    def vjp(self, g: Array, y: Array, p: Array, w: Array, b: Array, *start: Array) -> tuple[Array | None, ...]:
        """dp, dW = sum da^T h, db = sum da, dh0, dc0."""
        dp = np.empty_like(p)
        d_gates = dp[self.turn]
        da = d_gates if self.shared else np.empty_like(p)
        g_h, dh, dc = g[: len(p)][self.turn], np.zeros_like(start[0]), g[-1].copy()
        for t in range(len(p))[::-1]:
            dh += g_h[t]
            straight = self.back(t, self.kept[t], dh, dc, d_gates[t], da[t])
            dh = da[t] @ w
            dh += straight
        rows = da.reshape(-1, len(w))
        dw = rows.T @ self.h[:-1].reshape(-1, w.shape[1])
        return (dp, dw, None if self.shared else rows.sum(0), dh, dc)[: 3 + len(start)]

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        """Fills h, the h[t + 1], from h[t], p and a; leaves the gates in p."""
        raise NotImplementedError

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """Fills dp (and da), given those of h[t + 1]; makes dc of c[t + 1] that of c[t]; returns what reaches h[t] but by a."""
        raise NotImplementedError


class _TanhSteps(_Steps):
    """h' = tanh(p + a)."""

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        np.tanh(np.add(p, a, out=a), out=h)

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """dp = da = dh (1 - h'^2)."""
        np.multiply(dh, 1 - self.h[t + 1] ** 2, out=dp)
        return 0


class _ReLUSteps(_Steps):
    """h' = max(p + a, 0)."""

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        np.maximum(np.add(p, a, out=a), 0, out=h)

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """dp = da = dh where h' > 0."""
        np.multiply(dh, self.h[t + 1] > 0, out=dp)
        return 0


def _sigmoid(x: Array) -> None:
    """1 / (1 + e^-x), in place; e^-x may be infinite."""
    np.exp(np.negative(x, out=x), out=x)
    x += 1
    np.divide(1, x, out=x)


class _LSTMSteps(_Steps):
    """i, f, g, o = s, s, tanh, s of the four parts of p + a;    c' = f c + i g;    h' = o tanh(c')."""

    gates = 4

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        p += a
        i, f, g, o = self.parts(p)
        _sigmoid(p[:, : 2 * h.shape[1]])
        np.tanh(g, out=g)
        _sigmoid(o)
        c = np.multiply(f, self.c[t], out=self.c[t + 1])
        c += i * g
        np.multiply(o, np.tanh(c), out=h)

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """dc' += dh o (1 - tanh(c')^2), and with s' = s (1 - s), tanh' = 1 - tanh^2,

        di = dc' g i';    df = dc' c f';    dg = dc' i g';    do = dh tanh(c') o';    dc = dc' f
        """
        i, f, g, o = self.parts(gates)
        di, df, dg, do = self.parts(dp)
        squashed = np.tanh(self.c[t + 1])
        dc += dh * o * (1 - squashed * squashed)
        slope = gates - gates * gates
        self.parts(slope)[2] = 1 - g * g
        np.multiply(dc, g, out=di)
        np.multiply(dc, self.c[t], out=df)
        np.multiply(dc, i, out=dg)
        np.multiply(dh, squashed, out=do)
        dp *= slope
        dc *= f
        return 0


class _GRUSteps(_Steps):
    """r, z = s(p_r + a_r), s(p_z + a_z);    n = tanh(p_n + r a_n);    h' = (1 - z) n + z h."""

    gates, shared = 3, False

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        size = 2 * h.shape[1]
        p[:, :size] += a[:, :size]
        _sigmoid(p[:, :size])
        r, z, n = self.parts(p)
        self.c[t + 1] = a[:, size:]  # there is no c: its place keeps a_n
        n += r * self.c[t + 1]
        np.tanh(n, out=n)
        np.multiply(z, np.subtract(self.h[t], n, out=h), out=h)
        h += n

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """dn = dh (1 - z) (1 - n^2);    dz = dh (h - n) z (1 - z);    dr = dn a_n r (1 - r);    da_n = dn r."""
        r, z, n = self.parts(gates)
        dr, dz, dn = self.parts(dp)
        straight = dh * z
        np.multiply(dh - straight, 1 - n * n, out=dn)
        np.multiply(dh * (self.h[t] - n), z - z * z, out=dz)
        np.multiply(dn * self.c[t + 1], r - r * r, out=dr)
        da[:] = dp
        self.parts(da)[2][:] *= r
        return straight


KINDS: dict[str, type[_Steps]] = {"tanh": _TanhSteps, "relu": _ReLUSteps, "lstm": _LSTMSteps, "gru": _GRUSteps}


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
        w_ih, w_hh, b_ih, b_hh = (
            getattr(self, f"{n}{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
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
            raise ValueError(
                f"{type(self).__name__} takes sequences of {self.input_size} features; got {np.shape(input)}"
            )
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
