"""Time, memory and quality of `faceclr cluster`.

    python benchmarks/cluster.py command --faces 20000 --dim 128
    python benchmarks/cluster.py methods --faces 20000 [--store FACES.h5] [--threshold 0.36]
    python benchmarks/cluster.py random --faces 1000000 --dim 128

`command` measures time and peak memory of the command as a process, for both of its methods. The memory of average
linkage grows with the number of faces connected at the threshold; the worst case is 0, which connects all of them.

`methods` measures time and B-cubed F of average linkage of all pairs, of average linkage on exact and on approximate
nearest neighbors, of HDBSCAN, and of Chinese Whispers, the algorithm of dlib, at the same threshold. With `--centers
0.511`, groups of average linkage are joined by their centers and by matches, too, as the command does. The faces are
those of a store with names. `random` measures average linkage alone on a collection of any size, with its memory.

Without a store, embeddings are random, with twenty faces per person, about as separable as with a good encoder. CPU
seconds are those of all threads, so they are nearly independent of other programs on the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
from all_pairs import crowd
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.store import read_store, write_store
from faceclr_cli.core.grouping import linkage, neighbor_graph
from faceclr_cli.core.grouping.center_linkage import join_centers
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.density_clustering import cluster_by_density
from faceclr_cli.core.grouping.linkage import link_faces
from faceclr_cli.core.grouping.match_linkage import join_matches
from faceclr_cli.core.grouping.neighbor_graph import find_neighbors
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

_RUNS = (
    ("--method", "hdbscan"),
    ("--method", "agglomerative", "--threshold", "0.4"),
    ("--method", "agglomerative", "--threshold", "0"),
)
_ITERATIONS = 100
"""dlib's number of passes over all faces."""
_AT_ONCE = 1 << 16


