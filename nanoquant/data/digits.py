"""1797 handwritten digits, 8 x 8 pixels of 17 grey levels, from 13 people.

They are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49), licensed CC BY 4.0, as scikit-learn distributes it. `digits.npz`
holds `images` (uint8, 0..16) and `labels` (uint8), in the original order.

Before: `nanoquant.io`. After: `idx`.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Split(NamedTuple):
    """Images (n, 1, height, width), float32 in [0, 1], and their classes (n,), int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class Digits(NamedTuple):
    """The two parts of a data set."""

    train: Split
    test: Split


def load_digits() -> Digits:
    """The digits, split once and for all: every fourth image, counting from the fourth, is for testing.

    >>> digits = load_digits()
    >>> digits.train.images.shape, digits.test.images.shape
    ((1348, 1, 8, 8), (449, 1, 8, 8))
    """
    with resources.files("nanoquant.data").joinpath("digits.npz").open("rb") as file:
        stored: Any = np.load(file, allow_pickle=False)
        images = stored["images"][:, np.newaxis].astype(np.float32) / np.float32(16)
        labels = stored["labels"].astype(np.int64)
    test = np.arange(len(labels)) % 4 == 3
    return Digits(Split(images[~test], labels[~test]), Split(images[test], labels[test]))


def load_digit_rows() -> Digits:
    """The digits as sequences: (n, 8 steps, 8 features), each image read row by row."""
    train, test = (Split(part.images[:, 0], part.labels) for part in load_digits())
    return Digits(train, test)
