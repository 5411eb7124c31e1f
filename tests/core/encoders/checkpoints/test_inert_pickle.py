"""Pickles that would run code, exhaust memory, or take forever."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.encoders.checkpoints.inert_pickle import InertObject, InertUnpickler
from faceclr_cli.core.encoders.checkpoints.state_dicts import read_weights
from faceclr_cli.core.encoders.checkpoints.torch_file import read_torch_file
from faceclr_cli.core.errors import ModelError


class Reduced:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._reduced = function, args

    def __reduce__(self) -> Any:
        return self._reduced


def attacks(marker: Path) -> dict[str, Any]:
    command = f"touch {marker}"
    return {
        "os.system": Reduced(os.system, command),
        "builtins.eval": Reduced(eval, f"__import__('os').system('{command}')"),
        "builtins.exec": Reduced(exec, f"import os; os.system('{command}')"),
        "subprocess": Reduced(subprocess.check_call, ["touch", str(marker)]),
        "nested": Reduced(list, [Reduced(dict, [("a", Reduced(os.system, command))])]),
        "getattr chain": Reduced(Reduced(getattr, os, "system"), command),
        "importlib": Reduced(__import__("importlib").import_module, "antigravity"),
        "open": Reduced(open, str(marker), "w"),
        "in the state dict": {"state_dict": {"conv1.weight": torch.zeros(3), "x": Reduced(os.system, command)}},
    }


_TORCH_GETATTR = b"cbuiltins\ngetattr\nctorch\nTensor\n"
CHAINS = {
    "getattr of getattr": b"\x80\x02cbuiltins\ngetattr\n"
    + _TORCH_GETATTR
    + b"X\x01\x00\x00\x00a\x86RX\x01\x00\x00\x00b\x86R.",
    "getattr of a dunder": b"\x80\x02" + _TORCH_GETATTR + b"X\x08\x00\x00\x00__dict__\x86R.",
    "a call of an attribute": b"\x80\x02" + _TORCH_GETATTR + b"X\x01\x00\x00\x00a\x86R)R.",
    "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x10Tensor.__class__\x93.",
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_attributes_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"refused: its pickle has .*, which runs code"):
        read_torch_file(write_pickle(tmp_path / "hostile.pth", CHAINS[name]))


@pytest.mark.parametrize("name", attacks(Path("x")))
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_runs_code_is_refused(name: str, is_zip: bool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "hostile.pth"
    content = attacks(marker)[name]
    if name == "getattr chain":
        # Modules cannot be pickled, so the chain is written by hand.
        raw = b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x86R"
        text = f"touch {marker}".encode()
        raw += b"X" + len(text).to_bytes(4, "little") + text + b"\x85R."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", raw)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ModelError, match=r"refused: its pickle has .*, which runs code") as caught:
        read_torch_file(path)
    assert caught.value.exit_code == 4
    assert not marker.exists()


class Hyperparameters(dict[str, Any]):
    """A class that a checkpoint may hold: a dictionary with attributes."""


class Callback:
    """A class whose import would be noticed: it is deleted before the file is read."""

    def __init__(self) -> None:
        self.best = {"val_loss": 0.5}

    def __setstate__(self, state: object) -> None:
        raise AssertionError("it was restored")


def test_unknown_classes_are_neither_imported_nor_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "vanished_project.py"
    marker = tmp_path / "marker"
    module.write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Trainer:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    trainer = importlib.import_module("vanished_project").Trainer()
    trainer.lr = 0.1
    path = tmp_path / "c.ckpt"
    torch.save({"state_dict": {"w": torch.arange(6.0).view(2, 3)}, "trainer": trainer}, path)
    del sys.modules["vanished_project"]
    marker.unlink()
    content = read_torch_file(path)
    assert not marker.exists() and "vanished_project" not in sys.modules
    assert isinstance(content["trainer"], InertObject) and content["trainer"].state == {"lr": 0.1}
    assert torch.equal(read_weights(path)[0]["w"], torch.arange(6.0).view(2, 3))


def test_subclasses_of_containers_keep_what_they_hold(tmp_path: Path) -> None:
    content = {"h": Hyperparameters(width=64, args=["a", {1, 2}]), "c": Callback(), "o": OrderedDict(a=1)}
    torch.save(content, tmp_path / "c.pt")
    read = read_torch_file(tmp_path / "c.pt")
    assert read["h"].mapping["width"] == 64 and read["o"] == {"a": 1}
    assert read["c"].state == {"best": {"val_loss": 0.5}}


def everything() -> dict[str, torch.Tensor]:
    base = torch.randn(8, 6)
    return {
        "plain": base,
        "view": base[2:5, ::2],
        "turned": base.T,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        **{
            str(dtype): torch.arange(-3, 4).to(dtype)
            for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
        },
        "bytes": torch.arange(5, dtype=torch.uint8),
        "bools": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_are_those_that_torch_reads(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(everything(), path, _use_new_zipfile_serialization=is_zip)
    expected = torch.load(path, weights_only=True)
    (found,) = read_weights(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value.data), name


def test_arrays_of_numpy_are_tensors_too(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3), "c": np.ones(2, np.float16)}
    torch.save({"state_dict": arrays}, tmp_path / "c.pth")
    (found,) = read_weights(tmp_path / "c.pth")
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array) and found[name].numpy().dtype == array.dtype


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_module_that_was_saved_whole_gives_its_state_dict(is_zip: bool, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Sequential(torch.nn.BatchNorm2d(4)))
    torch.save({"model": torch.nn.DataParallel(network)}, tmp_path / "c.tar", _use_new_zipfile_serialization=is_zip)
    (found,) = read_weights(tmp_path / "c.tar")
    assert found.keys() == {f"module.{name}" for name in network.state_dict()}
    for name, value in network.state_dict().items():
        assert torch.equal(found[f"module.{name}"], value)


def write_pickle(path: Path, raw: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", raw)
        archive.writestr("archive/data/0", b"\0" * 64)
    return path


_STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"


def _tensor(shape: bytes, stride: bytes) -> bytes:
    """A dictionary of one tensor over 16 numbers."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + _STORAGE + b"K\x00" + shape + stride + b"\x89}tR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + call + b"s."


