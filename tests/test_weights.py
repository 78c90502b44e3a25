"""io.load_weights: what torch and safetensors write comes back exactly, and a hostile file runs nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanoquant import nn
from nanoquant.io import FileError, load_weights, save_weights

GOLDEN = Path(__file__).parent / "golden"


def test_a_checkpoint_of_torch() -> None:
    loaded, expected = load_weights(GOLDEN / "weights.pth"), load_weights(GOLDEN / "weights.npz")
    assert (loaded["epoch"], loaded["name"], loaded["rate"]) == (3, "é", 0.5)
    assert loaded["lists"] == [1, (2, None), True, -(2**40)]
    assert np.array_equal(loaded["parameter"], loaded["state_dict"]["0.weight"])
    values = {**loaded["state_dict"], **loaded["extra"]}
    assert set(values) == set(expected)
    for name, value in values.items():
        assert np.array_equal(value.astype(expected[name].dtype), expected[name]), name
    dtypes = {"half": np.float16, "bfloat16": np.float32, "double": np.float64, "bytes": np.uint8, "mask": np.bool_}
    assert {name: values[name].dtype for name in dtypes} == dtypes
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net.load_state_dict(loaded["state_dict"])
    assert np.array_equal(net[0].weight.detach().numpy(), expected["0.weight"])


def archive(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in {"data.pkl": program, **{f"data/{key}": data for key, data in storages.items()}}.items():
            file.writestr(f"archive/{name}", data)
    return path


class Attack:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (pickle.dumps(Attack(os.system, ("touch owned",)), 2), "system is not loaded"),
        (pickle.dumps(Attack(eval, ("open('owned', 'w')",)), 4), "eval is not loaded"),
        (pickle.dumps(Attack(os.system, ("touch owned",)), 0), "not loaded|no such opcode"),
        (b"\x80\x02ccollections\nOrderedDict.fromkeys\n.", "not loaded"),
        (b"\x80\x02}X\x01\x00\x00\x00a\x85R.", "not to be called"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "not to be called"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ at byte .* no such opcode"),
        (b"\x80\x02" + TENSOR + b"(" + STORAGE + b"K\x00K\x03\x85K\x01\x85\x89}tR.", "ends beyond its storage"),
        (b"\x80\x02" + TENSOR + b"(" + STORAGE + b"K\x01K\x02\x85K\x01\x85\x89}tR.", "ends beyond its storage"),
        (b"\x80\x02" + TENSOR + b"(" + STORAGE + b"K\x00J\xff\xff\xff\xff\x85K\x01\x85\x89}tR.", "no tensor of shape"),
        (b"\x80\x02" + TENSOR + b"(K\x01K\x00))\x89}tR.", "no tensor of shape"),
        (b"\x80\x02(X\x07\x00\x00\x00storageX\x01\x00\x00\x00OX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ.", "BINPERSID"),
        (b"\x80\x02h\x05.", "BINGET"),
        (b"\x80\x02a.", "stack is empty|APPEND"),
        (b"\x80\x02X\xff", "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"", "damaged"),
    ],
)
def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path, program: bytes, message: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=message):
        load_weights(archive(tmp_path / "weights.pth", program, **{"0": bytes(8)}))
    assert not Path("owned").exists()


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="compressed or overlapping"):
        load_weights(archive(tmp_path / "a.pth", b"\x80\x02}.", zipfile.ZIP_DEFLATED, bomb=bytes(1 << 20)))
    (tmp_path / "b.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(FileError, match="torch < 1.6"):
        load_weights(tmp_path / "b.pth")
    with pytest.raises(FileError, match="read from .npz"):
        load_weights(tmp_path / "weights.h5")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "absent.safetensors")


def test_mutated_checkpoints_raise_file_errors_only(tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(0), (GOLDEN / "weights.pth").read_bytes()
    with zipfile.ZipFile(GOLDEN / "weights.pth") as file:
        (program,) = (name for name in file.namelist() if name.endswith("data.pkl"))
        storages = {n.rpartition("/")[2]: file.read(n) for n in file.namelist() if "/data/" in n}
        pickled = file.read(program)
    for _ in range(400):
        data = bytearray(pickled)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        path = archive(tmp_path / "mutated.pth", bytes(data), **storages)
        if rng.random() < 0.2:
            path.write_bytes(whole[: rng.integers(len(whole))])
        with contextlib.suppress(FileError):
            load_weights(path)


def safetensors(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: Any, *offsets: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def test_safetensors(tmp_path: Path) -> None:
    half, brain = np.float16([[1.5, -2], [3, 4]]), np.float32([1.5, -2.25])
    data = half.tobytes() + (brain.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = {"__metadata__": {"format": "pt"}, "b": entry("BF16", [2], 8, 12), "a": entry("F16", [2, 2], 0, 8)}
    loaded = load_weights(safetensors(tmp_path / "w.safetensors", header, data))
    assert set(loaded) == {"a", "b"}
    assert np.array_equal(loaded["a"], half)
    assert loaded["a"].dtype == np.float16
    assert np.array_equal(loaded["b"], brain)


def test_safetensors_are_written_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = {
        "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "flags": np.array([True, False, True]),
        "half": np.float16([[1.5], [-2]]),
        "big": np.array(3.0),
        "none": np.zeros((0, 4), np.int8),
        "swapped": np.arange(3, dtype=">i4"),
    }
    save_weights(state, path)
    for found in (load_weights(path), _by_the_package(path)):
        assert sorted(found) == sorted(state)
        for name, value in found.items():
            assert np.array_equal(value, state[name])
            assert value.shape == state[name].shape
    for key, value in (("x", np.zeros(1, complex)), ("__metadata__", np.zeros(1))):
        with pytest.raises(TypeError, match=f"a .safetensors file holds BOOL, .*; got '{key}'"):
            save_weights({key: value}, path)


def _by_the_package(path: Path) -> dict[str, Any]:
    """What the safetensors package reads, where it is installed."""
    try:
        from safetensors.numpy import load_file
    except ImportError:
        return load_weights(path)
    return load_file(path)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"__metadata__": {"format": 3}, "a": entry("F32", [1], 0, 4)}, bytes(4)),
        ({"__metadata__": [], "a": entry("F32", [1], 0, 4)}, bytes(4)),
        (b'\xef\xbb\xbf{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', bytes(1)),
        ({"a": entry("F32", [2], 0, 8)}, bytes(4)),
        ({"a": entry("F32", [2], 0, 8)}, bytes(12)),
        ({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)),
        ({"a": entry("F32", [3], 0, 8)}, bytes(8)),
        ({"a": entry("F32", [-2, -1], 0, 8)}, bytes(8)),
        ({"a": entry("F33", [2], 0, 8)}, bytes(8)),
        ({"a": entry("F32", [2], 8, 0)}, bytes(8)),
        ({"a": entry("F32", 2, 0, 8)}, bytes(8)),
        ({"a": 3}, bytes(8)),
        (b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": 1}', bytes(1)),
        (b"[" * 100_000, b""),
        (b"\xff\xfe", b""),
    ],
)
def test_damaged_safetensors(tmp_path: Path, header: Any, data: bytes) -> None:
    with pytest.raises(FileError, match="w.safetensors"):
        load_weights(safetensors(tmp_path / "w.safetensors", header, data))


def test_a_safetensors_file_that_is_cut_short(tmp_path: Path) -> None:
    for data in (b"", bytes(7), struct.pack("<Q", 1 << 62) + b"{}"):
        (tmp_path / "w.safetensors").write_bytes(data)
        with pytest.raises(FileError, match="w.safetensors"):
            load_weights(tmp_path / "w.safetensors")


def test_npz_holds_no_pickles(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, a=np.array([Attack(os.system, ("touch owned",))], dtype=object), allow_pickle=True)
    (tmp_path / "w.npz").write_bytes(file.getvalue())
    with pytest.raises(FileError, match="Object arrays"):
        load_weights(tmp_path / "w.npz")


def test_live_files_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    net = torch.nn.LSTM(3, 4, 2).half()
    for name, options in (("new.pth", {}), ("old.pth", {"pickle_protocol": 4})):
        torch.save(net.state_dict(), tmp_path / name, **options)
        loaded = load_weights(tmp_path / name)
        assert all(np.array_equal(loaded[key], value.numpy()) for key, value in net.state_dict().items())