def whole(store: Path, options: tuple[str, ...]) -> tuple[float, float, int]:
    """Returns the seconds of the command as a process, its peak memory in MiB, and its exit code."""
    began = time.perf_counter()
    line = [sys.executable, "-m", "faceclr_cli", "cluster", str(store), *options]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def measure_command(options: argparse.Namespace) -> None:
    """Prints the best of several alternating rounds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "faces.h5"
        write_store(store, crowd(options.faces, options.dim))
        taken = [[whole(store, run) for run in _RUNS] for _ in range(options.rounds)]
    for number, run in enumerate(_RUNS):
        seconds, memory, code = min(each[number] for each in taken)
        ended = "" if code == 0 else f", exit code {code}"
        print(f"{options.faces:,} x {options.dim} {' '.join(run[1:])}: {seconds:.1f} s, {memory:.0f} MiB{ended}")


def link(rows: Vectors, threshold: float, *, most_at_once: int, most_exact: int) -> Labels:
    """Runs average linkage with limits that differ from those of the command."""
    with (
        mock.patch.object(linkage, "MOST_AT_ONCE", most_at_once),
        mock.patch.object(neighbor_graph, "MOST_EXACT", most_exact),
    ):
        return link_faces(rows, np.arange(len(rows)), threshold).groups


def whisper(rows: Vectors, threshold: float) -> Labels:
    """Runs Chinese Whispers (Biemann 2006) as in dlib: a random face takes the most frequent label around it."""
    with mock.patch.object(neighbor_graph, "NEIGHBORS", len(rows)):
        graph = find_neighbors(rows, threshold).matrix
    # A face is its own neighbor, too.
    near = [[face, *graph.indices[graph.indptr[face] : graph.indptr[face + 1]].tolist()] for face in range(len(rows))]
    labels, rng = list(range(len(rows))), np.random.default_rng(0)
    for _ in range(_ITERATIONS):
        for face in rng.integers(len(rows), size=len(rows)).tolist():
            counts = Counter([labels[other] for other in near[face]])
            most = max(counts.values())
            labels[face] = min(label for label, count in counts.items() if count == most)
    return np.array(labels)


def compare_methods(options: argparse.Namespace) -> None:
    """Prints CPU seconds, seconds and B-cubed of each method."""
    store = crowd(options.faces, options.dim) if options.store is None else read_store(options.store)
    named = np.flatnonzero([name is not None for name in store.identities])
    kept = np.sort(np.random.default_rng(0).permutation(named)[: options.faces])
    rows, people = store.embeddings[kept], [str(store.identities[row]) for row in kept]
    limit, count = options.threshold, len(rows)
    ways: dict[str, Callable[[], Labels]] = {
        "average linkage, all pairs": lambda: link(rows, limit, most_at_once=count, most_exact=count),
        "average linkage, exact neighbors": lambda: link(rows, limit, most_at_once=1, most_exact=count),
    }
    if find_spec("faiss") is not None:
        ways["average linkage, FAISS"] = lambda: link(rows, limit, most_at_once=1, most_exact=0)
    if options.centers is not None:
        none, alone = Constraints.none(count), np.arange(count)

        def join() -> Labels:
            groups = link(rows, limit, most_at_once=count, most_exact=count)
            return join_centers(rows, alone, groups, options.centers, none)

        ways["average linkage, then centers"] = join
        ways["and then matches: the default"] = lambda: join_matches(rows, alone, join(), limit, none)
    ways["Chinese Whispers"] = lambda: whisper(rows, limit)
    ways["HDBSCAN"] = lambda: cluster_by_density(rows, np.arange(count), 2)[0]
    print(f"{count:,} faces of {len(set(people)):,} people, threshold {limit}")
    for name, way in ways.items():
        began, used = time.perf_counter(), time.process_time()
        groups = way()
        seconds, busy = time.perf_counter() - began, time.process_time() - used
        scores = cluster_scores(people, groups).bcubed
        rates = f"F {scores.f:.2%}, precision {scores.precision:.2%}, recall {scores.recall:.2%}"
        print(f"  {name:33} {busy:8.1f} CPU s {seconds:8.1f} s  B-cubed {rates}", flush=True)


def link_random(options: argparse.Namespace) -> None:
    """Prints time, peak memory and B-cubed of average linkage, as the command runs it."""
    rng, people = np.random.default_rng(0), np.arange(options.faces) // 20
    rows = rng.standard_normal((people[-1] + 1, options.dim), dtype=np.float32)[people]
    for start in range(0, len(rows), _AT_ONCE):
        block = rows[start : start + _AT_ONCE]
        block += options.noise * rng.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    began, used = time.perf_counter(), time.process_time()
    approximate = neighbor_graph.is_search_approximate
    with mock.patch.object(
        neighbor_graph, "is_search_approximate", (lambda _: False) if options.exact else approximate
    ):
        found = link_faces(rows, np.arange(len(rows)), options.threshold)
    seconds, busy = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    neighbors = "" if found.recall is None else f", {found.recall:.1%} of the neighbors of a sample found"
    print(f"{len(rows):,} x {options.dim}, threshold {options.threshold}, {found.search}{neighbors}")
    print(f"  {busy:.1f} CPU s, {seconds:.1f} s, {memory:,.0f} MiB with the embeddings")
    print(f"  B-cubed F {cluster_scores(people.tolist(), found.groups).bcubed.f:.2%}")


def main() -> None:
    """Runs one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("command", "methods", "random"))
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2, help="of command")
    parser.add_argument("--store", type=Path, help="of methods: a store with names")
    parser.add_argument("--threshold", type=float, default=0.4, help="of methods and random")
    parser.add_argument("--centers", type=float, help="of methods: threshold for the centers of groups, such as 0.511")
    parser.add_argument("--exact", action="store_true", help="of random: compare all faces, as without FAISS")
    parser.add_argument("--noise", type=float, default=0.8, help="of random: spread of the faces of a person")
    options = parser.parse_args()
    {"command": measure_command, "methods": compare_methods, "random": link_random}[options.what](options)


if __name__ == "__main__":
    main()
