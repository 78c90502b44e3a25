"""Networks for phones and microcontrollers, whose 3x3 convolutions are depthwise: a filter for each channel alone, and
1x1 convolutions to mix the channels.

Before: `resnet`. After: `sequence`.
"""

from __future__ import annotations

from typing import Any

from .. import nn

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))  # channels, stride
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _conv_bn(channels: int, out: int, kernel: Any, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> nn.Sequential:
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = (sizes[0] // 2, (sizes[1] - 1) // 2)
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out), act())


def _separable(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then 1x1, each with batch normalization and ReLU: one Sequential of six."""
    return nn.Sequential(*_conv_bn(channels, channels, 3, stride, channels), *_conv_bn(channels, out, 1))


class MobileNetV1(nn.Module):
    """A full convolution and 13 separable ones; 4.2 million parameters. x: (batch, 3, 224, 224).

    Layer names are those of the widely used checkpoints (`model.1.3.weight`, `fc.bias`). Source: Howard et al.,
    "MobileNets", 2017.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.model, channels = nn.Sequential(_conv_bn(3, 32, 3, 2)), 32
        for out, stride in V1:
            self.model.append(_separable(channels, out, stride))
            channels = out
        self.model.append(nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        return self.fc(self.model(x).flatten(1))


class InvertedResidual(nn.Module):
    """Wide inside, narrow outside: 1x1 to `expand` times the channels, depthwise 3x3, 1x1 back, without activation."""

    def __init__(self, channels: int, out: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = channels * expand
        self.adds = stride == 1 and channels == out
        self.conv = nn.Sequential() if expand == 1 else nn.Sequential(_conv_bn(channels, wide, 1, act=nn.ReLU6))
        self.conv.append(_conv_bn(wide, wide, 3, stride, wide, nn.ReLU6))
        self.conv.append(nn.Conv2d(wide, out, 1, bias=False)).append(nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        """x + block(x), or block(x) where the sizes differ."""
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """17 inverted residuals; 3.5 million parameters; torchvision's layer names. x: (batch, 3, height, width).

    Source: Sandler et al., "MobileNetV2", 2018.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features, channels = nn.Sequential(_conv_bn(3, 32, 3, 2, act=nn.ReLU6)), 32
        for expand, out, count, stride in V2:
            for index in range(count):
                self.features.append(InvertedResidual(channels, out, 1 if index else stride, expand))
                channels = out
        self.features.append(_conv_bn(channels, 1280, 1, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))

    def forward(self, x: Any) -> Any:
        """Logits: the classifier on the mean over all pixels."""
        return self.classifier(self.features(x).mean((2, 3)))


class DSCNN(nn.Module):
    """Spoken keywords: one full convolution and four separable ones; 23,000 parameters.

    x: (batch, 1, 49, 10), frames by coefficients. Source: Zhang et al., "Hello Edge", 2017 (DS-CNN S; MLPerf Tiny).
    """

    def __init__(self, num_classes: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv_bn(1, 64, (10, 4), 2), *(_separable(64, 64) for _ in range(4)))
        self.pool, self.dropout, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.Linear(64, num_classes)

    def forward(self, x: Any) -> Any:
        """Logits."""
        return self.fc(self.dropout(self.pool(self.features(x)).flatten(1)))
