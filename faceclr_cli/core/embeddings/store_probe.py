"""Probing of untrusted HDF5 files in a child process, since HDF5 may hang or crash on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

REFUSED, TOO_LARGE, OUT_OF_TIME = 3, 4, 5
"""Exit codes of the child process: the error was printed; a limit on memory or time was exceeded."""

_CHILD = "from faceclr_cli.core.embeddings.probe_process import main; main()"
_SECONDS, _BYTES_PER_SECOND = 5, 20_000_000
MEMORY = 1 << 30
"""Limit on the memory of the child process, in bytes."""
_LIMITS_ITSELF = find_spec("resource") is not None
"""True if the child process can set limits for itself. Windows has no such limits, so the parent watches the child."""
_WATCH_SECONDS = 0.1
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
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        code, said = _wait(child, seconds)
    if code == 0:
        return
    if code == REFUSED and said:
        raise DataError(said)
    raise DataError(f"{display_path(path)}: not a store of embeddings, or a damaged one ({_cause(code, seconds)})")


def _wait(child: subprocess.Popen[bytes], seconds: int) -> tuple[int, str]:
    """Returns the exit code of the child process and what it printed. Ends it if it exceeds a limit."""
    deadline = monotonic() + _PATIENCE * seconds
    while True:
        try:
            said, _ = child.communicate(timeout=_PATIENCE * seconds if _LIMITS_ITSELF else _WATCH_SECONDS)
            return child.returncode, os.fsdecode(said).strip()
        except subprocess.TimeoutExpired:
            code = OUT_OF_TIME if monotonic() > deadline else _exceeded_limit(child.pid, seconds)
        except BaseException:
            _end(child)
            raise
        if code:
            _end(child)
            return code, ""


def _end(child: subprocess.Popen[bytes]) -> None:
    # Windows has no SIGKILL; ending a process there cannot be refused.
    (child.kill if hasattr(signal, "SIGKILL") else child.terminate)()


def _exceeded_limit(process: int, seconds: int) -> int:
    """Returns the exit code for the limit that a process exceeds, or 0."""
    import psutil

    try:
        state = psutil.Process(process)
        times, size = state.cpu_times(), state.memory_info().vms
    except psutil.NoSuchProcess:  # ended a moment ago
        return 0
    return OUT_OF_TIME if times.user + times.system > seconds else TOO_LARGE if size > MEMORY else 0


def _cause(code: int, seconds: int) -> str:
    if code == OUT_OF_TIME or (code < 0 and _signal_name(code) in ("SIGXCPU", "SIGKILL")):
        return f"HDF5 did not finish reading it within {seconds} s"
    if code == TOO_LARGE:
        return "HDF5 needs too much memory to read it"
    # Windows reports a crash as a large code such as 0xC0000005.
    return f"HDF5 crashes on it: {_signal_name(code)}" if code < 0 else f"reading it ends with code {code}"


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
