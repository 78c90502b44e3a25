"""Recurrent layers with int8 weights: the products in integers, the gates in float.

    p   = W_ih x + b_ih        for all steps in one product: x is quantized once, by the range of the whole sequence
    a_t = W_hh h_t-1 + b_hh    at every step, h by its range then
    h_t = cell(p_t, a_t)       `nanoquant.nn.steps`

Source of what is quantized when: PyTorch, aten/src/ATen/native/RNN.cpp. With float16 weights both products are float32's.

Before: `conv`. After: `nanoquant.ops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....autograd.tensor import Tensor
from ....kernels import lstm
from ....kernels.dynamic import greatest_step
from ....numerics import Profile
from ....qtensor import without_gradient
from ... import linear as float_linear
from ... import recurrent
from ...steps import KINDS, Steps
from .linear import Float16Linear, Linear


class _Dynamic(recurrent._Recurrent):
    """weight_ih and weight_hh of each layer and direction are dynamic Linears: `ih_l0`, `hh_l0_reverse` and so on."""

    profile: Profile | None = None

    def add_weights(self, inputs: int, suffix: str) -> None:
        """Both products of one layer in one direction."""
        rows = KINDS[self.kind].gates * self.hidden_size
        self.add_module("ih" + suffix, Linear(inputs, rows, self.bias, self.profile))
        self.add_module("hh" + suffix, Linear(self.hidden_size, rows, self.bias, self.profile))

    @classmethod
    def from_float(cls, module: Any, profile: Profile | None = None) -> Any:
        """From a float layer with a dynamic qconfig; needs no calibration."""
        names = [name for name in cls.arguments if hasattr(module, name)]
        twin = cls(*(getattr(module, name) for name in names))
        for name in list(twin._modules):
            end, _, suffix = name.partition("_")
            suffix = f"_{suffix}" if suffix else ""
            weight, bias = (getattr(module, f"{what}_{end}{suffix}") for what in ("weight", "bias"))
            layer: Any = float_linear.Linear(weight.shape[1], weight.shape[0], bias is not None)
            layer.weight, layer.bias, layer.qconfig = weight, bias, module.qconfig
            twin.add_module(name, Linear.from_float(layer, profile))
        return twin.train(module.training)

    arguments: tuple[str, ...] = ()

    def run(self, x: Tensor, suffix: str, start: list[Tensor], reverse: bool = False) -> tuple[Tensor, list[Tensor]]:
        """See the float layer."""
        ih, hh = (self._modules[end + suffix] for end in ("ih", "hh"))
        assert isinstance(ih, Linear | Float16Linear)
        assert isinstance(hh, Linear | Float16Linear)
        inputs = np.asarray(x.array, np.float32, order="C")
        p = ih.rows(inputs.reshape(-1, ih.in_features))
        steps = _Steps(self.kind, reverse, hh)
        first = [np.asarray(state.array, np.float32) for state in start]
        y = steps.forward(p.reshape(*x.shape[:2], -1), *first)
        origin = next((t for t in (x, *start) if t.requires_grad), None)
        last = [y[0 if reverse else -1], *([steps.c[-1]] if len(start) == 2 else [])]
        return without_gradient(y, origin), [without_gradient(state.copy(), origin) for state in last]


class _Steps:
    """The steps of a cell, with W_hh h by a dynamic layer."""

    def __init__(self, kind: str, reverse: bool, hh: Linear | Float16Linear) -> None:
        self.steps: Steps = KINDS[kind](reverse)
        self.hh, self.reverse, self.is_lstm = hh, reverse, kind == "lstm"

    def forward(self, p: Any, *start: Any) -> Any:
        """h_1 ... h_T, in the order of p."""
        steps, shape = self.steps, (len(p) + 1, *start[0].shape)
        steps.h, steps.c = np.empty(shape, np.float32), np.empty(shape, np.float32)
        steps.h[0], steps.c[0], steps.kept = start[0], start[-1], p[steps.turn]
        self.c = steps.c
        if self.is_lstm and isinstance(self.hh, Linear):
            quant_max = greatest_step(self.hh.profile)
            lstm.run_dynamic(p, steps.h, steps.c, self.hh.packed(), quant_max, self.reverse, self.hh.per_row)
        else:
            with np.errstate(over="ignore"):
                for t, gates in enumerate(steps.kept):
                    a = self.hh.rows(steps.h[t])
                    steps.step(t, gates, a, steps.h[t + 1])
        return steps.h[1:][steps.turn]


def _twin(name: str) -> type[Any]:
    base = getattr(recurrent, name)
    sequence = issubclass(base, recurrent._Sequence)
    arguments = ["input_size", "hidden_size", *(["num_layers"] if sequence else [])]
    arguments += ["nonlinearity"] if name == "RNN" else []
    arguments += ["bias", *(["batch_first", "dropout", "bidirectional"] if sequence else [])]
    arguments += ["nonlinearity"] if name == "RNNCell" else []
    doc = f"`nn.{name}` with int8 weights; activations are quantized by their range, at every product."
    printed = lambda self: f"DynamicQuantized{type(self).__name__}"  # noqa: E731
    body = {"__doc__": doc, "__module__": __name__, "arguments": tuple(arguments), "printed_name": printed}
    return type(name, (_Dynamic, base), body)


RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell = map(_twin, ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"))
