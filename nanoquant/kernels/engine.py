"""The engine: which numerics profile the next packed weights and converted models get.

Layers and files keep the profile they were made with; changing the engine changes nothing that exists. It says
nothing of the CPU: every profile runs on every instruction set. Profiles that are no engine of torch's are given to a
layer as its `profile`.

Before: `saturation`. After: `nanoquant.backends`.
"""

from __future__ import annotations

from ..numerics import ENGINES, Profile


class QuantizedBackend:
    """`nanoquant.backends.quantized`.

    >>> from nanoquant.backends import quantized
    >>> quantized.engine, quantized.profile
    ('x86', nanoquant.numerics.Profile.fbgemm)
    >>> quantized.engine = "foo"
    Traceback (most recent call last):
    ValueError: unknown quantized engine 'foo'; supported_engines are qnnpack, fbgemm, x86, onednn
    """

    def __init__(self) -> None:
        self._engine = "x86"

    @property
    def supported_engines(self) -> list[str]:
        """The names `engine` can be set to."""
        return list(ENGINES)

    @property
    def engine(self) -> str:
        """The engine's name; 'x86' at first, on every machine, so that a script makes the same model everywhere."""
        return self._engine

    @engine.setter
    def engine(self, name: str) -> None:
        if name not in ENGINES:
            raise ValueError(f"unknown quantized engine {name!r}; supported_engines are {', '.join(ENGINES)}")
        self._engine = name

    @property
    def profile(self) -> Profile:
        """The numerics profile of the engine."""
        return ENGINES[self._engine]


quantized = QuantizedBackend()
