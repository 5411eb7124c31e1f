"""WebVTT: names as subtitles of a film."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.films.time_codes import time_code
from faceclr_cli.core.text import display_path


def write_webvtt(path: Path, cues: Iterable[tuple[float, float, str]]) -> None:
    """Writes a WebVTT file atomically.

    Args:
        path: The file.
        cues: Start and end in seconds, and the text of each cue, ordered by time.

    Raises:
        DataError: The file cannot be written.
    """
    blocks = [f"{time_code(start)} --> {time_code(end)}\n{_escape(text)}\n" for start, end, text in cues]
    try:
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(["WEBVTT\n", *blocks]), encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be written ({error.strerror or error})") from error


def _escape(text: str) -> str:
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
