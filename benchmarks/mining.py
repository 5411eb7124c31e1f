"""Time and memory of mining hard negatives from an embedding bank in `faceclr train-triplet`.

The bank contains random unit vectors, several per person. For each anchor, random pictures of other people are drawn
as candidates, and the closest is the negative. `faceclr` is the function that the command calls, including the
drawing. The plain Python loop follows common FaceNet scripts: it draws until the person differs, and computes one
squared distance at a time; it runs on few anchors and is scaled. The ceiling is a gather and a batched product on
given candidates. Each measurement runs in a separate process, in alternating rounds. Memory is the peak of the process
minus its memory before the first anchor. Computing the embeddings is not included.

    python benchmarks/mining.py [--pictures 200000] [--anchors 100000] [--candidates 50] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.datasets.triplet_lists import PicturesByPerson

Figures = dict[str, float]
Choose = Callable[[], NDArray[np.int64] | None]
PER = 100_000
"""Number of anchors that the results are scaled to."""
CEILING_BLOCK = 1 << 22
"""Number of values that the ceiling gathers at a time; the fastest power of two."""


def faceclr(bank: torch.Tensor, labels: NDArray[np.int64], anchors: NDArray[np.int64], candidates: int) -> Choose:
    """Returns the function that `train-triplet --mining bank` calls before an epoch."""
    people = PicturesByPerson(labels)
    return lambda: people.sample_hard_negatives(anchors, candidates, bank, np.random.default_rng(1))


def plain_loop(bank: torch.Tensor, labels: NDArray[np.int64], anchors: NDArray[np.int64], candidates: int) -> Choose:
    """Returns the plain loop, with `random.randrange`, the fastest sampling function in such scripts."""
    embeddings = bank.numpy()

    def choose() -> NDArray[np.int64]:
        random.seed(1)
        negatives = []
        for anchor in anchors:
            negative, least, drawn = -1, math.inf, 0
            while drawn < candidates:
                other = random.randrange(len(labels))
                if labels[other] != labels[anchor]:
                    distance = np.sum(np.square(embeddings[anchor] - embeddings[other]))
                    if distance < least:
                        negative, least = other, distance
                    drawn += 1
            negatives.append(negative)
        return np.array(negatives)

    return choose


def ceiling(bank: torch.Tensor, labels: NDArray[np.int64], anchors: NDArray[np.int64], candidates: int) -> Choose:
    """Returns the gather and product alone, without drawing candidates or choosing negatives."""
    drawn = torch.from_numpy(PicturesByPerson(labels).sample_negatives(anchors, candidates, np.random.default_rng(1)))
    asked, dim = torch.from_numpy(anchors), bank.shape[1]
    step = max(1, CEILING_BLOCK // (candidates * dim))

    def choose() -> None:
        for start in range(0, len(asked), step):
            block = drawn[start : start + step]
            rows = bank.index_select(0, block.flatten()).view(len(block), candidates, dim)
            torch.bmm(rows, bank.index_select(0, asked[start : start + step])[:, :, None])

    return choose


CONTESTANTS = {"faceclr": faceclr, "plain Python loop": plain_loop, "ceiling": ceiling}


def held(name: str) -> float:
    """Returns the current (`VmRSS`) or peak (`VmHWM`) memory of this process in MiB."""
    # getrusage would include the memory of the parent at the start of this process.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def measure(name: str, options: argparse.Namespace) -> Figures:
    """Runs one contestant in this process."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    bank = torch.empty(options.pictures, options.dim).normal_(generator=generator)
    bank.div_(torch.linalg.vector_norm(bank, dim=1, keepdim=True))
    # Sorted by person, as in a folder of faces.
    labels = np.sort(np.arange(options.pictures) % options.people)
    count = min(options.anchors, options.loop_anchors) if name == "plain Python loop" else options.anchors
    anchors = rng.integers(0, options.pictures, count)
    choose = CONTESTANTS[name](bank, labels, anchors, options.candidates)
    Path("/proc/self/clear_refs").write_text("5")  # Resets the peak.
    before = held("VmRSS")
    began = time.perf_counter()
    negatives = choose()
    seconds = time.perf_counter() - began
    figures = {"seconds": seconds, "anchors": float(count), "memory": held("VmHWM") - before}
    if negatives is not None:
        if (labels[negatives] == labels[anchors]).any():
            raise SystemExit(f"{name}: an anchor's negative shows the same person")
        figures["cosine"] = float((bank[anchors] * bank[negatives]).sum(dim=1).mean())
    return figures


def measured(name: str, options: argparse.Namespace) -> Figures:
    """Runs one contestant in a new process."""
    command = [sys.executable, __file__, "--only", name]
    for option in ("pictures", "dim", "people", "anchors", "loop_anchors", "candidates"):
        command += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def show(taken: dict[str, list[Figures]]) -> None:
    """Prints medians over the rounds, and medians of the ratios within a round."""

    def seconds(figures: Figures) -> float:
        return figures["seconds"] * PER / figures["anchors"]

    print(f"{'':18}{'anchors':>9}{'seconds':>9}{f'for {PER:,}':>13}{'ratio':>8}{'MiB above':>11}{'cosine':>8}")
    for name, column in taken.items():
        ratios = [seconds(theirs) / seconds(ours) for ours, theirs in zip(taken["faceclr"], column, strict=True)]
        cosine = f"{column[0]['cosine']:8.3f}" if "cosine" in column[0] else ""
        print(
            f"{name:18}{column[0]['anchors']:9.0f}"
            f"{statistics.median(figures['seconds'] for figures in column):9.2f}"
            f"{statistics.median(map(seconds, column)):13.2f}{statistics.median(ratios):8.2f}"
            f"{max(figures['memory'] for figures in column):11.0f}{cosine}"
        )
    count = int(taken["plain Python loop"][0]["anchors"])
    print(f"The plain loop ran on {count:,} anchors and was scaled. ratio: time relative to faceclr.")
    print("MiB above: peak in any round, above the bank. cosine: mean similarity of anchors and negatives.")


def main() -> None:
    """Prints the machine and a table of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--anchors", type=int, default=100_000)
    parser.add_argument(
        "--loop-anchors", type=int, default=2_000, help="number of anchors of the plain loop (default: 2000)"
    )
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CONTESTANTS, help="measure one contestant in this process and print JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    print(f"{len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    bank = options.pictures * options.dim * 4 / 2**20
    print(
        f"{options.pictures:,} pictures of {options.people:,} people, {options.dim} dimensions ({bank:.0f} MiB); "
        f"{options.candidates} candidates for each anchor; medians of {options.rounds} rounds"
    )
    taken: dict[str, list[Figures]] = {name: [] for name in CONTESTANTS}
    for number in range(options.rounds):
        for name in list(CONTESTANTS)[:: -1 if number % 2 else 1]:
            taken[name].append(measured(name, options))
    show(taken)


if __name__ == "__main__":
    main()
