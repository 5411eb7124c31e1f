"""Time and peak memory of `faceclr cluster` as a process, for both methods.

The embeddings are random, with twenty faces per person, about as separable as with a good encoder. The memory of
average linkage grows with the number of faces connected at the threshold; the worst case is 0, which connects all of
them.

    python benchmarks/cluster.py --faces 20000 --dim 128
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from all_pairs import crowd

from faceclr_cli.core.embeddings.store import write_store

_RUNS = (
    ("--method", "hdbscan"),
    ("--method", "agglomerative", "--threshold", "0.4"),
    ("--method", "agglomerative", "--threshold", "0"),
)


def whole(store: Path, options: tuple[str, ...]) -> tuple[float, float, int]:
    """Returns the seconds of the command as a process, its peak memory in MiB, and its exit code."""
    began = time.perf_counter()
    line = [sys.executable, "-m", "faceclr_cli", "cluster", str(store), *options]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Prints the best of several alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "faces.h5"
        write_store(store, crowd(options.faces, options.dim))
        taken = [[whole(store, run) for run in _RUNS] for _ in range(options.rounds)]
    for number, run in enumerate(_RUNS):
        seconds, memory, code = min(each[number] for each in taken)
        ended = "" if code == 0 else f", refused with exit code {code}"
        print(f"{options.faces:,} x {options.dim} {' '.join(run[1:])}: {seconds:.1f} s, {memory:.0f} MiB{ended}")


if __name__ == "__main__":
    main()
