"""Detection of files that `faceclr embed` wrote for other tools and that are mistaken for stores or pictures."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

_BEGINNING, _END = 65_536, 1 << 20
_CSV = b"path,identity,content_hash,detection_score,x,y,width,height,"
_JSON_LINES = (b'{"path": ', b'"embedding": [')
_NPZ = (b"PK\x03\x04", b"embedding.npy")
_PARQUET = (b"PAR1", b"encoder_digest")


def refuse_exported(path: Path) -> None:
    """Rejects files that `faceclr embed` wrote for other tools, if pictures or a store are expected.

    Raises:
        DataError: The path is such a file. The message suggests a command that writes a store.
    """
    file_format = _detect_format(path)
    if file_format is not None:
        raise DataError(
            f"{display_path(path)}: {file_format} that faceclr embed wrote for other tools; faceclr reads only stores: "
            f"faceclr embed FACES -o {display_path(path.with_suffix('.h5').name)}"
        )


def _detect_format(path: Path) -> str | None:
    """Detects the format by content, since any file can have the suffix .csv."""
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
        return None  # The next attempt to open the file reports the error.
    return None
