"""Decoding of text files, normalization of names, and display of paths."""

from __future__ import annotations

import codecs
import os
import re
import sys
import unicodedata
from pathlib import Path, PureWindowsPath

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 before UTF-16, since its byte order mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_URL = re.compile(r"^(https?|ftp|s3|gs|file):/(?!/)")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
ON_WINDOWS = sys.platform == "win32"
LINE_END = re.compile(r"\r\n|\r|\n")
"""Line endings. Unlike `str.splitlines`, it does not split at characters that may occur in names."""


def canonical(name: str) -> str:
    r"""Normalizes a name to its canonical Unicode form (NFC).

    A keyboard types `é` as one character; macOS, its archives and network shares store `e` and a combining accent.
    Names must be normalized before they are compared.

    Examples:
        >>> canonical("Jose\u0301") == "José"
        True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def encoding_of(beginning: bytes) -> tuple[str, int]:
    """Returns the encoding by the byte order mark (UTF-8 if there is none), and the length of the mark in bytes."""
    return next(((name, len(mark)) for mark, name in _BYTE_ORDER_MARKS if beginning.startswith(mark)), ("utf-8", 0))


def decode(data: bytes) -> str:
    """Decodes UTF-8, or the encoding of the byte order mark: Notepad, Excel and PowerShell also write UTF-16.

    Bytes that are not UTF-8 become lone surrogates, as in file names.

    Raises:
        ValueError: The data is damaged UTF-16 or UTF-32, or contains NUL characters, as UTF-16 without a mark does.
    """
    encoding, mark = encoding_of(data)
    try:
        text = data[mark:].decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise ValueError(f"damaged {encoding.upper()} text") from error
    if "\0" in text:
        raise ValueError("contains NUL characters; save it as UTF-8 text")
    return text


def display_path(path: Path | str) -> str:
    """Formats a path for a message on one line: escapes control characters and bytes that are not UTF-8.

    If a URL was given instead of a file, restores its second slash, which `Path` removes.
    """
    text = _URL.sub(r"\1://", os.fspath(path))
    return text if text.isprintable() else repr(text)[1:-1]


def is_file_name(name: str) -> bool:
    r"""Returns True if this system can store a file or folder of this name.

    Archives and lists made elsewhere may contain names that Windows cannot store (`a?.jpg`, `aux`) or reads as a path
    (`..\\a.jpg`) or as a stream of another file (`a:b.jpg`).
    """
    if "/" in name or "\0" in name:
        return False
    return not ON_WINDOWS or not (_NOT_ON_WINDOWS.search(name) or PureWindowsPath(name).is_reserved())
