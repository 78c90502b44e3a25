"""Activations between integers, as layers: one table of what becomes of which.

Before: `functional`. After: `nanoquant.nn.quantized.dynamic`.
"""

from __future__ import annotations

from typing import Any

from ...kernels import tables
from ...qtensor import QTensor
from .activation import by_table
from .on_grid import OnGrid, output_qparams


class _Activation(OnGrid):
    """A function of each element, as a table of 256 entries. options: the float layer's attributes that it depends on."""

    function: Any
    options: tuple[str, ...] = ()

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.register_output()
        for name, number in zip(self.options, numbers, strict=True):
            setattr(self, name, float(number))

    @classmethod
    def from_float(cls, module: Any) -> Any:
        """From a float layer whose observer has seen data."""
        twin = cls(*(getattr(module, name) for name in cls.options))
        twin.set_output(output_qparams(module))
        return twin

    def forward(self, x: Any) -> QTensor:
        """The function of the integers' meaning, on this layer's grid."""
        numbers = tuple(getattr(self, name) for name in self.options) + self.constants
        return by_table(self.take(x), type(self).function, self.output(), *numbers)

    constants: tuple[float, ...] = ()

    def printed_name(self) -> str:
        """'QuantizedSigmoid', say."""
        return f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        """Options and the output's grid."""
        return ", ".join([*(f"{name}={getattr(self, name)}" for name in self.options), self.grid_repr()])


def _layer(name: str, function: Any, formula: str, options: str = "", constants: tuple[float, ...] = ()) -> type[Any]:
    body = {"function": staticmethod(function), "options": tuple(options.split()), "constants": constants}
    return type(name, (_Activation,), {**body, "__doc__": f"y = {formula}, from integers to integers.", "__module__": __name__})


Sigmoid = _layer("Sigmoid", tables.sigmoid, "1 / (1 + e^-x)")
Tanh = _layer("Tanh", tables.tanh, "tanh x")
Hardsigmoid = _layer("Hardsigmoid", tables.hardsigmoid, "min(max(x + 3, 0), 6) / 6")
Hardswish = _layer("Hardswish", tables.hardswish, "x min(max(x + 3, 0), 6) / 6")
LeakyReLU = _layer("LeakyReLU", tables.leaky_relu, "x where x > 0, else negative_slope x", "negative_slope")
ELU = _layer("ELU", tables.elu, "x where x > 0, else alpha (e^x - 1)", "alpha", (1.0, 1.0))
