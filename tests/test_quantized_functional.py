"""nn.quantized.functional: torch's signatures, and its integers where torch runs."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn

QF = nn.quantized.functional
SCALE, ZERO = 0.1, 100
CALLS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "linear": ("linear", (4, 6), {"scale": 0.2, "zero_point": 90}),
    "conv1d": ("conv1d", (2, 6, 9), {"padding": 1, "scale": 0.2, "zero_point": 90}),
    "conv2d": ("conv2d", (2, 6, 9, 8), {"stride": 2, "scale": 0.2, "zero_point": 90}),
    "conv2d, reflect": ("conv2d", (2, 6, 9, 8), {"padding": 1, "padding_mode": "reflect", "scale": 0.2, "zero_point": 90}),
    "conv3d": ("conv3d", (2, 6, 4, 5, 6), {"scale": 0.2, "zero_point": 90}),
    "max_pool1d": ("max_pool1d", (2, 6, 9), {"kernel_size": 2}),
    "max_pool2d": ("max_pool2d", (2, 6, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg_pool2d": ("avg_pool2d", (2, 6, 9, 8), {"kernel_size": 2}),
    "adaptive_avg_pool2d": ("adaptive_avg_pool2d", (2, 6, 9, 8), {"output_size": 3}),
    "interpolate": ("interpolate", (2, 6, 4, 5), {"scale_factor": 2, "mode": "nearest"}),
    "upsample_nearest": ("upsample_nearest", (2, 6, 4, 5), {"size": (8, 10)}),
    "celu": ("celu", (4, 6), {"scale": 0.05, "zero_point": 60, "alpha": 0.7}),
    "leaky_relu": ("leaky_relu", (4, 6), {"negative_slope": 0.2}),
    "hardtanh": ("hardtanh", (4, 6), {"min_val": -2.0, "max_val": 3.0}),
    "hardswish": ("hardswish", (4, 6), {"output_scale": 0.05, "output_zero_point": 60}),
    "threshold": ("threshold", (4, 6), {"threshold": 1.0, "value": -2.0}),
    "elu": ("elu", (4, 6), {"scale": 0.05, "zero_point": 60}),
    "hardsigmoid": ("hardsigmoid", (4, 6), {}),
}


def given(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, (function, shape, _) = np.random.default_rng(0), CALLS[name]
    kernel = {"linear": (5, 6), "conv1d": (4, 6, 3), "conv2d": (4, 6, 3, 3), "conv3d": (4, 6, 2, 3, 2)}.get(function, (1,))
    q = g.integers(0, 256, shape).astype(np.uint8)
    return q, g.integers(-64, 64, kernel).astype(np.int8), g.normal(size=kernel[0]).astype(np.float32)


@pytest.mark.filterwarnings("ignore")  # torch's
@pytest.mark.parametrize("name", CALLS)
def test_torchs_integers(name: str) -> None:
    q, w, bias = given(name)
    function, _, options = CALLS[name]
    weighted = function in ("linear", "conv1d", "conv2d", "conv3d")
    x = nq.QTensor(q, nq.QParams(SCALE, ZERO))
    more = (nq.QTensor(w, nq.QParams(0.01, 0, nq.qint8)), bias) if weighted else ()
    got = getattr(QF, function)(x, *more, **options)
    assert isinstance(got, nq.QTensor)
    if "reflect" in name:
        return  # torch pads with zeros only
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.backends.quantized.engine = "fbgemm"
    make, theirs = torch._make_per_tensor_quantized_tensor, torch.ao.nn.quantized.functional
    tx = make(torch.from_numpy(q), SCALE, ZERO)
    more = (make(torch.from_numpy(w), 0.01, 0), torch.from_numpy(bias)) if weighted else ()
    options = {{"output_scale": "scale", "output_zero_point": "zero_point"}.get(k, k): v for k, v in options.items()}
    wanted = getattr(theirs, function)(tx, *more, **options)
    assert (got.q_scale(), got.q_zero_point()) == (pytest.approx(wanted.q_scale()), wanted.q_zero_point())
    off = np.abs(got.int_repr().array.astype(int) - wanted.int_repr().numpy().astype(int))
    assert off.max() <= 1  # ties
    assert (off > 0).mean() < 0.02


def test_signatures_are_torchs() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.ao.nn.quantized.functional
    missing = {"avg_pool3d", "adaptive_avg_pool3d", "upsample_bilinear"}  # no kernel of images in three axes, or of mixtures
    assert set(theirs.__all__) - set(dir(QF)) == missing
    for name in ("linear", "celu", "leaky_relu", "hardtanh", "threshold", "elu", "hardsigmoid"):
        ours = list(inspect.signature(getattr(QF, name)).parameters)
        assert ours == list(inspect.signature(getattr(theirs, name)).parameters)


def test_errors() -> None:
    x = nq.QTensor(np.zeros((1, 6, 9), np.uint8), nq.QParams(SCALE, ZERO))
    w = nq.QTensor(np.zeros((4, 6, 3), np.int8), nq.QParams(0.01, 0, nq.qint8))
    with pytest.raises(ValueError, match="conv1d: the input must be qint8 as the output"):
        QF.conv1d(x, w, None, dtype=nq.qint8)
    with pytest.raises(TypeError, match="linear: weight must be a qint8 tensor with 2 axes"):
        QF.linear(x, w)
    with pytest.raises(TypeError, match="max_pool2d: the input must be an 8-bit tensor"):
        QF.max_pool2d(np.zeros((1, 2, 3, 3)), 2)
