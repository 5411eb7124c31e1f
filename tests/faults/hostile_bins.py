"""Pickles that run code, exhaust memory, or are not what they seem, in the form of insightface's `.bin` files."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np

_JPEG = b"\xff\xd8" + bytes(100)
_PICTURES = b"](C\x66" + _JPEG + b"C\x66" + _JPEG + b"e"
_ARRAY_HEAD = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
_DTYPE = b"cnumpy\ndtype\nX\x02\0\0\0u1K\0K\x01\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
HUGE = 1 << 33
"""Size of a sparse file, more than may be held in memory."""


class _Call:
    def __init__(self, *call: object) -> None:
        self._call = call

    def __reduce__(self) -> tuple:
        return self._call[0], self._call[1:]


def _whole(pictures: bytes = _PICTURES, labels: bytes = b"](\x88e", protocol: int = 3) -> bytes:
    return b"\x80" + bytes([protocol]) + pictures + labels + b"\x86."


def _with_array(state: bytes) -> bytes:
    return _whole(b"](" + 2 * (_ARRAY_HEAD + state + b"b") + b"e")


def hostile_bins(marker: Path) -> dict[str, bytes]:
    """Returns the content of each file. Those that run code would create `marker`."""
    touch = f"open({str(marker)!r}, 'w')"
    good = _whole()
    pickle.loads(good)  # The parts of the other files are valid.
    running = {
        "system": _Call(os.system, f"touch {marker}"),
        "eval": _Call(eval, touch),
        "exec": _Call(exec, touch),
        "picture that runs": ([_Call(eval, touch), _JPEG], [True]),
        "label that runs": ([_JPEG, _JPEG], [_Call(eval, touch)]),
        "getattr": _Call(getattr, "text", "upper"),
        "numpy load": _Call(np.load, str(marker)),
        "open": _Call(open, str(marker), "w"),
    }
    found = {f"code, {name}": pickle.dumps(content, 2) for name, content in running.items()}
    found |= {
        "code, stacked global": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c"
        + bytes([len(touch)])
        + touch.encode()
        + b"\x85R.",
        "code, protocol 0": b"cposix\nsystem\n(S'touch " + os.fsencode(marker) + b"'\ntR.",
        "code, inst": b"\x80\x02(X\x04\0\0\0true" + b"iposix\nsystem\n.",
        "code, object of a class": b"\x80\x02(cbuiltins\nobject\no.",
        "code, new object": b"\x80\x02cbuiltins\nobject\n)\x81.",
        "code, extension": b"\x80\x02\x82\x01.",
        "code, persistent id": b"\x80\x02X\x01\0\0\0aQ.",
        "code, codec": b"\x80\x02c_codecs\nencode\nX\x04\0\0\0dataX\x03\0\0\0hex\x86R.",
        "code, decode": b"\x80\x02c_codecs\ndecode\nX\x04\0\0\0dataX\x03\0\0\0zip\x86R.",
        "code, state of an encoder": b"\x80\x02c_codecs\nencode\n}b.",
        "size, long bytes": b"\x80\x04](\x8e" + struct.pack("<Q", 1 << 62) + _JPEG,
        "size, long text": b"\x80\x04](\x8d" + struct.pack("<Q", 1 << 40) + _JPEG,
        "size, long bytearray": b"\x80\x05](\x96" + struct.pack("<Q", 1 << 40) + _JPEG,
        "size, negative": b"\x80\x02](T" + struct.pack("<i", -5) + _JPEG,
        "size, frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + good[2:],
        "size, memo": b"\x80\x02]r\xff\xff\xff\x7f" + good[3:] + b"0",
        "size, integer": b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + bytes(100),
        "size, integer of 255 bytes": b"\x80\x02\x8a\xff" + bytes(255) + b".",
        "size, array": _with_array(
            b"(K\x01(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft" + _DTYPE + b"\x89C\x66" + _JPEG + b"t"
        ),
        "size, negative array": _with_array(b"(K\x01J\xff\xff\xff\xff\x85" + _DTYPE + b"\x89C\x66" + _JPEG + b"t"),
        "size, lists of lists": b"\x80\x02" + b"]" * 3_000_000 + b".",
        "size, marks": b"\x80\x02" + b"(" * 3_000_000 + b".",
        "size, nested tuples": b"\x80\x02)" + b"\x85" * 3_000_000 + b".",
        "array of objects": pickle.dumps(([np.array([None, 1])] * 2, [True]), 2),
        "array of floats": pickle.dumps(([np.ones(4)] * 2, [True]), 2),
        "array without content": _whole(b"](" + 2 * _ARRAY_HEAD + b"e"),
        "list in itself": b"\x80\x02]q\0(h\0h\0e](\x88e\x86.",
        "stack of nothing": b"\x80\x02a.",
        "reference to nothing": b"\x80\x02h\x07.",
        "mark that is not there": b"\x80\x02]e.",
        "no end": good[:-1],
        "cut": good[:70],
        "data behind the end": good + b"more",
        "another pickle": pickle.dumps({"pictures": [_JPEG]}, 2),
        "labels missing": _whole(labels=b"]"),
        "too many labels": _whole(labels=b"](\x88\x88e"),
        "labels of text": _whole(labels=b"](X\x01\0\0\0ae"),
        "pictures of text": _whole(b"](X\x01\0\0\0aX\x01\0\0\0be"),
        "empty pictures": _whole(b"](C\0C\0e"),
        "nothing": b"",
        "not a pickle": _JPEG,
        "a zip": b"PK\x03\x04" + bytes(200),
    }
    return found


def write_sparse(path: Path) -> None:
    """Writes a file of a single picture of 8 GiB, which takes no space on the disk."""
    with open(path, "wb") as file:
        file.write(b"\x80\x04](\x8e" + struct.pack("<Q", HUGE))
        file.seek(HUGE, os.SEEK_CUR)
        file.write(b"C\x01ae](\x88e\x86.")
