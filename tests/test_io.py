"""io: what is saved comes back, and a damaged file says what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_eager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nanoquant as nq
from nanoquant import nn, quantization
from nanoquant.io import FileError, file


def round_trip(what: Any, folder: Path, classes: Any = ()) -> Any:
    nq.save(what, folder / "model.nq")
    return nq.load(folder / "model.nq", classes=classes)


def test_a_float_model(tmp_path: Path) -> None:
    net, x = test_eager.trained()
    again = round_trip(net.eval(), tmp_path, [test_eager.Net])
    assert type(again) is test_eager.Net
    assert np.array_equal(again(x).array, net(x).array)
    assert not again.training
    nn.CrossEntropyLoss()(again.train()(x), np.arange(16) % 5).backward()
    assert all(p.grad is not None for p in again.parameters())


@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack"])
def test_a_quantized_model(tmp_path: Path, engine: str) -> None:
    """Loads without building, preparing and converting; keeps its numerics whatever the engine is when it is loaded."""
    _, converted, x = test_eager.quantized_statically(engine)
    expected = converted(x).array
    nq.backends.quantized.engine = "qnnpack" if engine == "fbgemm" else "fbgemm"
    again = round_trip(converted, tmp_path, [test_eager.Net])
    assert np.array_equal(again(x).array, expected)
    assert repr(again) == repr(converted)


def test_a_dynamic_model_needs_no_classes(tmp_path: Path) -> None:
    model = quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    x = nq.randn(3, 4)
    assert np.array_equal(round_trip(model, tmp_path)(x).array, model(x).array)


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (nn.Linear(32, 4), {"dtype": nq.float16}),
        (nn.Linear(32, 4), {"qconfig_spec": {nn.Linear: quantization.int8_weight_only_qconfig}}),
        (nn.Linear(32, 4), {"qconfig_spec": {nn.Linear: quantization.int4_weight_only_qconfig}}),
        (nn.LSTM(32, 4, bidirectional=True), {"per_row": True}),
        (nn.GRU(32, 4), {"dtype": nq.float16}),
        (nn.Conv1d(3, 4, 3), {"qconfig_spec": {nn.Conv1d}}),
        (nn.ConvTranspose1d(3, 4, 3), {"qconfig_spec": {nn.ConvTranspose1d}}),
        (nn.Embedding(9, 5), {"dtype": nq.quint4}),
        (nn.EmbeddingBag(9, 5, padding_idx=2), {"dtype": nq.quint8}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_every_kind_of_layer_with_weights_alone(tmp_path: Path, layer: Any, options: Any) -> None:
    model = quantization.quantize_dynamic(nn.Sequential(layer), **options)
    x = np.arange(6).reshape(2, 3) if "Emb" in type(layer).__name__ else nq.randn(2, 3, 32).array
    again, y = round_trip(model, tmp_path), model(x)
    first = lambda result: result[0] if isinstance(result, tuple) else result  # noqa: E731
    assert np.array_equal(first(again(x)).array, first(y).array)
    assert repr(again) == repr(model)


def test_layers_for_training_come_back(tmp_path: Path) -> None:
    for layer, qconfig in (
        (nn.Linear(32, 4), quantization.default_dynamic_qat_qconfig),
        (nn.Linear(32, 4), quantization.int4_weight_only_qat_qconfig),
        (nn.Embedding(9, 5), quantization.default_embedding_qat_qconfig),
    ):
        model = nn.Sequential(layer).train()
        model.qconfig = qconfig
        prepared = quantization.prepare_qat(model)
        x = np.arange(6) if isinstance(layer, nn.Embedding) else nq.randn(6, 32).array
        y = prepared(x).detach()
        for module in prepared.modules():
            module.__dict__.pop("qconfig", None)
        again = round_trip(prepared, tmp_path)
        assert type(again[0]) is type(prepared[0])
        assert np.array_equal(again(x).detach().array, y.array)


def test_quantized_files_are_about_a_quarter(tmp_path: Path) -> None:
    model = nn.Sequential(quantization.QuantStub(), nn.Linear(300, 300), quantization.DeQuantStub()).eval()
    nq.save(model, tmp_path / "float.nq")
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(nq.randn(8, 300))
    nq.save(quantization.convert(prepared), tmp_path / "int8.nq")
    assert os.path.getsize(tmp_path / "float.nq") > 3.7 * os.path.getsize(tmp_path / "int8.nq")


def test_state(tmp_path: Path) -> None:
    net, _ = test_eager.trained()
    state = round_trip(net.state_dict(), tmp_path)
    assert {k: v.tolist() for k, v in state.items()} == {k: np.asarray(v).tolist() for k, v in net.state_dict().items()}
    test_eager.Net().load_state_dict(state)


def test_what_is_shared_stays_shared(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    tied = nn.Linear(3, 3)
    tied.weight = layer.weight
    again = round_trip(nn.Sequential(layer, layer, tied), tmp_path)
    assert again[0] is again[1]
    assert again[0].weight is again[2].weight


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    _, converted, x = test_eager.quantized_statically("x86")
    nq.save(converted, tmp_path / "before.nq")
    converted(x)  # packed weights are no part of a file
    nq.save(converted, tmp_path / "after.nq")
    assert (tmp_path / "before.nq").read_bytes() == (tmp_path / "after.nq").read_bytes()


def test_buffers_of_every_kind(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("array", np.arange(6).reshape(2, 3)[:, ::-1])
            self.register_buffer("tensor", nq.ones(2))
            self.register_buffer("none", None)
            self.register_buffer("transient", np.bool_([True]), persistent=False)
            self.register_parameter("empty", None)
            self.options = {"tuple": (1, (2.5, None), [True, "x"])}["tuple"]
            self.dtype, self.scheme = nq.qint8, nq.per_channel_affine

    again = round_trip(Odd(), tmp_path, [Odd])
    assert again.array.tolist() == [[2, 1, 0], [5, 4, 3]]
    assert isinstance(again.tensor, nq.Tensor)
    assert again.none is again.empty is None
    assert (again.options, again.dtype, again.scheme) == ((1, (2.5, None), [True, "x"]), nq.qint8, nq.per_channel_affine)
    assert list(again.state_dict()) == ["array", "tensor"]


def test_what_a_file_cannot_hold_is_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.qconfig = quantization.get_default_qconfig("x86")
    with pytest.raises(TypeError, match=r"the model \(Sequential\): its attribute 'qconfig' is a QConfig"):
        nq.save(model, tmp_path / "x")
    del model.qconfig
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(TypeError, match=r"0 \(Linear\) has hooks.*convert a prepared model first"):
        nq.save(model, tmp_path / "x")
    with pytest.raises(TypeError, match="a file holds arrays of bool, uint8"):
        nq.save({"a": np.zeros(2, np.complex64)}, tmp_path / "x")


def test_a_users_class_must_be_given(tmp_path: Path) -> None:
    net, _ = test_eager.trained()
    with pytest.raises(FileError, match=r"class 'Net': give it to load\(path, classes=\[Net\]\)"):
        round_trip(net, tmp_path)


LINEAR = {"class": "nn.Linear", "parameters": {}, "buffers": {}, "transient": [], "modules": {}}


def damaged(folder: Path, change: Any) -> Path:
    """A good file with its header changed."""
    path = folder / "damaged.nq"
    nq.save({"a": np.arange(4, dtype=np.float32)}, path)
    data = path.read_bytes()
    begin = file.PREFIX.size + file.CHECKSUM.size
    magic, version, length = file.PREFIX.unpack_from(data)
    header = json.loads(data[begin : begin + length])
    changed = change(header)
    text = (changed if isinstance(changed, str) else json.dumps(header)).encode().ljust(length + 200)
    prefix = file.PREFIX.pack(magic, version, len(text)) + file.CHECKSUM.pack(zlib.crc32(text))
    path.write_bytes((prefix + text).ljust(-(-(begin + len(text)) // 64) * 64, b"\0") + data[-16:])
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["arrays"][0].update(shape=[5]),
        lambda h: h["arrays"][0].update(shape=[-4]),
        lambda h: h["arrays"][0].update(shape=[2**40, 2**40]),
        lambda h: h["arrays"][0].update(shape=[4.0]),
        lambda h: h["arrays"][0].update(shape=None),
        lambda h: h["arrays"][0].update(shape={}),
        lambda h: h.update(content={"module": {**LINEAR, "attributes": {"bias": {}}}}),
        lambda h: h["arrays"][0].update(dtype="object"),
        lambda h: h["arrays"][0].update(offset=64),
        lambda h: h["arrays"][0].update(offset=3),
        lambda h: h["arrays"][0].update(offset=-64),
        lambda h: h["arrays"][0].update(shape=[0, 2**61, 2**61]),
        lambda h: h["arrays"][0].update(shape=[1] * 33),
        lambda h: h["arrays"][0].update(crc32=0),
        lambda h: h["arrays"][0].pop("crc32") and None,
        lambda h: h["arrays"].append(h["arrays"][0]),
        lambda h: json.dumps(h)[:-1] + ', "content": {}}',
        lambda h: '{"content": ' + "[" * 100_000 + "]" * 100_000 + ', "arrays": []}',
        lambda h: h["arrays"].clear(),
        lambda h: h.pop("content"),
        lambda h: h.update(content={"module": {"class": "nn.Linear"}}),
        lambda h: h.update(content={"module": 3}),
    ],
)
def test_damaged_headers(tmp_path: Path, change: Any) -> None:
    with pytest.raises(FileError, match="damaged"):
        nq.load(damaged(tmp_path, change))


def test_a_file_of_every_version_gives_what_it_gave() -> None:
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 1, 4, 4)
    for version in (1, 2):
        model = nq.load(Path(__file__).parent / "golden" / f"model_v{version}.nq")
        y = np.asarray(model(x))
        assert np.array_equal(np.rint(y / model.get_submodule("4").scale), STORED)


STORED = [[-20, 72, -50], [-20, 72, -50], [-17, 71, -51], [11, 63, -55]]


def test_a_file_is_mapped_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.nq"
    nq.save({"a": np.arange(1000.0), "b": np.float32(3)}, path)
    first = nq.load(path)
    assert isinstance(first["a"].base, np.ndarray)
    first["a"][:] = 7  # stays in memory
    nq.save({"a": np.zeros(1)}, path)
    assert first["a"].sum() == 7000
    assert nq.load(path)["a"].tolist() == [0]
    with pytest.raises(TypeError, match="a file holds arrays of bool"):
        nq.save({"a": np.zeros(1, complex)}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.nq"]


def test_a_file_cannot_name_code_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="class 'os.system': give it to load"):
        nq.load(damaged(tmp_path, lambda h: h.update(content={"module": {"class": "os.system"}})))


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "model.nq"
    nq.save({"a": np.arange(100)}, path)
    data = path.read_bytes()
    for cut in (0, 10, 30, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(FileError, match="not a nanoquant file|cut short|damaged"):
            nq.load(path)
    path.write_bytes(data[:8] + b"\x09" + data[9:])
    with pytest.raises(FileError, match="format version 9"):
        nq.load(path)
    path.write_bytes(b"PK\x03\x04" + data[4:])
    with pytest.raises(FileError, match="is not a nanoquant file"):
        nq.load(path)
    with pytest.raises(FileNotFoundError):
        nq.load(tmp_path / "absent.nq")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the folder may be shared
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_any_damage_is_noticed_or_harmless(tmp_path: Path, position: int, patch: bytes) -> None:
    path = tmp_path / "model.nq"
    nq.manual_seed(0)
    nq.save(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), path)
    data = bytearray(path.read_bytes())
    start = position % len(data)
    data[start : start + len(patch)] = patch
    path.write_bytes(data)
    with contextlib.suppress(FileError):
        assert isinstance(nq.load(path), nn.Module | dict)


@pytest.mark.parametrize("layer", [nn.LSTM(4, 6, bidirectional=True), nn.MultiheadAttention(4, 2)], ids=["LSTM", "attention"])
def test_layers_taken_apart_come_back(tmp_path: Path, layer: Any) -> None:
    model = nn.ModuleList([layer]).eval()
    model.qconfig = quantization.default_qconfig
    prepared, x = quantization.prepare(model), nq.randn(5, 2, 4)
    given = (x,) if isinstance(layer, nn.LSTM) else (x, x, x)
    prepared[0](*given)
    converted = quantization.convert(prepared)
    again = round_trip(converted, tmp_path)
    integers = nq.quantize_per_tensor(x, 0.05, 128, nq.quint8)
    given = tuple(integers for _ in given)
    assert np.array_equal(again[0](*given)[0].int_repr(), converted[0](*given)[0].int_repr())


def lowered(model: Any, x: Any) -> Any:
    prepared = quantization.prepare_fx(model.eval(), quantization.get_default_qconfig_mapping())
    prepared(x)
    return quantization.convert_fx(prepared)


class Everything(nn.Module):
    """Sizes, slices, functions, numbers, a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.scale = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Linear(8, 3),
            nn.Parameter(np.full(8, 1.5, np.float32)),
        )

    def forward(self, x: Any) -> Any:
        y = nq.relu(self.conv(x)) * 0.5
        y = nn.functional.max_pool2d(nq.cat([y, y], dim=1)[:, :, 1:-1], 2)
        n, c, h, w = y.shape
        y = -y.view(n, c, h * w).mean(dim=2)
        return self.fc(y.exp() * self.scale + 1).permute(1, 0)


