"""LeNet-5: where convolutional networks began.

Before: `digits_cnn`. After: `resnet`.
"""

from __future__ import annotations

from typing import Any

from .. import nn


class LeNet(nn.Module):
    """Two convolutions and three linear layers; 62,000 parameters.

    x: (batch, 1, 28, 28). Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", 1998, with ReLU and max pooling as it is taught today.

    >>> LeNet()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 6, 5, padding=2), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 16, 5), nn.ReLU()
        self.pool, self.flatten = nn.MaxPool2d(2), nn.Flatten()
        self.fc1, self.relu3 = nn.Linear(400, 120), nn.ReLU()
        self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.flatten(self.pool(self.relu2(self.conv2(x))))
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(x)))))
