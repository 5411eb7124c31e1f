"""What a shell may offer as the value of an option, by its metavar: `sface|RUN|FILE.onnx` says all there is to know."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

_FEW = 100

Complete = Callable[[str], list[str]]
"""From what was typed to what it may become."""


def completer(metavar: str | None) -> Complete | None:
    """What completes values of a metavar, or None where nothing but the shell's own files would do.

    A word in small letters stands for itself, RUN for runs and encoders, also those of a folder of them, NAME.h5 for
    files with that ending, and DIR for any folder.
    """
    kinds = (metavar or "").strip("[]").split("|")
    if not any(kind == "RUN" or kind.islower() or "." in kind for kind in kinds) or any("," in kind for kind in kinds):
        return None

    def complete(incomplete: str) -> list[str]:
        return [found for kind in kinds for found in _found(kind.removesuffix("..."), incomplete)]

    return complete


def _found(kind: str, typed: str) -> Iterator[str]:
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
    """What lies in the folder that was typed so far and begins like the rest, as it would be typed."""
    folder, begun = os.path.split(typed)
    try:
        paths = sorted(Path(folder).expanduser().iterdir())
    except (OSError, RuntimeError):  # No such folder, or nobody's home.
        return
    for path in paths:
        if path.name.startswith(begun) and (begun or not path.name.startswith(".")):
            yield os.path.join(folder, path.name), path


def _runs(name: str, path: Path) -> Iterator[str]:
    """The folder itself, or those in it: by default, trainers write to `runs/COMMAND-N`."""
    if _is_run(path):
        yield name
        return
    try:
        with os.scandir(path) as entries:
            # A folder of runs has few entries, one of people or photographs more than anybody would wait for.
            inside = sorted(entry.name for entry in islice(entries, _FEW) if entry.is_dir())
    except OSError:
        return
    yield from (os.path.join(name, each) for each in inside if _is_run(path / each))


def _is_run(path: Path) -> bool:
    """Whether a folder is a run, or an encoder."""
    return (path / "encoder.json").is_file() or (path / "encoder" / "encoder.json").is_file()