def test_graphs(tmp_path: Path) -> None:
    x = nq.randn(2, 3, 8, 8).array
    for graph in (lowered(Everything(), x), quantization.symbolic_trace(Everything().eval())):
        again = round_trip(graph, tmp_path)
        assert again.code == graph.code
        assert np.array_equal(np.asarray(again(x)), np.asarray(graph(x)))
    graph = lowered(Everything(), x)
    assert str(quantization.explain(round_trip(graph, tmp_path))) == str(quantization.explain(graph))


@pytest.mark.parametrize(
    "node",
    [
        ["x = __import__('os')", "call_method", "relu", {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_method", "__class__", {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_method", "numpy", {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_module", 'fc"](0)+self["', {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_module", "nothing", {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_function", {"function": "os.system"}, {"tuple": ["ls"]}, {"dict": []}],
        ["y", "call_function", {"function": "getattr"}, {"tuple": [{"node": "x"}, "__class__"]}, {"dict": []}],
        ["y", "call_function", {"function": "nn.functional.relu"}, {"tuple": [{"node": "z"}]}, {"dict": []}],
        ["y", "call_method", "relu", {"tuple": [{"node": "x"}]}, {"dict": [["a=print()", 1]]}],
        ["y", "exec", "relu", {"tuple": [{"node": "x"}]}, {"dict": []}],
        ["y", "call_method", "relu"],
        ["__y", "call_method", "relu", {"tuple": [{"node": "x"}]}, {"dict": []}],
        3,
    ],
)
def test_a_hostile_graph_does_not_come_to_run(tmp_path: Path, node: Any) -> None:
    nq.save(quantization.symbolic_trace(nn.Sequential(nn.Linear(2, 2))), tmp_path / "good.nq")
    content, arrays = file.read(tmp_path / "good.nq")
    rows = content["module"]["attributes"]["graph"]["graph"]
    rows[0] = {"tuple": ["x", "placeholder", "x", {"tuple": []}, {"dict": []}]}
    rows[1:-1] = [{"tuple": node} if isinstance(node, list) else node]
    rows[-1] = {"tuple": ["output", "output", "output", {"tuple": [{"node": "x"}]}, {"dict": []}]}
    file.write(tmp_path / "bad.nq", content, arrays)
    with pytest.raises(FileError, match="damaged header"):
        nq.load(tmp_path / "bad.nq")
