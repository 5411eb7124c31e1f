"""Photographs per second of `faceclr prepare`, compared with facenet-pytorch's MTCNN and with an upper bound.

The upper bound reads, decodes, detects (YuNet) and warps in one process per core, and writes nothing. MTCNN is
facenet-pytorch's `MTCNN(image_size=160)` with `save_path`, on a subset of the photographs: in one process, as in its
examples, and in one process per core with one thread each, which users would have to implement. All run in alternating
rounds. The rates of the upper bound and of MTCNN exclude the loading of the networks; that of prepare is for the whole
command.

    python benchmarks/prepare.py lfw/ [--rounds 3]
    python benchmarks/prepare.py --memory 12-megapixels.jpg

With `--memory`: the peak memory of a worker for copies of one large photograph.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def bare(photos: list[Path]) -> float:
    """Reads, decodes, detects and warps; returns the seconds."""
    from faceclr_cli.core.faces.align import Alignment
    from faceclr_cli.core.faces.decode import decode_picture
    from faceclr_cli.core.faces.yunet import YuNet
    from faceclr_cli.core.workers.memory import PICTURE, keep_memory

    cv2.setNumThreads(1)
    keep_memory(*PICTURE)
    detector, alignment = YuNet(), Alignment()
    began = time.perf_counter()
    for photo in photos:
        image = decode_picture(photo.read_bytes(), photo)
        faces = detector.detect(image)
        if faces:
            alignment.cut(image, max(faces, key=lambda face: face.area))
    return time.perf_counter() - began


def mtcnn(photos: list[Path], *, is_alone: bool = False) -> float:
    """Detects, crops and saves with facenet-pytorch; returns the seconds."""
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    if not is_alone:
        torch.set_num_threads(1)
    network = MTCNN(image_size=160, device="cpu")
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        for number, photo in enumerate(photos):
            network(Image.open(photo).convert("RGB"), save_path=f"{out}/{number}.jpg")
        return time.perf_counter() - began


def rate(work: Callable[[list[Path]], float], photos: list[Path], workers: int) -> float:
    """Returns the photographs per second with the given number of processes."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return len(photos) / max(pool.map(work, [photos[start::workers] for start in range(workers)], chunksize=1))


def prepare(source: Path, *options: str) -> float:
    """Returns the seconds of the whole command with an empty output folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "faceclr_cli", "prepare", str(source), "-o", f"{folder}/faces", "--quiet"]
        began = time.perf_counter()
        subprocess.run([*command, *options], check=True)
        return time.perf_counter() - began


def memory(photo: Path) -> None:
    """Prints the peak memory of any process for 200 copies of a photograph."""
    from faceclr_cli.core.faces.decode import read_photo

    with tempfile.TemporaryDirectory() as folder:
        for number in range(200):
            shutil.copy(photo, f"{folder}/{number:03}{photo.suffix}")
        seconds = prepare(Path(folder))
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    height, width = read_photo(photo).shape[:2]
    print(f"{width} x {height}: at most {most:.0f} MiB in one process, {200 / seconds:.0f} photographs per second")


def main() -> None:
    """Prints the rates of each round, their medians, and the medians of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder of photographs, or with --memory one photograph")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mtcnn-share", type=int, default=6, help="run MTCNN on every Nth photograph")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.source)
        return
    photos = sorted(path for path in arguments.source.rglob("*") if path.suffix.lower() in PICTURES)
    some, cores = photos[:: arguments.mtcnn_share], len(os.sched_getaffinity(0))
    rounds: dict[str, list[float]] = {
        "ceiling": [],
        "prepare": [],
        "MTCNN, 1 process": [],
        f"MTCNN, {cores} processes": [],
    }
    for number in range(arguments.rounds):
        figures = (
            rate(bare, photos, cores),
            len(photos) / prepare(arguments.source),
            rate(partial(mtcnn, is_alone=True), some, 1),
            rate(mtcnn, some, cores),
        )
        for column, figure in zip(rounds.values(), figures, strict=True):
            column.append(figure)
        print(f"round {number + 1}:", ", ".join(f"{column[-1]:.0f} {name}" for name, column in rounds.items()))
    print(f"{len(photos)} photographs, {cores} cores, medians of {arguments.rounds} rounds")
    for name, column in rounds.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rounds["prepare"], column, strict=True))
        print(f"{name:20} {statistics.median(column):6.0f} per second   prepare is {ratio:5.2f} times as fast")


if __name__ == "__main__":
    main()
