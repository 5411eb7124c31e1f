"""Atomic writes, locks and digests of artifacts."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from faceclr_cli import __version__
from faceclr_cli.core.errors import DataError, LockedError

_TEMPORARY = re.compile(r"\.(?P<pid>\d+)(-(?P<space>[0-9a-f]{8})-[0-9a-f]{8})?\.")
"""Prefix of temporary names. In faceclr 0.1 it consisted of the process id only."""
_MAX_NAME_BYTES = 200
_DAY = 24 * 60 * 60
CACHE_VARIABLE = "FACECLR_CACHE"
"""Environment variable for the cache folder."""
_LOCKS_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""Errors that `flock` raises on file systems without locks."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of writing that can only be about the file that is being written."""


def cache_folder(cache: Path | None = None) -> Path:
    """Returns the folder for what can be computed again: decoded faces, indexes of containers, embeddings of teachers.

    Args:
        cache: An explicit folder, which overrides $FACECLR_CACHE and the user's cache folder.

    Raises:
        FileNotFoundError: No folder is set, and the user has no home folder.
    """
    named = cache or os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    usual = platformdirs.user_cache_path("faceclr")
    if not usual.is_absolute():  # "~/.cache" is not expanded if the user has no home folder.
        raise FileNotFoundError(f"this user has no home folder; set {CACHE_VARIABLE}")
    return usual


