"""Shell completion of option values, derived from metavars such as `sface|RUN|FILE.onnx`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

_MAX_SCANNED = 100

Complete = Callable[[str], list[str]]
"""Maps an incomplete value to its completions."""


def completer(metavar: str | None) -> Complete | None:
    """Returns the completion of a metavar, or None if the shell's own file completion suffices.

    A lowercase word completes to itself, RUN to runs and encoder folders (also those inside a folder), NAME.h5 to files
    with that suffix, and DIR to folders.
    """
    kinds = (metavar or "").strip("[]").split("|")
    if not any(kind == "RUN" or kind.islower() or "." in kind for kind in kinds) or any("," in kind for kind in kinds):
        return None

    def complete(incomplete: str) -> list[str]:
        return [value for kind in kinds for value in _completions(kind.removesuffix("..."), incomplete)]

    return complete


def _completions(kind: str, typed: str) -> Iterator[str]:
    if kind.islower():
        yield from [kind] if kind.startswith(typed) else []
        return
    for name, path in _entries(typed):
        if path.is_dir():
            if kind == "RUN":
                yield from _runs(name, path)
            elif kind == "DIR":
                yield name + os.sep
        elif "." in kind and name.endswith(kind[kind.index(".") :]):
            yield name


def _entries(typed: str) -> Iterator[tuple[str, Path]]:
    """Yields the matching entries of the folder typed so far: the text to complete to, and the path."""
    folder, prefix = os.path.split(typed)
    try:
        paths = sorted(Path(folder).expanduser().iterdir())
    except (OSError, RuntimeError):  # The folder or the home directory does not exist.
        return
    for path in paths:
        if path.name.startswith(prefix) and (prefix or not path.name.startswith(".")):
            yield os.path.join(folder, path.name), path


def _runs(name: str, path: Path) -> Iterator[str]:
    """Yields the folder if it is a run, otherwise the runs in it: trainers write to `runs/COMMAND-N` by default."""
    if _is_run(path):
        yield name
        return
    try:
        with os.scandir(path) as entries:
            # Folders of runs are small. Scanning a large folder of photographs would make the shell hang.
            inside = sorted(entry.name for entry in islice(entries, _MAX_SCANNED) if entry.is_dir())
    except OSError:
        return
    yield from (os.path.join(name, each) for each in inside if _is_run(path / each))


def _is_run(path: Path) -> bool:
    """True if the folder is a run or an encoder folder."""
    return (path / "encoder.json").is_file() or (path / "encoder" / "encoder.json").is_file()
