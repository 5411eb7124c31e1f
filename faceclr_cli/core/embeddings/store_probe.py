"""Probing of untrusted HDF5 files in a child process, since HDF5 may hang or crash on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

REFUSED, TOO_LARGE = 3, 4
"""Exit codes of the child process: the error was printed; the memory limit was exceeded."""

_CHILD = "from faceclr_cli.core.embeddings.probe_process import main; main()"
_SECONDS, _BYTES_PER_SECOND = 5, 20_000_000
_PATIENCE = 20
"""Ratio of the wall time limit to the CPU time limit, for busy machines and slow disks."""


def require_harmless(path: Path) -> None:
    """Reads a file in a child process with limits on time and memory.

    Raises:
        DataError: The file is not a valid store, or HDF5 hangs, crashes or uses too much memory.
    """
    state = path.stat()
    _probe(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _probe(path: Path, inode: int, size: int, changed: int) -> None:
    """Probes a file. The file's state is part of the cache key, so unchanged files are probed only once."""
    del inode, changed
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    modules = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = os.environ | {"PYTHONPATH": modules, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", _CHILD, str(path), str(seconds)]
    try:
        ended = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        code, said = -signal.SIGXCPU, ""
    else:
        code, said = ended.returncode, os.fsdecode(ended.stdout).strip()
    if code == 0:
        return
    if code == REFUSED and said:
        raise DataError(said)
    raise DataError(f"{display_path(path)}: not a store of embeddings, or a damaged one ({_cause(code, seconds)})")


def _cause(code: int, seconds: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"HDF5 did not finish reading it within {seconds} s"
    if code == TOO_LARGE:
        return "HDF5 needs too much memory to read it"
    return f"HDF5 crashes on it: {signal.Signals(-code).name}" if code < 0 else f"reading it ends with code {code}"
