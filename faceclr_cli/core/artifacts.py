"""How everything that faceclr writes reaches its final name: whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faceclr_cli import __version__
from faceclr_cli.core.errors import DataError, LockedError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside `target`, and renames it into place if the block succeeds.

    The block creates the file or folder. After an error nothing of it is left. A folder replaces
    an existing folder only if that one is empty (the rule of `os.rename`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, since some writers choose their format by it.
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON document atomically. Names that are not UTF-8 survive as escapes."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON document that faceclr wrote.

    Raises:
        DataError: There is no such file, or it does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no JSON object")
    return content


def stamp(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What every artifact says of its origin: its kind, the version and the resolved config."""
    return {"kind": kind, "faceclr": __version__, "config": dict(config)}


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps a second run out of an output folder for as long as the block lasts.

    The lock is on the folder itself, so it leaves no file and ends with the process, even by SIGKILL.

    Raises:
        LockedError: Another process holds the lock.
    """
    descriptor = _locked(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The run that had the lock may have removed the folder in the meantime.
            if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(f"{folder}: another run is writing here; wait for it or choose another -o") from None
        os.close(descriptor)
