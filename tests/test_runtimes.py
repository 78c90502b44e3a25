"""The profiles `ort` and `tflite`: what ONNX Runtime 1.31 and LiteRT 2.3 computed, on every instruction set.

The recorded layers' biases are int32; a float bias that the profile rounds to them stands in. `tflite_single` has no
vectors: no reference kernel of LiteRT's binaries rounds once. Exact arithmetic is its oracle, in `test_numerics.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_vectors import cases

from nanoquant.kernels.packed import Input, Output, PackedWeights
from nanoquant.numerics import Profile


def answer(options: dict[str, Any], arrays: dict[str, np.ndarray], profile: Profile, isa: str) -> np.ndarray:
    """What we compute for a recorded case."""
    x, w, w_scale, bias = arrays["x"].astype(options["dtype"]), arrays["w"], arrays["w_scale"], arrays.get("bias")
    if options["kind"] == "MatMulInteger":
        bias, output = arrays["float_bias"], Output()
    else:
        output = Output(options["y_scale"], options["y_zero_point"], x.dtype)
        bias = None if bias is None else (bias * (np.float32(options["x_scale"]) * w_scale)).astype(np.float32)
    packed = PackedWeights(w[:, :, None, None], w_scale, np.zeros(w_scale.shape, np.int64), bias, profile=profile)
    return packed.linear(x, Input(options["x_scale"], options["x_zero_point"], x.dtype), output, isa=isa)


RUNTIMES = [("ort", Profile.ort), ("tflite", Profile.tflite)]


@pytest.mark.parametrize(("name", "profile"), RUNTIMES)
def test_layers_equal_the_runtimes_bit_for_bit(name: str, profile: Profile, isa: str) -> None:
    spread: set[float] = set()
    for options, arrays in cases(name):
        assert np.array_equal(answer(options, arrays, profile, isa), arrays["y"]), options
        spread.update(np.unique(arrays["y"]).tolist())
    assert len(spread) > 250, "the vectors exercise the whole range of outputs"


@pytest.mark.parametrize(("name", "profile"), RUNTIMES)
def test_the_vectors_tell_every_other_profile_apart(name: str, profile: Profile) -> None:
    for other in set(Profile) - {profile}:
        differs = [not np.array_equal(answer(*case, other, "ref"), case[1]["y"]) for case in cases(name)]
        assert any(differs), other
