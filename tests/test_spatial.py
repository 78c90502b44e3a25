"""Convolution, pooling and sums per channel over one to three axes: against torch, against differences, against NumPy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

import nanoquant as nq
from nanoquant.autograd.gradcheck import gradcheck
from nanoquant.autograd.tensor import apply
from nanoquant.kernels import native, sliding
from nanoquant.kernels.channels import channel_line, channel_sums
from nanoquant.nn import normalization, spatial


def drawn(seed: int) -> tuple[np.random.Generator, int, Any]:
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    return rng, axes, lambda low, high: tuple(int(n) for n in rng.integers(low, high + 1, axes))


def convolution(seed: int) -> tuple[dict[str, Any], tuple[int, ...], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Options, output_padding, x, filters of the convolution and of the transposed one, biases; a third are depthwise."""
    rng, _, sizes = drawn(seed)
    groups = int(rng.integers(1, 4))
    inputs, outputs = (groups, groups) if seed % 4 == 0 else (groups * n for n in (2, 3))
    kernel, padding, dilation = ((1,), (0,), (1,)) if seed % 5 == 0 else (sizes(1, 3), sizes(0, 2), sizes(1, 2))
    stride, size = sizes(1, 2 if seed % 2 else 1), sizes(5, 8)
    kernel, padding, dilation = (v * len(size) if len(v) == 1 else v for v in (kernel, padding, dilation))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
    x, w, v = (
        rng.standard_normal(shape)
        for shape in ((3, inputs, *size), (outputs, inputs // groups, *kernel), (inputs, outputs // groups, *kernel))
    )
    return options, more, x, w, v, rng.standard_normal(outputs)


@pytest.mark.parametrize("seed", range(12))
def test_convolutions_against_differences(seed: int) -> None:
    options, more, x, w, v, b = convolution(seed)
    assert gradcheck(lambda x, w, b: apply(spatial.CONV, x, w, b, **options), [x, w, b], directions=1)
    options["output_padding"] = more
    assert gradcheck(lambda x, v, b: apply(spatial.CONV_TRANSPOSE, x, v, b, **options), [x, v, b], directions=1)


def gradients(parts: Any) -> list[np.ndarray]:
    """What a vjp returned, all of it computed."""
    return [part() if callable(part) else part for part in parts]


def agrees(op: Any, theirs: Any, arrays: list[np.ndarray], options: dict[str, Any]) -> None:
    """Forward and backward, in float64."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, wanted = op.forward(*arrays, **options), theirs(*tensors)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-9, atol=1e-9)
    g = np.random.default_rng(0).standard_normal(y.shape)
    wanted.backward(torch.tensor(g))
    for gradient, tensor in zip(gradients(op.vjp(g, y, *arrays, **options)), tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_convolutions_against_torch(seed: int) -> None:
    F = pytest.importorskip("torch", reason="torch is not installed").nn.functional
    o, more, x, w, v, b = convolution(seed)
    axes, geometry = x.ndim - 2, (o["stride"], o["padding"])
    conv, transposed = getattr(F, f"conv{axes}d"), getattr(F, f"conv_transpose{axes}d")
    agrees(spatial.CONV, lambda x, w, b: conv(x, w, b, *geometry, o["dilation"], o["groups"]), [x, w, b], o)
    agrees(
        spatial.CONV_TRANSPOSE,
        lambda x, v, b: transposed(x, v, b, *geometry, more, o["groups"], o["dilation"]),
        [x, v, b],
        {**o, "output_padding": more},
    )


@pytest.mark.parametrize("seed", range(30))
def test_pooling_against_torch(seed: int) -> None:
    F = pytest.importorskip("torch", reason="torch is not installed").nn.functional
    rng, axes, sizes = drawn(seed)
    x, kernel, stride, ceil_mode = rng.standard_normal((2, 3, *sizes(5, 9))), sizes(1, 3), sizes(1, 3), seed % 2 == 0
    padding, dilation = tuple(min(p, k // 2) for p, k in zip(sizes(0, 1), kernel, strict=True)), sizes(1, 2)
    o: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    pools = {name: getattr(F, f"{name}_pool{axes}d") for name in ("max", "avg", "adaptive_avg", "adaptive_max")}
    agrees(
        spatial.MAX_POOL,
        lambda x: pools["max"](x, kernel, stride, padding, dilation, ceil_mode),
        [x],
        {**o, "dilation": dilation},
    )
    counted = {"include_padding": seed % 3 == 0, "divisor": 7 if axes > 1 and seed % 5 == 0 else None}
    override = () if axes == 1 else (counted["divisor"],)
    agrees(
        spatial.AVG_POOL,
        lambda x: pools["avg"](x, kernel, stride, padding, ceil_mode, counted["include_padding"], *override),
        [x],
        {**o, **counted},
    )
    out = sizes(1, 6)
    for op, name in ((spatial.ADAPTIVE_AVG_POOL, "adaptive_avg"), (spatial.ADAPTIVE_MAX_POOL, "adaptive_max")):
        agrees(op, lambda x, name=name: pools[name](x, out if axes > 1 else out[0]), [x], {"out": out})


@pytest.mark.parametrize("seed", range(12))
def test_float32_has_the_values_of_float64_on_any_threads_and_in_any_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options, _, *arrays = convolution(seed)
    x, w, _, b = (a.astype(np.float32) for a in arrays)
    y = spatial.conv(x, w, b, **options)
    exact = [spatial.conv(*(a.astype(np.float64) for a in (x, w, b)), **options)]
    exact += gradients(spatial.conv_vjp(y.astype(np.float64), y, *(a.astype(np.float64) for a in (x, w, b)), **options))
    for threads, cached in ((1, 1 << 20), (2, 1 << 20), (2, 100)):
        monkeypatch.setattr(spatial, "CACHED", cached)
        before = nq.get_num_threads()
        nq.set_num_threads(threads)
        got = [spatial.conv(x, w, b, **options), *gradients(spatial.conv_vjp(y, y, x, w, b, **options))]
        nq.set_num_threads(before)
        for value, wanted in zip(got, exact, strict=True):
            # a sum of n float32 products is off by at most n 2^-24 times the sum of their sizes; n < 2^12, 2^4 to spare
            np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def products(seed: int) -> tuple[tuple[Any, ...], list[tuple[sliding.Convolve, np.ndarray, np.ndarray, np.ndarray]]]:
    """A convolution's channels, outputs and sizes, and for each operation image, pixels and filter."""
    rng, _, sizes = drawn(seed)
    kernel, stride, padding, dilation, size = sizes(1, 3), sizes(1, 2), sizes(0, 2), sizes(1, 2), sizes(5, 9)
    out = spatial.out_sizes((1, 1, *size), kernel, stride, padding, dilation)
    n, m, before, batch = (int(v) for v in rng.integers((1, 1, 0, 1), (20, 40, 3, 12)))
    K, geometry = int(np.prod(kernel)) * n, (size, out, kernel, stride, padding, dilation)
    calls = []
    for op, shape in zip(sliding.Convolve, ((K, -(-m // 16) * 16), (m, -(-K // 16) * 16), (K, m)), strict=True):
        shapes = ((batch, *size, n + before), (batch * int(np.prod(out)), m + before), shape)
        calls.append((op, *(rng.standard_normal(s).astype(np.float32) for s in shapes)))
    return (range(before, before + n), range(before, before + m), geometry), calls


@pytest.mark.parametrize("seed", range(9))
def test_products_have_the_same_bits_on_every_instruction_set_and_any_threads(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    where, calls = products(seed)
    before = nq.get_num_threads()
    for op, *arrays in calls:
        results = []
        for isa, threads in [(isa, threads) for isa in native.available_isas() for threads in (1, 3)]:
            monkeypatch.setenv("NANOQUANT_ISA", isa)
            nq.set_num_threads(threads)
            given = [a.copy() for a in arrays]
            sliding.convolve(op, *given, *where)
            results.append(given)
        nq.set_num_threads(before)
        for got in results[1:]:
            for a, b in zip(got, results[0], strict=True):
                np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("seed", range(9))
def test_products_are_those_of_columns(seed: int) -> None:
    (channels, outputs, sizes), calls = products(seed)
    for op, image, pixels, f in calls:
        exact = [a.astype(np.float64) for a in (image, pixels, f)]
        lines, K = len(pixels) // sizes[1][-1], int(np.prod(sizes[2])) * len(channels)
        columns = np.empty((len(pixels), K))
        if op is sliding.Convolve.backward:
            columns[:] = exact[1][:, outputs] @ exact[2][:, :K]
            sliding.slide(sliding.Slide.fold, exact[0], columns, None, channels, range(lines), sizes)
        else:
            sliding.slide(sliding.Slide.unfold, exact[0], columns, None, channels, range(lines), sizes)
        if op is sliding.Convolve.forward:
            exact[1][:, outputs] = columns @ exact[2][:, : len(outputs)]
        elif op is sliding.Convolve.weights:
            exact[2][:] = columns.T @ exact[1][:, outputs]
        sliding.convolve(op, image, pixels, f, channels, outputs, sizes)
        for got, wanted in zip((image, pixels, f), exact, strict=True):
            # as above: sums of at most 2^12 products
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_products_refuse_what_does_not_fit() -> None:
    where, calls = products(1)
    for op, *arrays in calls:
        for i in range(3):
            with pytest.raises(ValueError, match=f"{op.name}: arrays of .* do not fit"):
                sliding.convolve(op, *(a[:-1] if j == i else a for j, a in enumerate(arrays)), *where)
    windows, size = native.ffi.new("nq_windows *"), native.ffi.new("int64_t *")
    assert native.lib.nq_convolve_room(0, windows, 1, size) == native.lib.NQ_BAD_ARGUMENT


@pytest.mark.parametrize("shape", [(1, 1), (300, 3), (256, 8), (1000, 19), (5000, 64)])
def test_channels_are_numpy(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    a, b, c, s, t = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(5))
    np.testing.assert_array_equal(channel_line(a, p, b, q, s, c), a * p + (b * (q - s) + c))
    np.testing.assert_array_equal(channel_line(None, None, b, q, s, c), b * (q - s) + c)
    wanted = channel_sums(*(v.astype(np.float64) for v in (p, t, q, s)))
    for got, exact in zip(channel_sums(p, t, q, s), wanted, strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=len(p) * 1e-5)


def test_moments_of_numbers_far_from_zero() -> None:
    x = np.float32(1e4) + np.random.default_rng(0).standard_normal((8, 5, 9, 9)).astype(np.float32)
    mean, var = normalization.moments(x)
    np.testing.assert_allclose(mean, x.mean((0, 2, 3), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(var, x.var((0, 2, 3), dtype=np.float64), rtol=1e-4)


def test_c_refuses_windows_that_make_no_sense() -> None:
    image, columns = np.zeros((1, 3, 3, 2), np.float32), np.zeros((4, 8), np.float32)
    good = [(3, 3), (2, 2), (2, 2), (1, 1), (0, 0), (1, 1)]
    sliding.slide(sliding.Slide.unfold, image, columns, None, range(2), range(2), tuple(good))
    for wrong in range(6):
        sizes = tuple((-1, s[1]) if i == wrong else s for i, s in enumerate(good))
        with pytest.raises(ValueError, match="unfold: "):
            sliding.slide(sliding.Slide.unfold, image, columns, None, range(2), range(2), sizes)
    for other in (columns[:3], columns.astype(np.float64)):
        with pytest.raises(ValueError, match="do not fit"):
            sliding.slide(sliding.Slide.unfold, image, other, None, range(2), range(2), tuple(good))
    assert native.lib.nq_slide(5, native.ffi.new("nq_windows *"), *[native.ffi.NULL] * 3) == native.lib.NQ_BAD_ARGUMENT


GUARDED = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np, guarded
from nanoquant.kernels import channels, sliding
g = np.random.default_rng(0)
for at_end in (True, False):
    keep = []
    def guard(*shape, dtype=np.float32):
        keep.append(guarded.Guarded(g.standard_normal(shape).astype(dtype), at_end))
        return keep[-1].array
    for trial in range(60):
        n, dtype = int(g.integers(1, 20)), (np.float32, np.float64)[trial % 2]
        size, kernel, stride, padding, dilation = (tuple(map(int, g.integers(a, b, 2))) for a, b in
                                                   ((3, 8), (1, 4), (1, 3), (0, 4), (1, 3)))
        out = tuple((s + 2 * p - d * (k - 1) - 1) // t + 1 for s, k, t, p, d in zip(size, kernel, stride, padding, dilation))
        if min(out) < 1:
            continue
        sizes, taps = (size, out, kernel, stride, padding, dilation), kernel[0] * kernel[1]
        for op in sliding.Slide:
            pixels = guard(2 * out[0] * out[1], *([taps, n] if op <= 1 else [n]), dtype=dtype)
            f = guard(1 + (op is sliding.Slide.filter), taps, n, dtype=dtype)
            sliding.slide(op, guard(2, *size, n, dtype=dtype), pixels, f, range(n), range(2 * out[0]), sizes)
        if dtype is np.float32:
            m, K = int(g.integers(1, 40)), taps * n
            up = lambda k: -(-k // 16) * 16
            for op, shape in zip(sliding.Convolve, ((K, up(m)), (m, up(K)), (K, m))):
                sliding.convolve(op, guard(2, *size, n), guard(2 * out[0] * out[1], m), guard(*shape), range(n), range(m), sizes)
        rows = guard(int(g.integers(1, 600)), n), guard(1, n)[0], guard(1, n)[0], guard(1, n)[0]
        channels.channel_sums(rows[0], rows[1], rows[0], rows[2])
        channels.channel_line(rows[1], rows[0], rows[2], rows[0], rows[3], rows[1])
    for place in keep:
        place.close()
print("ok")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mmap flags")
def test_no_byte_outside_the_buffers() -> None:
    assert run_python("-c", GUARDED.format(folder=str(Path(__file__).parent))).stdout.split() == ["ok"]


def test_mixed_dtypes_become_the_wider_one() -> None:
    x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3), np.float32)
    options: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    assert spatial.conv(x, w, **options).dtype == np.float64
    assert spatial.conv(x.astype(np.int64), w, **options).tolist() == spatial.conv(x, w, **options).tolist()
    y = spatial.conv(x.astype(np.float32), w, **options)
    assert [d.dtype for d in gradients(spatial.conv_vjp(y, y, x, w, **options))] == [np.float32] * 2
