"""What the bench measures: layers of real networks, and any other shape that `--shape` names.

Before: `nanoquant.demo`. After: `data`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

# Each operation's bytes read and written for an element of its input.
OPERATIONS = {
    "quantize": (4, 1), "dequantize": (1, 4), "add": (2, 1), "mul": (2, 1), "relu": (1, 1), "sigmoid": (1, 1),
    "hardswish": (1, 1), "max_pool2d": (1, 0.25), "avg_pool2d": (1, 0.25),
}  # fmt: skip
LEVELS = {"L1": 4096, "L2": 65_536, "L3": 1_000_000, "DRAM": 32_000_000}  # elements, of one byte or four


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
    """An operation over `size` elements; pools, of 2 x 2, take about as many: a square image of 64 channels."""
    read, written = OPERATIONS[operation]
    side = max(2, math.isqrt(size // 64) // 2 * 2)
    image = (1, side, side, 64) if "pool" in operation else (1, 1, 1, size)
    count = math.prod(image)
    return Shape(name, f"{operation}:{size}", operation, image, image, int(read * count), int(written * count))


# What `--shape` takes, in words; as a regular expression, N for a number above 0; and the function those numbers go to.
FORMS: dict[str, tuple[str, str, Any]] = {
    "gemm": ("MxKxN, as in 128x768x3072", "NxNxN", gemm),
    "conv": (
        "BATCHxHEIGHTxWIDTHxCHANNELS:OUT_CHANNELS:KERNEL[:STRIDE[:PADDING[:GROUPS]]], as in 1x56x56x64:64:3:1:1",
        r"NxNxNxN:N:N(?::N(?::(\d+)(?::N)?)?)?", conv,
    ),
    "elementwise": (
        f"OPERATION:SIZE, as in quantize:1000000, of {', '.join(OPERATIONS)}", f"({'|'.join(OPERATIONS)}):N", elementwise,
    ),
}  # fmt: skip


def parse(command: str, text: str) -> Shape:
    """A row from the command line."""
    words, pattern, make = FORMS[command]
    match = re.fullmatch(pattern.replace("N", "([1-9][0-9]*)"), text)
    if match is None:
        raise ValueError(f"--shape must be {words}; got {text!r}")
    shape: Shape = make(*(int(part) if part.isdecimal() else part for part in match.groups() if part is not None))
    return shape


def _square(name: str, size: int, channels: int, out: int, kernel: int = 1, stride: int = 1) -> Shape:
    """A square image, padded so that only the stride shrinks it; depthwise if the name says so."""
    return conv(1, size, size, channels, out, kernel, stride, kernel // 2, channels if "depth" in name else 1, name)


SHAPES = {
    "gemm": [
        *(gemm(n, n, n, "square") for n in (512, 1024, 2048)),
        *(gemm(M, 64, N, "K = 64") for M, N in ((3136, 64), (3136, 256), (512, 512))),
        *(gemm(M, K, N, "BERT-base") for M in (128, 1) for K, N in ((768, 768), (768, 3072), (3072, 768))),
        *(gemm(M, K, 4 * K, "LSTM gates") for K in (512, 1024) for M in (1, 64)),
        gemm(1, 2048, 1000, "ResNet-50"), gemm(64, 2048, 1000, "ResNet-50"), gemm(1, 1280, 1000, "MobileNetV2"),
        gemm(1, 64, 10, "digits"), gemm(16, 256, 256, "small"),
    ],
    "conv": [
        *(_square("ResNet-50", *sizes) for sizes in (
            (224, 3, 64, 7, 2), (56, 64, 64), (56, 64, 64, 3), (56, 64, 256), (56, 256, 64), (56, 128, 128, 3, 2),
            (56, 256, 512, 1, 2), (28, 128, 128, 3), (28, 512, 128), (14, 256, 256, 3), (14, 1024, 256),
            (14, 1024, 2048, 1, 2), (7, 512, 512, 3), (7, 512, 2048),
        )),
        *(_square("MobileNetV2", *sizes) for sizes in (
            (224, 3, 32, 3, 2), (112, 32, 16), (112, 16, 96), (56, 144, 24), (14, 384, 64), (7, 320, 1280),
        )),
        *(conv(1, size, size, n, n, 3, 1, 1, 32, "ResNeXt-50") for size, n in ((56, 128), (14, 512))),
        *(_square("depthwise", size, channels, channels, *sizes) for size, channels, *sizes in (
            (112, 32, 3), (112, 96, 3, 2), (56, 144, 3), (28, 192, 3), (14, 384, 3), (14, 576, 3, 2), (7, 960, 3),
            (28, 120, 5), (14, 672, 5, 2),
        )),
    ],
    "elementwise": [elementwise(operation, size, level) for operation in OPERATIONS for level, size in LEVELS.items()],
}  # fmt: skip
