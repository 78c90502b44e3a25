"""Residual networks, with torchvision's layer names, so that its checkpoints load.

    x ---> conv, bn, relu, conv, bn ---> + ---> relu          a block learns what to add to its input; where sizes
      \\------- (conv 1x1, bn) -------/                          change, `downsample` makes them fit

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016. Before: `lenet`. After: `mobilenet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    expansion = 1  # output channels for each of `width`

    def __init__(self, channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.relu, self.downsample = nn.ReLU(), downsample

    def forward(self, x: Any) -> Any:
        """relu(x + block(x))."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, which make its input narrow and its output wide again."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.relu, self.downsample = nn.ReLU(), downsample

    def forward(self, x: Any) -> Any:
        """relu(x + block(x))."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Stages of blocks, each after the first with half the size and twice the channels of the one before.

    x: (batch, 3, height, width). small: for images of 32 x 32, a 3x3 stem that keeps their size.

    >>> resnet8()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """

    def __init__(self, block: Any, blocks: Sequence[int], width: int, num_classes: int, small: bool = False) -> None:
        super().__init__()
        self.conv1 = _conv(3, width, 3) if small else _conv(3, width, 7, 2)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.stages, channels = len(blocks), width
        for stage, count in enumerate(blocks):
            layers = nn.Sequential()
            for index in range(count):
                stride, out = (2 if stage and not index else 1), width * block.expansion
                fits = stride == 1 and channels == out
                downsample = None if fits else nn.Sequential(_conv(channels, out, 1, stride), nn.BatchNorm2d(out))
                layers.append(block(channels, width, stride, downsample))
                channels = out
            self.add_module(f"layer{stage + 1}", layers)
            width *= 2
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))


def resnet8(num_classes: int = 10) -> ResNet:
    """78,000 parameters, for 32 x 32 images: three blocks of 16, 32 and 64 channels (MLPerf Tiny)."""
    return ResNet(BasicBlock, (1, 1, 1), 16, num_classes, small=True)


def resnet18(num_classes: int = 1000) -> ResNet:
    """11.7 million parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), 64, num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """25.6 million parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), 64, num_classes)
