"""Files that together hold a data set: all files of a folder, or those that match a pattern."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

_RANGE = re.compile(r"\{(?P<first>\d{1,9})\.\.(?P<last>\d{1,9})\}")
_MOST_FILES = 65_536


def find_parts(path: Path, suffix: str) -> list[Path]:
    """Returns the files with a suffix in a folder, those that match a pattern, or a single file; none for other paths.

    Patterns have `*`, `?` and `[...]`, or a range in braces as WebDataset writes them: `faces-{000000..000012}.tar`.

    Args:
        path: The folder, the pattern or the file.
        suffix: The suffix, with its dot.

    Returns:
        The files, sorted by name.

    Raises:
        OSError: The folder cannot be read.
        DataError: A file of a range is missing.
    """
    if path.is_dir():
        return sorted(
            child
            for child in path.iterdir()
            if child.suffix == suffix and not child.name.startswith(".") and child.is_file()
        )
    if path.suffix != suffix:
        return []
    if path.exists():
        return [path] if path.is_file() else []
    if found := _RANGE.search(path.name):
        first, last = found["first"], found["last"]
        if int(last) - int(first) >= _MOST_FILES:
            return []
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        parts = [path.with_name(path.name[: found.start()] + each + path.name[found.end() :]) for each in numbers]
        if missing := next((part for part in parts if not part.is_file()), None):
            raise DataError(f"{display_path(path)}: {display_path(missing.name)} is missing")
        return parts
    if not glob.has_magic(path.name):
        return []
    return sorted(child for child in path.parent.glob(path.name) if child.is_file())
