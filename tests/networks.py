"""Networks that torch and nanoquant both build, each from its own layers: `residual(torch)`, `residual(nanoquant)`."""

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


def transformer(library: Any) -> Any:
    """An encoder block of 4 heads of 8, written out: attention, its scale a number, and two linear layers, both with sums and
    layer norms. For sequences of vectors of 32.
    """
    nn = library.nn

    class Transformer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(32, 32) for _ in range(4))
            self.softmax, self.norm1, self.norm2 = nn.Softmax(-1), nn.LayerNorm(32), nn.LayerNorm(32)
            self.up, self.relu, self.down = nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)

        def heads(self, x: Any) -> Any:
            return x.reshape(x.shape[0], -1, 4, 8).transpose(1, 2)

        def forward(self, x: Any) -> Any:
            query, key, value = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
            attention = self.softmax(library.matmul(query, key.transpose(-2, -1)) * 0.35)
            mixed = library.matmul(attention, value).transpose(1, 2).reshape(x.shape[0], -1, 32)
            x = self.norm1(x + self.out(mixed))
            return self.norm2(x + self.down(self.relu(self.up(x))))

    return Transformer()


NETWORKS = {"residual": (residual, (2, 3, 8, 8)), "transformer": (transformer, (2, 10, 32))}  # and a shape of inputs
