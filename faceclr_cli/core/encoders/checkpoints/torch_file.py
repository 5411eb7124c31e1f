"""Files of `torch.save`, in the zip format and the older one, read without running any code in them."""

from __future__ import annotations

import io
import math
import mmap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.encoders.checkpoints.inert_pickle import (
    PICKLE_ERRORS,
    ForbiddenPickleError,
    GlobalName,
    InertObject,
    InertUnpickler,
)
from faceclr_cli.core.errors import ModelError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LOCAL_HEADER = 30
_DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class StoredStorage:
    """The memory of one or several tensors in a file.

    Attributes:
        dtype: Type of its elements.
        read: Returns its bytes.
    """

    dtype: torch.dtype
    read: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        storage: Its memory.
        offset: Its first element.
        shape: Its shape.
        stride: Steps between elements along each axis.
    """

    storage: StoredStorage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Maps the tensor into memory.

        Raises:
            ValueError: The tensor reaches beyond its storage, or repeats elements of it.
        """
        count = math.prod(self.shape)
        memory = torch.from_numpy(self.storage.read())
        elements = len(memory) // self.storage.dtype.itemsize
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        if min(self.offset, *self.shape, *self.stride, 0) < 0 or count > elements or (count and last >= elements):
            raise ValueError(f"a tensor of shape {list(self.shape)} is larger than its data")
        try:
            if count == 0:
                return torch.empty(self.shape, dtype=self.storage.dtype)
            whole = memory[: elements * self.storage.dtype.itemsize].view(self.storage.dtype)
            return whole.as_strided(self.shape, self.stride, self.offset)
        except (RuntimeError, OverflowError, TypeError) as error:
            raise ValueError(f"a tensor of shape {list(self.shape)} is not supported") from error


def read_torch_file(path: Path) -> Any:
    """Reads a file of `torch.save` with any content.

    This is stricter than `torch.load(weights_only=True)`, which refuses the hyperparameters and callbacks that most
    checkpoints hold beside their tensors: they become `InertObject`s here, and no function that the file names is
    called. Tensors stay in the file until they are read, so memory is bounded by the size of the file.

    Args:
        path: The file.

    Returns:
        Dictionaries, lists, tuples, numbers, texts, `StoredTensor`s, and `InertObject`s for everything else.

    Raises:
        ModelError: The file does not exist, is damaged or not of `torch.save`, or its pickle names functions that run
            code.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return _read_zip(path) if is_zip else _read_legacy(path)
    except ForbiddenPickleError as error:
        raise ModelError(
            f"{path}: refused: its pickle has {error}, which runs code; do not load this file with other tools"
        ) from error
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, *PICKLE_ERRORS) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: not a PyTorch checkpoint, or damaged ({reason})") from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it is a zip archive without data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if any(name.startswith(f"{folder}code/") for name in entries):
        raise ModelError(f"{path}: a TorchScript archive; save its state_dict() with torch.save instead")
    # torch stores without compression. Compressed or overlapping entries could expand to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise ValueError("it is compressed, which torch.save does not do")
    if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
        raise ValueError("its entries overlap")
    memory = _map(path)

    def read(name: str) -> NDArray[np.uint8]:
        entry = entries.get(folder + name)
        if entry is None:
            raise ValueError(f"it has no {name}")
        header = entry.header_offset
        # The local header has a name and an extra field of its own lengths.
        lengths = memory[header + 26 : header + _LOCAL_HEADER].view("<u2")
        start = header + _LOCAL_HEADER + int(lengths.sum())
        if start + entry.file_size > len(memory):
            raise ValueError(f"{name} reaches beyond the end of the file")
        return memory[start : start + entry.file_size]

    if f"{folder}byteorder" in entries and read("byteorder").tobytes() != b"little":
        raise ValueError("its numbers are big-endian")
    content = io.BytesIO(read("data.pkl").tobytes())
    return InertUnpickler(content, _rebuild, lambda saved: _storage(saved, lambda key: read(f"data/{key}"))).load()


def _read_legacy(path: Path) -> Any:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if InertUnpickler(stream).load() != _LEGACY_MAGIC:
            raise ValueError("it does not begin as files of torch.save do")
        for _ in range(2):  # The version of the protocol, and the machine.
            InertUnpickler(stream).load()
        starts: dict[str, tuple[int, int]] = {}
        sizes: dict[str, int] = {}
        memory = _map(path)

        def read(key: str) -> NDArray[np.uint8]:
            start, length = starts.get(key, (len(memory), 1))
            if start + length > len(memory):
                raise ValueError("its data ends too early")
            return memory[start : start + length].copy()  # Numbers may be unaligned there.

        def resolve(saved: Any) -> Any:
            storage = _storage(saved, read)
            if isinstance(storage, StoredStorage):
                sizes[str(saved[2])] = storage.dtype.itemsize
            return storage

        content = InertUnpickler(stream, _rebuild, resolve).load()
        for key in InertUnpickler(stream).load():
            elements = int.from_bytes(stream.read(8), "little")
            length = elements * sizes[key]
            starts[key] = stream.tell(), length
            stream.seek(min(stream.tell() + length, stream.size()))
    return content


def _map(path: Path) -> NDArray[np.uint8]:
    """Maps a file into memory; changes of the array do not reach the file."""
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="c"))


def _storage(saved: Any, read: Callable[[str], NDArray[np.uint8]]) -> Any:
    """Resolves a persistent identifier: the memory of tensors, or the class of a module with its source text."""
    match saved:
        case ("module", GlobalName() as kind, *_):
            return kind
        case ("storage", GlobalName(module="torch" | "torch.cuda" | "torch.storage", name=name), key, _, _, *view):
            if view and view[0] is not None:
                raise ValueError("it shares memory in a way that only old releases of torch support")
            dtype = _DTYPES.get(name, torch.uint8)
            return StoredStorage(dtype, lambda: read(str(key)))
    raise ValueError("it has a reference that torch.save does not write")


def _rebuild(function: GlobalName, args: tuple[Any, ...]) -> Any:
    """Rebuilds tensors and ordered dictionaries; everything else becomes an `InertObject`."""
    match (function.module, function.name), args:
        case ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2"), (storage, offset, shape, stride, *_):
            return _tensor(storage, offset, shape, stride)
        case ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (data, *_):
            return data
        case ("torch._tensor", "_rebuild_from_type_v2"), (GlobalName() as inner, _, tuple() as inner_args, _):
            return _rebuild(inner, inner_args)
        case ("collections", "OrderedDict"), ():
            return {}
        case ("collections", "OrderedDict"), (list(pairs),):
            return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and isinstance(pair[0], str)}
        case ("_codecs", "encode"), (str(text), "latin1"):
            return text.encode("latin1")
    return InertObject(function, args)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> StoredTensor:
    is_valid = (
        isinstance(storage, StoredStorage)
        and isinstance(offset, int)
        and isinstance(shape, tuple)
        and isinstance(stride, tuple)
        and len(shape) == len(stride)
        and all(isinstance(number, int) for number in (*shape, *stride))
    )
    if not is_valid:
        raise ValueError("it has a tensor that torch.save does not write")
    return StoredTensor(storage, offset, shape, stride)