BOMBS: dict[str, bytes] = {
    "a memo of four billion places": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a text longer than the file": b"\x80\x04\x8d" + (2**45).to_bytes(8, "little") + b"a.",
    "a byte array of a terabyte": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"a.",
    "a call of bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "a tensor that repeats one number": _tensor(b"\x8a\x06\0\0\0\0\0\x01\x85", b"K\x00\x85"),
    "a tensor beyond its data": _tensor(b"K\x11\x85", b"K\x01\x85"),
    "a negative stride": _tensor(b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    # Hashing it would take 2^60 steps.
    "nested tuples as a key": b"\x80\x02}" + b")" + b"2\x86" * 60 + b"K\x01s.",
    "nested tuples in a set": b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.",
    "lists in lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_and_time_are_bounded(name: str, tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "bomb.pth", BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"bomb\.pth: "):
            read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "c.pth", _tensor(b"K\x10\x85", b"K\x01\x85"), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="compressed"):
        read_weights(path)
    stored = write_pickle(tmp_path / "d.pth", _tensor(b"K\x10\x85", b"K\x01\x85"))
    assert torch.equal(read_weights(stored)[0]["w"], torch.zeros(16))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a checkpoint\n")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("damage", [cut, empty, text])
def test_a_damaged_file_is_an_error_of_one_line(damage: Callable[[Path], None], is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({"w": torch.randn(100)}, path, _use_new_zipfile_serialization=is_zip)
    damage(path)
    with pytest.raises(ModelError, match=r"^[^\n]*c\.pth: [^\n]*$"):
        read_weights(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_changed_bytes_are_an_error_or_other_weights(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    content = {
        "state_dict": {f"{name}.weight": torch.randn(3, 4) for name in "abc"},
        "h": Hyperparameters(sizes={1, 2}),
    }
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    original, generator = path.read_bytes(), np.random.default_rng(0)
    errors = 0
    for _ in range(300):
        changed = np.frombuffer(original, np.uint8).copy()
        changed[generator.integers(0, len(changed), 8)] = generator.integers(0, 256, 8)
        path.write_bytes(changed.tobytes())
        try:
            read_weights(path)
        except ModelError:
            errors += 1
    assert errors > 100


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "names": ["a"]}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="holds no state dict"):
        read_weights(tmp_path / "c.pth")
    script = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(script, tmp_path / "script.pt")
    with pytest.raises(ModelError, match="TorchScript"):
        read_weights(tmp_path / "script.pt")
    (tmp_path / "c.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_weights(tmp_path / "c.safetensors")
    for name in ("absent.pth", "absent.safetensors"):
        with pytest.raises(ModelError, match="no such file"):
            read_weights(tmp_path / name)


def test_plain_pickles_are_read_as_pickle_reads_them() -> None:
    content = {"a": [1, 2.5, None, True, "ü", b"\xff"], "b": {"c": (1, (2, 3))}, 3: -(2**70), "long": "x" * 70_000}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = InertUnpickler(io.BytesIO(pickle.dumps(content, protocol))).load()
        assert {**read, "a": read["a"][:5]} == {**content, "a": content["a"][:5]}
