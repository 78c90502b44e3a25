"""Weights of others: `.npz`, `.safetensors`, and PyTorch's `.pth`, read without torch and without running anything.

A `.pth` of torch >= 1.6 is a zip archive: `data.pkl` says what there is, and `data/0`, `data/1` ... hold the bytes. A
pickle is a program for a stack machine, and a hostile one may call any function there is. The machine here knows the
opcodes that a state dict needs, and the few names below; it cannot call anything else, whatever the program says.

Before: `file`. After: `model`.
"""

from __future__ import annotations

import json
import math
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .file import FileError, replace_file, without_duplicates

Read = Callable[[str], bytes]

BFLOAT16 = "bfloat16"  # no NumPy dtype: the upper half of a float32
SAFETENSORS = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "BF16": BFLOAT16, "F32": "<f4", "F64": "<f8",
}  # fmt: skip
STORAGES = {
    "BoolStorage": "?", "ByteStorage": "u1", "CharStorage": "i1", "ShortStorage": "i2", "IntStorage": "i4",
    "LongStorage": "i8", "HalfStorage": "f2", "BFloat16Storage": BFLOAT16, "FloatStorage": "f4", "DoubleStorage": "f8",
}  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
ARGUMENTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
)


def load_weights(path: str | Path) -> Any:
    """What a file of weights holds: for a state dict, arrays by name, to be given to `load_state_dict`.

    path: ends in .npz, .safetensors, .pth, .pt or .bin. bfloat16 becomes float32, which holds it exactly; every other
    dtype stays. Raises FileError, which says what is wrong, for a damaged or hostile file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/layer.npz", weight=np.ones((1, 2), np.float16))
    ...     layer = nq.nn.Linear(2, 1, bias=False)
    ...     layer.load_state_dict(load_weights(folder + "/layer.npz"))
    ...     layer.weight.detach()
    tensor([[1., 1.]])
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], Any]] = {".npz": _read_npz, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix, _read_pth if path.suffix in (".pth", ".pt", ".bin") else None)
    if reader is None:
        raise FileError(f"{path}: weights are read from .npz, .safetensors, .pth, .pt and .bin files")
    try:
        return reader(path)
    except FileError:
        raise
    except DAMAGE as error:
        raise FileError(f"{path} is damaged, or no {path.suffix} file: {error}") from None


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _elements(data: Any, kind: str) -> NDArray[Any]:
    """The elements that bytes hold, in this machine's order."""
    if kind == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    stored = np.frombuffer(data, kind)
    return stored.astype(stored.dtype.newbyteorder("="))


