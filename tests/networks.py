"""A network that torch and nanoquant both build, each from its own layers: `residual(torch)`, `residual(nanoquant)`."""

from __future__ import annotations

from typing import Any


def residual(library: Any) -> Any:
    """A sum with ReLU, a pool, a linear layer: for images of 3 x 8 x 8."""
    nn = library.nn

    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
            self.relu, self.pool, self.fc = nn.ReLU(), nn.MaxPool2d(2), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.conv1(x))
            x = self.relu(self.conv2(x) + x)
            x = self.pool(x)
            return self.fc(x.flatten(1))

    return Residual()
