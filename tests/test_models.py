"""models: the sizes that the papers give, the names that well-known checkpoints have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import data, models, nn, optim

NETWORKS: dict[str, tuple[Any, tuple[int, ...], int, int]] = {  # constructor, one image, classes, parameters
    "LeNet": (models.LeNet, (1, 28, 28), 10, 61_706),
    "resnet8": (models.resnet8, (3, 32, 32), 10, 78_042),
    "resnet18": (models.resnet18, (3, 64, 64), 1000, 11_689_512),
    "resnet50": (models.resnet50, (3, 64, 64), 1000, 25_557_032),
    "MobileNetV1": (models.MobileNetV1, (3, 64, 64), 1000, 4_231_976),
    "MobileNetV2": (models.MobileNetV2, (3, 64, 64), 1000, 3_504_872),
    "DSCNN": (models.DSCNN, (1, 49, 10), 12, 23_180),
}

NAMES = {
    "resnet18": {"conv1.weight": (64, 3, 7, 7), "bn1.running_var": (64,), "layer1.0.conv1.weight": (64, 64, 3, 3),
                 "layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.1.bn2.num_batches_tracked": (),
                 "fc.bias": (1000,)},
    "resnet50": {"layer1.0.downsample.1.weight": (256,), "layer3.5.conv3.weight": (1024, 256, 1, 1)},
    "MobileNetV1": {"model.0.0.weight": (32, 3, 3, 3), "model.1.0.weight": (32, 1, 3, 3), "model.13.4.bias": (1024,),
                    "fc.weight": (1000, 1024)},
    "MobileNetV2": {"features.0.0.weight": (32, 3, 3, 3), "features.1.conv.0.0.weight": (32, 1, 3, 3),
                    "features.1.conv.1.weight": (16, 32, 1, 1), "features.2.conv.1.0.weight": (96, 1, 3, 3),
                    "features.17.conv.3.weight": (320,), "features.18.0.weight": (1280, 320, 1, 1),
                    "classifier.1.weight": (1000, 1280)},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_and_names(name: str) -> None:
    network, image, classes, parameters = NETWORKS[name]
    net = network().eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    state = net.state_dict()
    assert {key: np.shape(state[key]) for key in NAMES.get(name, ())} == NAMES.get(name, {})
    assert net(np.zeros((2, *image), np.float32)).shape == (2, classes)


@pytest.mark.parametrize("network", [models.LSTMClassifier, models.TransformerClassifier])
def test_sequences_are_learned(network: Any) -> None:
    """The digits, read row by row; chance is 10 %."""
    nq.manual_seed(0)
    net, digits = network(), data.load_digit_rows()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    for _ in range(2):
        for x, labels in data.batches(*digits.train, size=32, shuffle=True):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(net(x), labels).backward()
            optimizer.step()
    found = net.eval()(digits.test.images).argmax(1)
    assert np.mean(np.asarray(found) == digits.test.labels) > 0.5
