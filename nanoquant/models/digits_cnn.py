"""A small convolutional network for the digits.

Before: `nanoquant.data`. After: `nanoquant.demo`.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..quantization import DeQuantStub, QuantStub


class DigitsCNN(nn.Module):
    """Three convolutions with batch normalization and ReLU, two poolings, one linear layer; 98,000 parameters.

        8x8 -conv 32-> 8x8 -conv 64-> 8x8 -max pool-> 4x4 -conv 128-> 4x4 -max pool-> 2x2 -linear-> 10 logits

    x: (batch, 1, 8, 8) in [0, 1]. It has stubs, so that it can be quantized in every way; in float they do nothing.
    """

    # What fuse_modules should make one of.
    FUSE = (("conv1", "bn1", "relu1"), ("conv2", "bn2", "relu2"), ("conv3", "bn3", "relu3"))

    def __init__(self) -> None:
        super().__init__()
        self.quant = QuantStub()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()
        self.conv3, self.bn3, self.relu3 = nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512, 10)
        self.dequant = DeQuantStub()

    def forward(self, x: Any) -> Any:
        """Logits of the ten classes."""
        x = self.quant(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.pool(self.relu3(self.bn3(self.conv3(x))))
        return self.dequant(self.fc(self.flatten(x)))
