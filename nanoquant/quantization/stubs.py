"""Where a model's integer part begins and ends.

Before: `qconfig_mapping`. After: `mappings`.
"""

from __future__ import annotations

from typing import Any

from ..module import Module


class Stub(Module):
    """Passes its input on. qconfig: its own, or None to take the model's."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Any) -> Any:
        return x


class QuantStub(Stub):
    """Marks where floats become integers; `convert` makes it a `Quantize`."""


class DeQuantStub(Stub):
    """Marks where integers become floats again; `convert` makes it a `DeQuantize`."""
