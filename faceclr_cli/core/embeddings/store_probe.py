"""A file that faceclr did not write is opened in another process first, since HDF5 may hang or crash over it."""

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
"""Exit codes of the process: it printed what is wrong; the memory that it may take was not enough."""

_CHILD = "from faceclr_cli.core.embeddings.probe_process import main; main()"
_SECONDS, _BYTES_PER_SECOND = 5, 20_000_000
_PATIENCE = 20
"""Times the processor time that the process may take, for a machine with much other work and slow disks."""


def require_harmless(path: Path) -> None:
    """Has a process with limits of time and memory read a file that may be a store.

    Raises:
        DataError: It is not a sound store, or HDF5 would hang or crash or take too much memory over it.
    """
    state = path.stat()
    _probe(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _probe(path: Path, inode: int, size: int, changed: int) -> None:
    """The file's state is part of the key: what was probed is not probed again until it changes."""
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
        return "HDF5 takes too much memory over it"
    return f"HDF5 crashes over it: {signal.Signals(-code).name}" if code < 0 else f"reading it ends with code {code}"
