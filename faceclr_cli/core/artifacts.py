"""How everything that faceclr writes reaches its final name: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from faceclr_cli import __version__
from faceclr_cli.core.errors import DataError, LockedError

_TEMPORARY = re.compile(r"\.(?P<pid>\d+)(-(?P<space>[0-9a-f]{8})-[0-9a-f]{8})?\.")
"""How temporary names begin; those of faceclr 0.1 had the process id alone."""
_LONGEST_NAME = 200
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What `flock` says on file systems that have no locks."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside `target`, and renames it into place if the block succeeds.

    The block creates the file or folder. After an error nothing of it is left. A folder replaces
    an existing folder only if that one is empty (the rule of `os.rename`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(target)
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, target)
        _flush_folder(target.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Creates an empty temporary folder beside `folder` and puts it in the place of `folder` if the block succeeds.

    Unlike `atomic_path`, it replaces a folder that holds files. A folder cannot be renamed onto such a folder, so the
    old one is first renamed to `former_path(folder)`, and removed once the new one is in place. After a crash between
    the two renames, the old folder can be renamed back.
    """
    former = former_path(folder)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        yield temporary
        shutil.rmtree(former, ignore_errors=True)
        if folder.exists():
            os.replace(folder, former)
    shutil.rmtree(former, ignore_errors=True)


def former_path(folder: Path) -> Path:
    """Returns the hidden path that `atomic_folder` moves an existing folder to while it is replaced."""
    return folder.with_name(f".{folder.name}.former")


def _temporary_path(target: Path) -> Path:
    """A name that no other process uses: process ids repeat in containers and on other machines."""
    # The end is kept, since some writers choose their format by the suffix.
    return target.with_name(f".{os.getpid()}-{_process_space()}-{secrets.token_hex(4)}.{_shortened(target.name)}")


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[-_LONGEST_NAME:])


@cache
def _process_space() -> str:
    """Where the ids of processes mean the same: this machine since it was started, or this container on it."""
    try:
        space = Path("/proc/sys/kernel/random/boot_id").read_text() + str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        space = str(uuid.getnode())
    return hashlib.sha256(space.encode()).hexdigest()[:8]


def _flush_folder(folder: Path) -> None:
    """Makes a rename survive a power failure."""
    with suppress(OSError):  # Not every file system can.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder.

    Only those temporary files and folders go whose process is known to have ended: it ran on this machine, in this
    container.
    """
    for entry in _temporaries(folder):
        if (found := _TEMPORARY.match(entry.name)) and found["space"] == _process_space() and _ended(int(found["pid"])):
            _remove(entry)


def remove_temporaries(folder: Path, name: str = "") -> None:
    """Removes temporary files of any process from a folder, which the caller has locked.

    Args:
        folder: Where they are.
        name: Only those of this artifact; by default of all.
    """
    for entry in _temporaries(folder):
        found = _TEMPORARY.match(entry.name)
        if found and (not name or entry.name[found.end() :] == _shortened(name)):
            _remove(entry)


def _temporaries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(".")]
    except OSError:  # Not there, or not to be listed.
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):  # Another run may be about to remove it too.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON document atomically. Names that are not UTF-8 survive as escapes."""
    remove_stale(path.parent)
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

    The lock is on the folder itself, so it leaves no file and ends with the process, even by SIGKILL. On a file system
    without locks, a file in the folder for temporary files stands in for it; it keeps out other runs on this machine.

    Raises:
        LockedError: Another process holds the lock.
    """
    descriptor = _locked(folder)
    try:
        remove_stale(folder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[int]:
    """Opens a file for reading, and keeps those out who would change it in place, as HDF5 does.

    Gives:
        A file descriptor.

    Raises:
        OSError: The file cannot be opened.
        LockedError: Another program has it open to change it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _lock(descriptor, fcntl.LOCK_SH)
        except BlockingIOError:
            text = "another program has it open for writing (a notebook, say); close it there, then try again"
            raise LockedError(f"{path}: {text}") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX):
                os.close(descriptor)
                descriptor = _stand_in(folder)
                _lock(descriptor, fcntl.LOCK_EX)
                return descriptor
            # The run that had the lock may have removed the folder in the meantime.
            if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(f"{folder}: another run is writing here; wait for it or choose another -o") from None
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    """Locks an open file or folder without waiting. Returns False where the file system has no locks.

    Raises:
        BlockingIOError: Another process holds a lock that excludes this one.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _stand_in(folder: Path) -> int:
    """Opens the file whose lock stands for that of a folder that cannot be locked."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"faceclr-{os.getuid()}-{name}.lock"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
