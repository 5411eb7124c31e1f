"""The process that opens a file which may not be a store, with limits of time and memory, and says what it found."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from faceclr_cli.core.embeddings.store import read_whole_store
from faceclr_cli.core.embeddings.store_probe import REFUSED, TOO_LARGE
from faceclr_cli.core.errors import DataError

_MEMORY = 1 << 30


def main() -> None:
    """Reads the file that the first argument names, within the seconds of processor time that the second allows."""
    path, seconds = Path(sys.argv[1]), int(sys.argv[2])
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, lower))
    try:
        read_whole_store(path)
    except DataError as error:
        sys.stdout.buffer.write(os.fsencode(str(error)))
        sys.stdout.flush()
        os._exit(TOO_LARGE if isinstance(error.__cause__, MemoryError) else REFUSED)
    os._exit(0)  # What HDF5 does as it closes a damaged file is of no interest.
