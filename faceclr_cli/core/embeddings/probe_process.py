"""Child process that reads an untrusted store with limits on time and memory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from faceclr_cli.core.embeddings.store import read_whole_store
from faceclr_cli.core.embeddings.store_probe import MEMORY, REFUSED, TOO_LARGE
from faceclr_cli.core.errors import DataError


def main() -> None:
    """Reads the file named by the first argument, with the second as the limit of CPU time in seconds."""
    path, seconds = Path(sys.argv[1]), int(sys.argv[2])
    _limit_resources(seconds)
    try:
        read_whole_store(path)
    except DataError as error:
        sys.stdout.buffer.write(os.fsencode(str(error)))
        sys.stdout.flush()
        os._exit(TOO_LARGE if isinstance(error.__cause__, MemoryError) else REFUSED)
    os._exit(0)  # Skips the cleanup of HDF5, which may crash on a damaged file.


def _limit_resources(seconds: int) -> None:
    if sys.platform == "win32":
        return  # The parent enforces the limit instead.
    try:
        import resource
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with suppress(ValueError, OSError):  # macOS does not limit the address space.
            resource.setrlimit(kind, (lower, lower))
