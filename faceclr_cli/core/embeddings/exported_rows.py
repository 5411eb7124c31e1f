"""Recognizes the rows that `faceclr embed` writes for other tools, which are given back to faceclr by mistake."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

_BEGINNING, _END = 65_536, 1 << 20
_CSV = b"path,identity,content_hash,detection_score,x,y,width,height,e0"
_JSON_LINES = (b'{"path": ', b'"embedding": [')
_NPZ = (b"PK\x03\x04", b"embedding.npy")
_PARQUET = (b"PAR1", b"encoder_digest")


def refuse_exported(path: Path) -> None:
    """Refuses a file of rows for other tools where pictures or a store are expected.

    Raises:
        DataError: It is one; the message says what to type instead.
    """
    form = _exported_as(path)
    if form is not None:
        raise DataError(
            f"{display_path(path)}: {form} that faceclr embed wrote for other tools; faceclr itself reads a store: "
            f"faceclr embed FACES -o {display_path(path.with_suffix('.h5').name)}"
        )


def _exported_as(path: Path) -> str | None:
    """What kind of file it is, by its content: anything may be called .csv."""
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            begin = file.read(_BEGINNING)
            if begin.startswith(_CSV):
                return "CSV"
            if begin.startswith(_JSON_LINES[0]) and _JSON_LINES[1] in begin:
                return "JSON lines"
            if begin.startswith(_NPZ[0]) and _NPZ[1] in begin[:64]:
                return "an .npz file"
            if begin.startswith(_PARQUET[0]):
                file.seek(max(0, path.stat().st_size - _END))
                return "a Parquet file" if _PARQUET[1] in file.read() else None
    except OSError:
        return None  # Who opens it next says why it cannot be read.
    return None
