"""Search time in a loaded gallery of a million faces.

Compared with FAISS's exact index, if FAISS is installed, and with the matrix product of probes and gallery as a lower
bound. The script checks that all of them return the same people.

    python benchmarks/search.py --faces 1000000 --dim 128
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.metrics import gallery_search
from faceclr_cli.core.metrics.gallery_search import PeopleIndex

_MATCHES = 5
_BLOCK = 1 << 16


def crowd(faces: int, dim: int, probes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns a gallery with one face per person, and probes: half of them of these people, half of strangers."""
    chance = np.random.default_rng(0)
    gallery = chance.standard_normal((faces, dim), dtype=np.float32)
    asked = chance.standard_normal((probes, dim), dtype=np.float32)
    asked[::2] = gallery[: len(asked[::2])] + 0.8 * asked[::2]
    for rows in (gallery, asked):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return gallery, asked


def own(gallery: NDArray[np.float32], *, copy: bool) -> PeopleIndex:
    """Returns the index of faceclr, with or without an 8-bit copy of the gallery, after a warm-up search."""
    is_worth_quantizing = gallery_search.is_worth_quantizing if copy else lambda _: False
    with mock.patch.object(gallery_search, "is_worth_quantizing", is_worth_quantizing):
        index = PeopleIndex(gallery, np.arange(len(gallery)))
        index.search(gallery[:1], 1)
    return index


def bare(gallery: NDArray[np.float32], probes: NDArray[np.float32]) -> None:
    """Computes the matrix product alone."""
    for start in range(0, len(gallery), _BLOCK) if len(probes) > 1 else ():
        probes @ gallery[start : start + _BLOCK].T
    if len(probes) == 1:
        gallery @ probes[0]


def main() -> None:
    """Prints medians over alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    gallery, probes = crowd(options.faces, options.dim, 100)
    plain = own(gallery, copy=False)
    ways: dict[str, Callable[[NDArray[np.float32]], Any]] = {
        "matrix product": lambda asked: bare(gallery, asked),
        "faceclr": lambda asked: plain.search(asked, _MATCHES),
    }
    if find_spec("faiss") is not None:
        quick, faiss = own(gallery, copy=True), import_module("faiss")
        flat = faiss.IndexFlatIP(options.dim)
        flat.add(gallery)
        ways["faceclr with faiss"] = lambda asked: quick.search(asked, _MATCHES)
        ways["faiss, IndexFlatIP"] = lambda asked: flat.search(asked, _MATCHES)
        people = flat.search(probes, _MATCHES)[1]
        one_by_one = np.concatenate([quick.search(probe[None], _MATCHES).people for probe in probes])
        if not (np.array_equal(plain.search(probes, _MATCHES).people, people) and np.array_equal(one_by_one, people)):
            raise SystemExit("the results differ")
    for count, rounds in ((1, 5 * options.rounds), (len(probes), max(3, options.rounds // 3))):
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            asked = probes[number % 50 : number % 50 + 1] if count == 1 else probes
            for name, way in ways.items():
                began = time.perf_counter()
                way(asked)
                taken[name].append(time.perf_counter() - began)
        print(f"{count} of {options.faces:,} x {options.dim}, ms: median (minimum)")
        for name, times in taken.items():
            print(f"  {name:20} {1000 * statistics.median(times):8.1f} ({1000 * min(times):.1f})")


if __name__ == "__main__":
    main()