# ---- safetensors: 8 bytes length of the header | header in JSON | the arrays, one behind the other ---------------------


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    data = memoryview(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise FileError(f"{path} is cut short: its header should have {length} bytes")
    header = json.loads(bytes(data[8 : 8 + length]).decode(), object_pairs_hook=without_duplicates)
    notes = header.pop("__metadata__", None)
    if notes is not None and any(not isinstance(note, str) for note in notes.values()):
        raise FileError(f"{path}: __metadata__ must map names to strings; got {notes}")
    weights, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (begin, stop) = entry["shape"], entry["data_offsets"]
        elements = _elements(data[8 + length + begin : 8 + length + stop], SAFETENSORS[entry["dtype"]])
        if begin != end or stop < begin or math.prod(shape) != elements.size or min(shape, default=0) < 0:
            raise FileError(f"{path}: {name!r} is said to lie in bytes {begin}..{stop} with shape {shape}, which is wrong")
        weights[name], end = elements.reshape(shape), stop
    if end != len(data) - 8 - length:
        raise FileError(f"{path}: {len(data) - 8 - length} bytes of arrays, of which its header names {end}")
    return weights


def save_weights(state: Mapping[str, Any], path: str | Path) -> None:
    """Writes arrays by name, those of a `state_dict` say, as .safetensors, which many libraries read.

    Raises TypeError for a dtype that the format has not.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(nq.nn.Linear(2, 1).state_dict(), folder + "/layer.safetensors")
    ...     sorted(load_weights(folder + "/layer.safetensors"))
    ['bias', 'weight']
    """
    names = {np.dtype(code): name for name, code in SAFETENSORS.items() if code != BFLOAT16}
    header: dict[str, Any] = {}
    stored, end = [b""], 0
    arrays = {key: np.asarray(value) for key, value in state.items()}
    for key, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):  # so that all are aligned
        dtype = array.dtype.newbyteorder("<")
        if dtype not in names or key == "__metadata__":
            raise TypeError(f"a .safetensors file holds {', '.join(names.values())}; got {key!r}, of {array.dtype}")
        begin, end = end, end + array.nbytes
        header[key] = {"dtype": names[dtype], "shape": array.shape, "data_offsets": [begin, end]}
        stored.append(array.astype(dtype).tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    replace_file(path, [struct.pack("<Q", len(text)), text, *stored])


# ---- .pth ------------------------------------------------------------------------------------------------------------


def _read_pth(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise FileError(
            f"{path} is no zip archive. If torch < 1.6 wrote it, load it there and save it again: "
            "torch.save(torch.load(path), path)"
        )
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise FileError(f"{path} holds compressed or overlapping entries, which torch does not write")
        (program,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = program.removesuffix("data.pkl")
        order = archive.read(folder + "byteorder") if folder + "byteorder" in archive.namelist() else b"little"
        read = lambda name: archive.read(folder + name)  # noqa: E731
        return _Machine(path, read, "<" if order == b"little" else ">").run(archive.read(program))


class _Machine:
    """Runs the pickle of a state dict: numbers, strings, tuples, lists, dicts, and arrays that `names` help to build."""

    def __init__(self, path: Path, read: Read, order: str) -> None:
        self.path, self.read, self.order = path, read, order
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, NDArray[Any]] = {}
        self.names: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            **{("torch", name): kind for name, kind in STORAGES.items()},
        }
        self.callable = (OrderedDict, self.tensor, self.names["torch._utils", "_rebuild_parameter"])

    def run(self, program: bytes) -> Any:
        """What is on top of the stack when the program stops."""
        where = "the start"
        try:
            for opcode, argument, position in pickletools.genops(program):
                where = f"{opcode.name} at byte {position}"
                self.step(opcode.name, argument)
            return self.stack.pop()
        except DAMAGE as error:
            raise FileError(f"{self.path}: data.pkl is damaged or hostile, {where}: {error}") from None

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        stack, memo = self.stack, self.memo
        if name in ("PROTO", "FRAME", "STOP"):
            return
        if name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in ARGUMENTS:
            stack.append(argument)
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.take(int(name[5:]) if name[5:] else None)))
        elif name in ("APPEND", "APPENDS"):
            items = self.take(1 if name == "APPEND" else None)
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.take(2 if name == "SETITEM" else None)
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, attribute = self.take(2) if name == "STACK_GLOBAL" else argument.split(" ")
            stack.append(self.name(module, attribute))
        elif name == "BINPERSID":
            what, kind, key, _, count = stack.pop()
            stack.append(self.storage(what, kind, key, count))
        elif name == "REDUCE":
            function, arguments = self.take(2)
            if function not in self.callable:
                raise ValueError(f"{function!r} is not to be called")
            stack.append(function(*arguments))
        elif name == "BUILD":
            self.take(1)  # attributes of an OrderedDict: the versions of torch's modules
        else:
            raise ValueError("a state dict needs no such opcode")

    def take(self, count: int | None) -> list[Any]:
        """The topmost values, taken off: `count` of them, or all above the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if start < 0:
            raise IndexError("the stack is empty")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def name(self, module: str, attribute: str) -> Any:
        """What a name of the program stands for."""
        if (module, attribute) not in self.names:
            raise ValueError(
                f"{module}.{attribute} is not loaded, since it might run code: save a state dict, "
                "torch.save(model.state_dict(), path)"
            )
        return self.names[module, attribute]

    def storage(self, what: str, kind: str, key: str, count: int) -> NDArray[Any]:
        """The elements of data/<key>; tensors that share them in torch share them here."""
        if key not in self.storages:
            data = self.read(f"data/{key}")
            self.storages[key] = _elements(data, kind if kind in ("?", BFLOAT16) else self.order + kind)
        if what != "storage" or len(self.storages[key]) != count:
            raise ValueError(f"{what} {key} should hold {count} elements; it holds {len(self.storages[key])}")
        return self.storages[key]

    def tensor(self, storage: Any, start: int, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
        """The view with these strides, which count elements."""
        reach = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
        if not isinstance(storage, np.ndarray) or min(start, *shape, *strides, 0) < 0:
            raise ValueError(f"there is no tensor of shape {shape} with strides {strides} from {start}")
        if reach > len(storage) and math.prod(shape):
            raise ValueError(f"a tensor of shape {shape} from {start} ends beyond its storage")
        steps = tuple(stride * storage.itemsize for stride in strides)
        return np.lib.stride_tricks.as_strided(storage[start:], tuple(shape), steps)
