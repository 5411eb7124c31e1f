"""Time and peak memory of `faceclr verify --all-pairs` as a process.

The lower bound is the blockwise matrix product of the embeddings with themselves, each pair once, without processing
the scores. All rates are exact, including the TAR at FAR 1e-6; the tests compare them with scikit-learn on small
stores.

    python benchmarks/all_pairs.py --faces 20000 --dim 128
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.faces.crop import default_fingerprint

_BLOCK = 1024


def crowd(faces: int, dim: int) -> Store:
    """Returns a store of random people with twenty pictures each, about as separable as with a good encoder."""
    chance = np.random.default_rng(0)
    people = np.arange(faces) // 20
    rows = chance.normal(size=(people[-1] + 1, dim))[people] + chance.normal(size=(faces, dim)) * 0.8
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Store(
        embeddings=rows.astype(np.float32),
        paths=tuple(f"{person:05d}/{number:06d}.jpg" for number, person in enumerate(people)),
        identities=tuple(f"{person:05d}" for person in people),
        content_hashes=("0" * 64,) * faces,
        detection_scores=np.ones(faces, np.float32),
        boxes=np.full((faces, 4), np.nan, np.float32),
        fingerprint=default_fingerprint(),
        encoder="drawn by lot",
        encoder_digest="0" * 64,
        calibration=None,
        config={},
    )


def bare(rows: NDArray[np.float32]) -> float:
    """Returns the seconds of the matrix product alone."""
    began = time.perf_counter()
    for start in range(0, len(rows), _BLOCK):
        rows[start : start + _BLOCK] @ rows[start:].T
    return time.perf_counter() - began


def whole(store: Path) -> tuple[float, float]:
    """Returns the seconds of the command as a process, and its peak memory in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "faceclr_cli", "verify", "--embeddings", str(store), "--all-pairs"],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"faceclr ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Prints medians over alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    made = crowd(options.faces, options.dim)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "faces.h5"
        write_store(store, made)
        taken, products = [], []
        for _ in range(options.rounds):
            taken.append(whole(store))
            products.append(bare(made.embeddings))
    seconds, ceiling = (statistics.median(times) for times in ([time for time, _ in taken], products))
    pairs = options.faces * (options.faces - 1) // 2
    print(f"{pairs:,} pairs of {options.faces:,} x {options.dim}: {seconds:.1f} s, {max(m for _, m in taken):.0f} MiB")
    print(f"matrix product alone: {ceiling:.1f} s, {ceiling / seconds:.2f} of the total")


if __name__ == "__main__":
    main()
