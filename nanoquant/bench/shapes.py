"""What the bench measures: layers of real networks, and any other shape that `--shape` names.

Before: `nanoquant.demo`. After: `data`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Each operation's bytes read and written for an element of its input.
OPERATIONS = {
    "quantize": (4, 1), "dequantize": (1, 4), "add": (2, 1), "mul": (2, 1), "relu": (1, 1),
    "max_pool2d": (1, 0.25), "avg_pool2d": (1, 0.25),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """One row of the table. text: what `--shape` takes. read, written: bytes. M, K, N: of the product in each group.

    image: (batch, height, width, channels); a linear layer's has one line of M pixels. out: the same of the output.
    """

    name: str
    text: str
    operation: str
    image: tuple[int, int, int, int]
    out: tuple[int, int, int, int]
    read: int
    written: int
    macs: int = 0
    M: int = 0
    K: int = 0
    N: int = 0
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1


def conv(
    batch: int, height: int, width: int, channels: int, out: int, kernel: int,
    stride: int = 1, padding: int = 0, groups: int = 1, name: str = "",
) -> Shape:  # fmt: skip
    """A square convolution.

    >>> s = conv(1, 56, 56, 64, 128, 3, 2, 1)
    >>> s.text, s.out, (s.M, s.K, s.N), s.macs
    ('1x56x56x64:128:3:2:1', (1, 28, 28, 128), (784, 576, 128), 57802752)
    """
    text = f"{batch}x{height}x{width}x{channels}:{out}:{kernel}:{stride}:{padding}" + f":{groups}" * (groups > 1)
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (height, width))
    if channels % groups or out % groups or min(rows, columns) < 1:
        raise ValueError(f"--shape {text}: groups must divide both channel counts, and the kernel must fit the image")
    M, K, N = batch * rows * columns, channels // groups * kernel**2, out // groups
    return Shape(
        name, text, "conv2d", (batch, height, width, channels), (batch, rows, columns, out),
        batch * height * width * channels + K * out, M * out, M * K * out, M, K, N, kernel, stride, padding, groups,
    )  # fmt: skip


def gemm(M: int, K: int, N: int, name: str = "") -> Shape:
    """A linear layer: M rows of K activations times K x N weights.

    >>> s = gemm(2, 3, 4)
    >>> s.text, s.macs, s.read, s.written
    ('2x3x4', 24, 18, 8)
    """
    read, macs = M * K + K * N, M * K * N
    return Shape(name, f"{M}x{K}x{N}", "linear", (1, 1, M, K), (1, 1, M, N), read, M * N, macs, M, K, N)


def elementwise(operation: str, size: int, name: str = "") -> Shape:
    """An operation over `size` elements; pools take them as a square image of 64 channels, with even sides."""
    read, written = OPERATIONS[operation]
    side = max(2, math.isqrt(size // 64) // 2 * 2)
    image = (1, side, side, 64) if "pool" in operation else (1, 1, 1, size)
    count = math.prod(image)
    return Shape(name, f"{operation}:{size}", operation, image, image, int(read * count), int(written * count))


# Per command: the pattern of `--shape`, in words and as a regular expression of its numbers, and what makes a row of them.
FORMS = {
    "gemm": ("MxKxN, as in 128x768x3072", r"N xN xN", gemm),
    "conv": (
        "BATCHxHEIGHTxWIDTHxCHANNELS:OUT_CHANNELS:KERNEL[:STRIDE[:PADDING[:GROUPS]]], as in 1x56x56x64:64:3:1:1",
        r"N xN xN xN :N :N (?::N (?::(\d+)(?::N )?)?)?", conv,
    ),
    "elementwise": (f"OPERATION:SIZE, as in quantize:1000000, of {', '.join(OPERATIONS)}", rf"({'|'.join(OPERATIONS)}):N ", elementwise),
}  # fmt: skip


def parse(command: str, text: str) -> Shape:
    """A row from the command line."""
    words, pattern, make = FORMS[command]
    match = re.fullmatch(pattern.replace("N ", "([1-9][0-9]*)"), text)
    if match is None:
        raise ValueError(f"--shape must be {words}; got {text!r}")
    parts = [int(part) if part.isdecimal() else part for part in match.groups() if part is not None]
    return make(*parts)  # type: ignore[operator,no-any-return]


def _resnet(size: int, channels: int, out: int, kernel: int, stride: int = 1) -> Shape:
    return conv(1, size, size, channels, out, kernel, stride, kernel // 2, 1, "ResNet-50")


def _mobile(size: int, channels: int, out: int, kernel: int = 1, stride: int = 1) -> Shape:
    groups = channels if kernel > 1 and channels > 3 else 1
    name = "MobileNetV3" if kernel == 5 else "MobileNetV2"
    return conv(1, size, size, channels, out, kernel, stride, kernel // 2, groups, name)


SHAPES = {
    "gemm": [
        gemm(512, 512, 512, "square"), gemm(1024, 1024, 1024, "square"), gemm(2048, 2048, 2048, "square"),
        gemm(3136, 64, 64, "K = 64"), gemm(3136, 64, 256, "K = 64"), gemm(512, 64, 512, "K = 64"),
        gemm(128, 768, 768, "BERT-base"), gemm(128, 768, 3072, "BERT-base"), gemm(128, 3072, 768, "BERT-base"),
        gemm(1, 768, 768, "BERT-base"), gemm(1, 768, 3072, "BERT-base"), gemm(1, 3072, 768, "BERT-base"),
        gemm(1, 512, 2048, "LSTM gates"), gemm(64, 512, 2048, "LSTM gates"), gemm(1, 1024, 4096, "LSTM gates"),
        gemm(64, 1024, 4096, "LSTM gates"), gemm(1, 2048, 1000, "ResNet-50"), gemm(64, 2048, 1000, "ResNet-50"),
        gemm(1, 1280, 1000, "MobileNetV2"), gemm(1, 64, 10, "digits"), gemm(16, 256, 256, "small"),
    ],
    "conv": [
        conv(1, 224, 224, 3, 64, 7, 2, 3, 1, "ResNet-50"),
        _resnet(56, 64, 64, 1), _resnet(56, 64, 64, 3), _resnet(56, 64, 256, 1), _resnet(56, 256, 64, 1),
        _resnet(56, 128, 128, 3, 2), _resnet(56, 256, 512, 1, 2), _resnet(28, 128, 128, 3), _resnet(28, 512, 128, 1),
        _resnet(14, 256, 256, 3), _resnet(14, 1024, 256, 1), _resnet(14, 1024, 2048, 1, 2), _resnet(7, 512, 512, 3),
        _resnet(7, 512, 2048, 1),
        _mobile(224, 3, 32, 3, 2), _mobile(112, 32, 16), _mobile(112, 16, 96), _mobile(56, 144, 24),
        _mobile(14, 384, 64), _mobile(7, 320, 1280),
        _mobile(112, 32, 32, 3), _mobile(112, 96, 96, 3, 2), _mobile(56, 144, 144, 3), _mobile(28, 192, 192, 3),
        _mobile(14, 384, 384, 3), _mobile(14, 576, 576, 3, 2), _mobile(7, 960, 960, 3), _mobile(28, 120, 120, 5),
        _mobile(14, 672, 672, 5, 2),
    ],
    "elementwise": [
        elementwise(operation, size, level)
        for operation in OPERATIONS
        for size, level in ((4096, "L1"), (65_536, "L2"), (1_000_000, "L3"), (32_000_000, "DRAM"))
    ],
}  # fmt: skip
