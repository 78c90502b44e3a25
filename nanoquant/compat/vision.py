"""torchvision, as far as arrays go: transforms of images, data sets from local files, the models that nanoquant has.

An image is an array (height, width) or (height, width, channels) of uint8, as files give it, until ToTensor makes a float tensor
(channels, height, width) of it, in [0, 1]. Before: `names`. After: `aliases`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import models
from ..autograd.tensor import Tensor
from ..data import Dataset, load_cifar10, load_idx
from ..io import load_weights
from ..module import Module
from ..seed import generator

Image = NDArray[np.uint8]


class Compose:
    """Transforms, one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class ToTensor:
    """uint8 (height, width) or (height, width, channels) to float32 (channels, height, width) in [0, 1]."""

    def __call__(self, image: Image) -> Tensor:
        pixels = image[:, :, None] if image.ndim == 2 else image
        return Tensor(np.moveaxis(pixels, -1, 0).astype(np.float32) / np.float32(255))


class Normalize:
    """(x - mean) / std, for each channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        del inplace
        self.mean, self.std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (mean, std))

    def __call__(self, x: Tensor) -> Tensor:
        return Tensor((x.array - self.mean) / self.std)


class RandomHorizontalFlip:
    """Left and right exchanged, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Image) -> Image:
        return image[:, ::-1] if generator().random() < self.p else image


class RandomCrop:
    """A window of this size, somewhere in the image, after `padding` zeros were put around it."""

    def __init__(self, size: int | Sequence[int], padding: int = 0) -> None:
        self.size, self.padding = (size, size) if isinstance(size, int) else tuple(size), padding

    def corner(self, room: Sequence[int]) -> Sequence[int]:
        """Where the window begins, given by how much it may be moved."""
        return [int(generator().integers(most + 1)) for most in room]

    def __call__(self, image: Image) -> Image:
        borders = [(self.padding, self.padding)] * 2 + [(0, 0)] * (image.ndim - 2)
        padded = np.pad(image, borders)
        room = [have - want for have, want in zip(padded.shape, self.size, strict=False)]
        if min(room) < 0:
            raise ValueError(f"a window of {self.size} does not fit into an image of {padded.shape[:2]}: Resize is not here")
        top, left = self.corner(room)
        return padded[top : top + self.size[0], left : left + self.size[1]]


class CenterCrop(RandomCrop):
    """The window in the middle."""

    def corner(self, room: Sequence[int]) -> Sequence[int]:
        """See RandomCrop."""
        return [round(most / 2) for most in room]


class Transforms:
    """torchvision.transforms."""

    Compose, ToTensor, Normalize = Compose, ToTensor, Normalize
    Lambda = staticmethod(lambda lambd: Compose([lambd]))
    RandomHorizontalFlip, RandomCrop, CenterCrop = RandomHorizontalFlip, RandomCrop, CenterCrop


class _Local(Dataset):
    """Images and labels of files that lie below root. Nothing is downloaded: FileNotFoundError names the file that is wanted."""

    def __init__(
        self, root: str | Path, train: bool = True, transform: Any = None, target_transform: Any = None, download: bool = False
    ) -> None:  # fmt: skip
        self.data, self.targets = self.read(Path(root), train)
        self.transform, self.target_transform = transform, target_transform

    def read(self, root: Path, train: bool) -> tuple[Any, Any]:
        """Images (n, height, width[, channels]) and labels."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        image, label = self.data[index], int(self.targets[index])
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)


def found(*places: Path) -> Path:
    """The first of these files that exists; FileNotFoundError names them."""
    for path in places:
        if path.exists():
            return path
    raise FileNotFoundError(f"nothing is downloaded: put the file {places[0]} there")


class MNIST(_Local):
    """root/MNIST/raw/train-images-idx3-ubyte and the like, gzipped or not."""

    def read(self, root: Path, train: bool) -> tuple[Any, Any]:
        """See the class."""
        stem = root / type(self).__name__ / "raw" / ("train" if train else "t10k")
        files = (f"{stem}-{what}-ubyte" for what in ("images-idx3", "labels-idx1"))
        images, labels = (load_idx(found(Path(file), Path(f"{file}.gz"))) for file in files)
        return images, labels


class FashionMNIST(MNIST):
    """The same below root/FashionMNIST."""


class CIFAR10(_Local):
    """root/cifar-10-batches-bin, the binary version."""

    def read(self, root: Path, train: bool) -> tuple[Any, Any]:
        """See the class."""
        names = [f"data_batch_{n}.bin" for n in range(1, 6)] if train else ["test_batch.bin"]
        images, labels = load_cifar10(*(found(root / "cifar-10-batches-bin" / name) for name in names))
        return np.moveaxis(images, 1, -1), labels


class Datasets:
    """torchvision.datasets."""

    MNIST, FashionMNIST, CIFAR10 = MNIST, FashionMNIST, CIFAR10


def _model(build: Callable[..., Module], name: str) -> Callable[..., Module]:
    def model(pretrained: bool = False, weights: Any = None, quantize: bool = False, **options: Any) -> Module:
        options.pop("progress", None)
        if quantize:
            raise ValueError(f"{name}(quantize=True) is a download: quantize the float model with prepare_fx and convert_fx")
        made = build(**options)
        if pretrained or weights is not None:
            made.load_state_dict(load_weights(found(Path(f"{name}.pth"), Path(f"{name}.safetensors"))))
        return made

    return model


class Models:
    """torchvision.models: pretrained weights come from name.pth or name.safetensors in the working directory."""

    resnet18, resnet50 = _model(models.resnet18, "resnet18"), _model(models.resnet50, "resnet50")
    mobilenet_v2 = _model(models.MobileNetV2, "mobilenet_v2")
