"""Text: decoding what people write, comparing names, and displaying paths."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 first, since its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_URL = re.compile(r"^(https?|ftp|s3|gs|file):/(?!/)")
LINE_END = re.compile(r"\r\n|\r|\n")
"""The ends of lines. `str.splitlines` also divides at characters that may be part of a name."""


def canonical(name: str) -> str:
    r"""The one spelling of a name that all its Unicode forms have in common: NFC.

    A keyboard types `é` as one character; macOS, its archives and network shares store `e` and a combining accent. All
    comparisons of names go through this function, or compare names that went through it when they were read.

    Examples:
        >>> canonical("Jose\u0301") == "José"
        True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def encoding_of(beginning: bytes) -> tuple[str, int]:
    """The encoding of a text by its byte order mark, UTF-8 without one, and how many bytes the mark takes."""
    return next(((name, len(mark)) for mark, name in _MARKS if beginning.startswith(mark)), ("utf-8", 0))


def decode(data: bytes) -> str:
    """Decodes UTF-8, or what a byte order mark announces: Notepad, Excel and PowerShell write UTF-16 as well.

    Bytes that are not UTF-8 survive as in the names of files.

    Raises:
        ValueError: It is not text: damaged UTF-16, or UTF-16 without its mark.
    """
    encoding, mark = encoding_of(data)
    try:
        text = data[mark:].decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise ValueError(f"damaged {encoding.upper()} text") from error
    if "\0" in text:
        raise ValueError("holds NUL characters; save it as UTF-8 text")
    return text


def display_path(path: Path | str) -> str:
    """A path for a message of one line: control characters and bytes that are not UTF-8 as escapes.

    A URL that was given in place of a file has its second slash again, which `Path` takes away.
    """
    text = _URL.sub(r"\1://", os.fspath(path))
    return text if text.isprintable() else repr(text)[1:-1]
