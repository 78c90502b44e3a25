"""Classifiers of sequences: of the digits read row by row, say.

Before: `mobilenet`. After: `nanoquant.demo`.
"""

from __future__ import annotations

from typing import Any

from .. import nn


class LSTMClassifier(nn.Module):
    """What a two-layer LSTM holds after the last step, and one linear layer. x: (batch, steps, features).

    >>> LSTMClassifier()(np.zeros((2, 8, 8), np.float32)).shape
    (2, 10)
    """

    def __init__(self, features: int = 8, hidden: int = 64, num_classes: int = 10, num_layers: int = 2) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        steps, _ = self.lstm(x)
        return self.fc(steps[:, -1])


class TransformerClassifier(nn.Module):
    """Steps, each with a learned sign of its place, through an encoder; a linear layer on their mean.

    x: (batch, steps, features), steps at most `length`.
    """

    def __init__(
        self, features: int = 8, width: int = 32, heads: int = 4, num_layers: int = 2, num_classes: int = 10, length: int = 8
    ) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(features, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.encoder, self.fc = nn.TransformerEncoder(layer, num_layers), nn.Linear(width, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        embedded = self.embed(x)
        return self.fc(self.encoder(embedded + self.place.weight[: embedded.shape[1]]).mean(1))
