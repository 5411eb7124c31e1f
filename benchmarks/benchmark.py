"""`faceclr benchmark` on several .bin files, compared with a plain loop that only decodes and embeds the same pictures.

python benchmarks/benchmark.py FACES [--sets 5] [--pairs 6000] [--model sface] [--scratch DIR]

FACES is a folder of aligned 112 x 112 crops with a folder for each person. The script draws the pairs of each set,
writes the .bin files, and prints the time of the loop, of a first run, and of a second run whose embeddings are cached,
which is the work of the command apart from embedding.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from faceclr_cli.core.datasets.pairs.sampled_pairs import sample_pairs
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin, write_bin

_BATCH = 64


def write_sets(faces: Path, folder: Path, sets: int, pairs: int) -> list[Path]:
    """Draws pairs and writes the sets; half of the pairs are genuine."""
    paths = sorted(path for path in faces.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    names, people = [str(path) for path in paths], [path.parent.name for path in paths]
    written = []
    for number in range(sets):
        drawn = sample_pairs(names, people, count=pairs // 2, seed=number)
        path = folder / f"set-{number + 1}.bin"
        write_bin(path, ((Path(p.a).read_bytes(), Path(p.b).read_bytes(), bool(p.same)) for p in drawn))
        written.append(path)
    return written


def plain_loop(paths: Sequence[Path], model: str) -> tuple[int, float]:
    """Decodes and embeds each picture once in this process; returns their number and the seconds."""
    encoder = load_encoder(model, "cpu")
    done, began = 0, time.perf_counter()
    for path in paths:
        with InsightfaceBin(path) as file:
            numbers = iter({digest: number for number, digest in enumerate(file.content_hashes())}.values())
            while batch := list(islice(numbers, _BATCH)):
                encoder.embed(np.stack([decode_picture(file.picture(number), path) for number in batch]))
                done += len(batch)
    return done, time.perf_counter() - began


def run_command(paths: Sequence[Path], model: str, cache: Path) -> tuple[float, float]:
    """Runs the command in a process of its own; returns its seconds, and the peak memory so far in MB."""
    command = [sys.executable, "-m", "faceclr_cli", "benchmark", *map(str, paths), "--model", model, "--json", "-q"]
    began = time.perf_counter()
    variables = os.environ | {"FACECLR_CACHE": str(cache)}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - began
    require_measured(done.stdout)
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def require_measured(printed: bytes) -> None:
    """Raises a ValueError if a set was not measured."""
    failed = [cell["reason"] for cell in json.loads(printed)["cells"] if cell["reason"]]
    if failed:
        raise ValueError(f"not measured: {failed[0]}")


def main() -> None:
    """Runs the benchmark and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=6000, help="pairs of each set")
    parser.add_argument("--model", default="sface")
    parser.add_argument("--scratch", type=Path, help="folder for the .bin files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as place:
        paths = write_sets(options.faces, Path(place), options.sets, options.pairs)
        size = sum(path.stat().st_size for path in paths) / 2**20
        pictures, loop = plain_loop(paths, options.model)
        first, memory = run_command(paths, options.model, Path(place) / "cache")
        second, _ = run_command(paths, options.model, Path(place) / "cache")
    print(f"{len(paths)} sets, {size:.0f} MB, {pictures} pictures, {options.model}")
    print(f"plain loop over the encoder  {loop:8.1f} s  {pictures / loop:6.0f} pictures/s")
    print(f"first run                    {first:8.1f} s  {100 * (first - loop) / first:6.0f}% besides the loop")
    print(f"second run, all cached       {second:8.1f} s  {100 * second / first:6.0f}% of the first run")
    print(f"peak memory                  {memory:8.0f} MB")


if __name__ == "__main__":
    main()
