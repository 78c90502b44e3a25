"""The steps of recurrent layers: a cell at every step of a sequence, in one direction, as one op on the tape.

    p_t = W_ih x_t + b_ih        for all steps in one product, before the op
    a_t = W_hh h_t-1 + b_hh      step by step: h_t = cell(p_t, a_t)

Backward walks the steps in reverse, and leaves dW_hh to one product over all steps. Each class writes its cell's
equations beside the code, and their derivatives beside `back`.

Before: `embedding`. After: `recurrent`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.ops import Array
from ..kernels import lstm
from ..kernels.native import requested_isa
from ..kernels.sliding import in_vectors


class Steps:
    """A cell over a sequence: p (steps, batch, gates * hidden), w (gates * hidden, hidden), b, h0 and perhaps c0.

    The op's value is h_1 ... h_T, and behind them c_T if there is a c. p, which nobody else sees, becomes the gates.
    """

    gates = 1
    shared = True  # p and a are only ever added: b is in p already, and da = dp

    def __init__(self, reverse: bool) -> None:
        self.reverse, self.turn = reverse, slice(None, None, -1 if reverse else 1)

    def parts(self, x: Array) -> Array:
        """(batch, gates * hidden) as (gates, batch, hidden)."""
        return x.reshape(len(x), self.gates, -1).swapaxes(0, 1)

    def forward(self, p: Array, w: Array, b: Array, *start: Array) -> Array:
        """All steps; what the way back needs is kept."""
        shape = (len(p) + 1, *start[0].shape)
        self.h, self.c = np.empty(shape, p.dtype), np.empty(shape, p.dtype)
        self.h[0], self.c[0] = start[0], start[-1]
        self.kept, self.b = p[self.turn], b
        self.all_steps(p, w)
        y = self.h[1:][self.turn]
        return y if len(start) == 1 else np.concatenate([y, self.c[-1:]])

    def all_steps(self, p: Array, w: Array) -> None:
        """Fills h and c from their first entries on, and makes p the gates."""
        a = np.empty_like(p[0])
        with np.errstate(over="ignore"):
            for t, gates in enumerate(self.kept):
                np.matmul(self.h[t], w.T, out=a)
                if not self.shared:
                    a += self.b
                self.step(t, gates, a, self.h[t + 1])

    def vjp(self, g: Array, y: Array, p: Array, w: Array, b: Array, *start: Array) -> tuple[Array | None, ...]:
        """dp, dW = sum da^T h, db = sum da, dh0, dc0."""
        dp, dh, dc = np.empty_like(p), np.zeros_like(start[0]), g[-1].copy()
        da = self.all_back(g[: len(p)], dh, dc, dp, w)
        rows = da.reshape(-1, len(w))
        dw = rows.T @ self.h[:-1].reshape(-1, w.shape[1])
        return (dp, dw, None if self.shared else rows.sum(0), dh, dc)[: 3 + len(start)]

    def all_back(self, g: Array, dh: Array, dc: Array, dp: Array, w: Array) -> Array:
        """Fills dp, makes dh and dc those of the start, and returns da, in the order of visits."""
        d_gates = dp[self.turn]
        da = d_gates if self.shared else np.empty_like(dp)
        for t in range(len(dp))[::-1]:
            dh += g[self.turn][t]
            straight = self.back(t, self.kept[t], dh, dc, d_gates[t], da[t])
            np.matmul(da[t], w, out=dh)
            dh += straight
        return da

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        """Fills h, the h[t + 1], from h[t], p and a; leaves the gates in p."""
        raise NotImplementedError

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """Fills dp (and da), given those of h[t + 1]; makes dc of c[t + 1] that of c[t]; returns what reaches h[t] but by a."""
        raise NotImplementedError


class _TanhSteps(Steps):
    """h' = tanh(p + a)."""

    def step(self, t: int, p: Array, a: Array, h: Array) -> None:
        np.tanh(np.add(p, a, out=a), out=h)

    def back(self, t: int, gates: Array, dh: Array, dc: Array, dp: Array, da: Array) -> Any:
        """dp = da = dh (1 - h'^2)."""
        np.multiply(dh, 1 - self.h[t + 1] ** 2, out=dp)
        return 0


class _ReLUSteps(Steps):
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


class _LSTMSteps(Steps):
    """i, f, g, o = s, s, tanh, s of the four parts of p + a;    c' = f c + i g;    h' = o tanh(c')."""

    gates = 4

    def in_c(self, w: Array) -> bool:
        """Whether csrc/lstm.c serves: for float32, where it has vectors; a few rows reread weights that leave the cache, and
        BLAS does that better."""
        few, large = self.h.shape[1] < 8, w.nbytes > 1 << 18
        return w.dtype == np.float32 and not (few and large) and in_vectors(requested_isa())

    def all_steps(self, p: Array, w: Array) -> None:
        """See `Steps`."""
        if self.in_c(w):
            lstm.run(p, self.h, self.c, np.ascontiguousarray(w.T), self.reverse)
        else:
            super().all_steps(p, w)

    def all_back(self, g: Array, dh: Array, dc: Array, dp: Array, w: Array) -> Array:
        """See `Steps`."""
        if not self.in_c(w):
            return super().all_back(g, dh, dc, dp, w)
        gates = self.kept[self.turn]
        lstm.run(gates, self.h, self.c, w, self.reverse, dy=np.ascontiguousarray(g), dh=dh, dc=dc, dp=dp)
        return dp[self.turn]

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


class _GRUSteps(Steps):
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


KINDS: dict[str, type[Steps]] = {"tanh": _TanhSteps, "relu": _ReLUSteps, "lstm": _LSTMSteps, "gru": _GRUSteps}
