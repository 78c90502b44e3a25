"""Where a model's integer part begins and ends.

Before: `qconfig_mapping`. After: `mappings`.
"""

from __future__ import annotations

from typing import Any

from ..module import Module


class QuantStub(Module):
    """Marks where floats become integers. Passes its input on until `convert` makes it a `Quantize`.

    qconfig: its own, or None to take the model's.
    """

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class DeQuantStub(Module):
    """Marks where integers become floats again. Passes its input on until `convert` makes it a `DeQuantize`."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Any) -> Any:
        """x."""
        return x