def evict(target: Path, *, keep: int, group: str | None = None) -> None:
    """Removes the least recently used files of the cache with the suffix of `target`, and leftovers of killed runs.

    Args:
        target: The file that was just written; it is kept.
        keep: Number of files to keep.
        group: Start of the names of files that `target` replaces.
    """
    with suppress(OSError):
        found = target.parent.glob(f"*{target.suffix}")
        entries = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        finished = [path for path in entries if not path.name.startswith(".") and path != target]
        for rank, path in enumerate(finished, start=1):
            if rank >= keep or (group is not None and path.name.startswith(group)):
                path.unlink(missing_ok=True)
        for path in entries:
            if path.name.startswith(".") and path.stat().st_mtime < time.time() - _DAY:
                path.unlink(missing_ok=True)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`, and renames it to `target` if the block succeeds.

    The block creates a file or folder at the temporary path, which is removed if the block fails. A folder can only
    replace an empty folder, as with `os.rename`.

    Raises:
        OSError: The target cannot be written. The error names the target, never the temporary path.
    """
    _make_folder(target.parent, target)
    temporary = _temporary_path(target)
    try:
        yield temporary
        if temporary.is_file():
            flush_file(temporary)
        elif sys.platform == "win32" and target.is_dir():
            target.rmdir()  # Windows does not rename onto a folder, not even an empty one.
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        _name_target(error, temporary, target)
        raise
    finally:
        _remove(temporary)


def make_folder(folder: Path) -> None:
    """Creates an output folder and its parents.

    Raises:
        OSError: The folder cannot be created. The error names `folder`, not the parent that is the reason.
    """
    _make_folder(folder, folder)


def _make_folder(folder: Path, target: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # "File exists" would seem to be about the target.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target)) from None
    except OSError as error:
        error.filename = str(target)
        raise


def _name_target(error: OSError, temporary: Path, target: Path) -> None:
    """Replaces the temporary path in an error."""
    if isinstance(error.filename, str) and Path(error.filename).is_relative_to(temporary):
        error.filename = str(target / Path(error.filename).relative_to(temporary))
        if error.filename2 is not None:
            del error.filename2
    elif error.filename is None and error.errno and (error.errno in _DISK_FULL or str(temporary) in str(error)):
        # A full disk is reported without a path. pyarrow and HDF5 have it in their text.
        error.filename, error.strerror = str(target), os.strerror(error.errno)


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
    """Returns a unique name beside the target. The process id is not unique across containers and machines."""
    # Keep the suffix, from which some writers derive the format.
    return target.with_name(f".{os.getpid()}-{_process_namespace()}-{secrets.token_hex(4)}.{_truncated(target.name)}")


def _truncated(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[-_MAX_NAME_BYTES:])


@cache
def _process_namespace() -> str:
    """Returns an id of the space of process ids: the boot of this machine and the container."""
    try:
        space = Path("/proc/sys/kernel/random/boot_id").read_text() + str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        space = str(uuid.getnode())
    return hashlib.sha256(space.encode()).hexdigest()[:8]


def flush_file(path: Path) -> None:
    """Makes the content of a file survive a power failure."""
    # Windows flushes only files that are open for writing.
    with open(path, "r+b" if sys.platform == "win32" else "rb") as written:
        os.fsync(written.fileno())


def _flush_folder(folder: Path) -> None:
    """Makes a rename in the folder survive a power failure."""
    with suppress(OSError):  # Windows and some file systems do not support it.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes incomplete files and folders that killed processes left in a folder.

    Removes them if the process is known to have ended, which requires that it ran on this machine, since its last
    start, and in this container. What other processes left is removed if it has not changed for a day.
    """
    for entry in _temporaries(folder):
        if found := _TEMPORARY.match(entry.name):
            is_ours = found["space"] == _process_namespace()
            if _has_ended(int(found["pid"])) if is_ours else _is_old(entry):
                _remove(entry)


def _is_old(entry: Path) -> bool:
    """True if nothing in a file or folder has changed for a day."""
    try:
        inside = list(entry.rglob("*")) if entry.is_dir() else []
        changed: float = max(path.lstat().st_mtime for path in [entry, *inside])
    except OSError:  # Another process is removing it.
        return False
    return bool(changed < time.time() - _DAY)


def remove_temporaries(folder: Path, name: str = "") -> None:
    """Removes the temporary files of all processes from a folder that the caller has locked.

    Args:
        folder: The folder.
        name: Remove only the temporary files of this artifact (default: all).
    """
    for entry in _temporaries(folder):
        found = _TEMPORARY.match(entry.name)
        if found and (not name or entry.name[found.end() :] == _truncated(name)):
            _remove(entry)


def _temporaries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(".")]
    except OSError:  # Missing or not readable.
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):  # Another run may be removing it, too.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _has_ended(process: int) -> bool:
    if sys.platform == "win32":
        import psutil

        # There, `os.kill` with signal 0 would send Ctrl-C.
        return not psutil.pid_exists(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON document atomically, in ASCII. File names that are not UTF-8 are escaped."""
    remove_stale(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON document that faceclr wrote.

    Raises:
        DataError: The file does not exist, or does not contain a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: does not contain a JSON object")
    return content


def stamp(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metadata that every artifact contains: its kind, the version and the resolved config."""
    return {"kind": kind, "faceclr": __version__, "config": dict(config)}


def digest_file(path: Path) -> str:
    """Returns the SHA-256 digest of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Locks an output folder against other runs for the duration of the block.

    The lock is on the folder itself: it leaves no file, and the system releases it when the process ends, even by
    SIGKILL. On file systems without locks, and on Windows, where folders cannot be locked, a lock file in the temporary
    directory excludes other runs on this machine.

    Raises:
        LockedError: Another process holds the lock.
    """
    release = _lock_folder(folder)
    try:
        remove_stale(folder)
        yield
    finally:
        release()


@contextmanager
def shared(path: Path) -> Iterator[int]:
    """Opens a file for reading, and locks it against programs that modify it in place, such as HDF5.

    On Windows, the file is not locked.

    Yields:
        A file descriptor.

    Raises:
        OSError: The file cannot be opened.
        LockedError: Another program has opened the file for writing.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        try:
            _lock(descriptor, is_exclusive=False)
        except BlockingIOError:
            text = "another program, such as a notebook, has opened it for writing; close it there and try again"
            raise LockedError(f"{path}: {text}") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> Callable[[], None]:
    """Locks a folder and returns the function that unlocks it."""
    locked = LockedError(f"{folder}: another run is writing to this folder; wait for it or choose another -o")
    while True:
        make_folder(folder)
        if sys.platform == "win32":
            return _lock_file_of(folder, locked)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not _lock(descriptor, is_exclusive=True):
                os.close(descriptor)
                return _lock_file_of(folder, locked)
            # The run that held the lock may have removed the folder in the meantime.
            if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                return partial(os.close, descriptor)
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise locked from None
        os.close(descriptor)


def _lock(descriptor: int, *, is_exclusive: bool) -> bool:
    """Locks an open file or folder without waiting. Returns False if the system does not support it.

    Raises:
        BlockingIOError: Another process holds a conflicting lock.
    """
    if sys.platform == "win32":
        return False
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if is_exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _LOCKS_UNSUPPORTED:
            raise
        return False
    return True


def _lock_file_of(folder: Path, locked: LockedError) -> Callable[[], None]:
    """Locks the lock file of a folder that cannot be locked itself, and returns the function that unlocks it."""
    from filelock import FileLock, Timeout

    user = f"{os.getuid()}-" if hasattr(os, "getuid") else ""  # On Windows, each user has a temporary directory.
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"faceclr-{user}{name}.lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise locked from None
    return lock.release
