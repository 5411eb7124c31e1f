"""Time and peak memory of `faceclr tsne` as a process, compared with plain scikit-learn.

The baseline is `TSNE(metric="cosine")` on the same embeddings with the same perplexity, seed and threads, without PCA,
plots or metrics. The trustworthiness of both maps is measured on the same faces.

    python benchmarks/tsne.py --faces 20000 --dim 128
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from all_pairs import crowd

from faceclr_cli.core.embeddings.store import read_store, write_store
from faceclr_cli.core.metrics.map_quality import trustworthiness

_THREADS = 2
_NEIGHBORS = 10


def plain(store: Path, out: Path) -> None:
    """Runs the baseline."""
    from sklearn.manifold import TSNE

    method = TSNE(metric="cosine", init="pca", perplexity=30, random_state=0, n_jobs=_THREADS)
    np.save(out, method.fit_transform(read_store(store).embeddings))


def measured(command: list[str], out: Path) -> str:
    """Runs a process with output to a file; returns its wall time, CPU time and peak memory as text."""
    began = time.perf_counter()
    with open(out, "wb") as output:
        environment = os.environ | {"OMP_NUM_THREADS": str(_THREADS)}
        process = subprocess.Popen([sys.executable, *command], stdout=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    seconds, worked = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return f"{seconds:.0f} s ({worked:.0f} s of CPU time), {usage.ru_maxrss / 1024:.0f} MiB"


def main() -> None:
    """Prints the time, memory and quality of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--plain", nargs=2, type=Path, metavar=("STORE", "OUT.npy"), help="run only the baseline")
    options = parser.parse_args()
    if options.plain:
        plain(*options.plain)
        return
    made = crowd(options.faces, options.dim)
    with tempfile.TemporaryDirectory() as folder:
        store, points, printed = Path(folder) / "faces.h5", Path(folder) / "plain.npy", Path(folder) / "printed.json"
        write_store(store, made)
        people, page, picture = str(options.faces), str(Path(folder) / "map.html"), str(Path(folder) / "map.png")
        ours = ["-m", "faceclr_cli", "tsne", str(store), "--identities", people, "-o", page, "-o", picture, "--json"]
        cost = measured(ours, printed)
        result = json.loads(printed.read_text())
        print(f"{options.faces:,} x {options.dim}, {_THREADS} threads")
        print(f"faceclr tsne: {cost}, trustworthiness {result['trustworthiness']:.4f}")
        cost = measured([__file__, "--plain", str(store), str(points)], printed)
        quality = trustworthiness(made.embeddings, np.load(points), _NEIGHBORS)
        print(f"scikit-learn: {cost}, trustworthiness {quality:.4f}")


if __name__ == "__main__":
    main()
