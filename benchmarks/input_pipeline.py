"""Measures the input of training from a large container: index, start, memory, rate, and resume at a random step.

Usage: python benchmarks/input_pipeline.py FACES --records 1000000 --scratch FOLDER [--folder]

The container repeats the pictures of FACES, a folder of folders of JPEG files. The rate is compared with that of
PyTorch's DataLoader over an ImageFolder of FACES, in turn, with the same number of processes, on the same number of
pictures in random order. Both give batches of 8-bit pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.artifacts import CACHE_VARIABLE
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.sources.record_file import RecordWriter

_MOST_LINKS = 30_000
"""Hard links to one file; file systems limit them."""


def write_records(faces: Path, records: int, out: Path) -> int:
    """Writes the pictures of a folder repeatedly, each time as different people; returns the number of bytes."""
    pictures = sorted(faces.glob("*/*.jpg"))
    people = {name: label for label, name in enumerate(sorted({picture.parent.name for picture in pictures}))}
    contents = [(people[picture.parent.name], picture.read_bytes()) for picture in pictures]
    with RecordWriter(out, out.with_suffix(".idx")) as writer:
        for key in range(records):
            label, content = contents[key % len(contents)]
            writer.write(key, float(label + len(people) * (key // len(contents))), content)
    return out.stat().st_size


def write_folder(faces: Path, files: int, out: Path) -> int:
    """Writes a folder of hard links to copies of some pictures, 100 for each person; returns their size in bytes."""
    pictures = sorted(faces.glob("*/*.jpg"))[: -(-files // _MOST_LINKS) * 4]
    copies = [shutil.copy(picture, out.with_name(f"{out.name}-{place}.jpg")) for place, picture in enumerate(pictures)]
    for key in range(files):
        if key % 100 == 0:
            person = out / f"person-{key // 100:06d}"
            person.mkdir(parents=True)
        os.link(copies[key % len(copies)], person / f"{key:08d}.jpg")
    fingerprint = fingerprint_for_foreign_crops("arcface", 112).to_json()
    (out / DESCRIPTION).write_text(json.dumps({"kind": "faces", "fingerprint": fingerprint}))
    return sum(Path(copy).stat().st_size for copy in copies) * files // len(copies)


def resident() -> int:
    """Returns the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def start(container: Path, small: Path) -> dict[str, float]:
    """Opens a container for training, as the trainers do, and reports seconds and bytes per face."""
    from faceclr_cli.core.configs.center import CenterConfig
    from faceclr_cli.core.datasets.samplers import shuffled_batches
    from faceclr_cli.core.events import Silent
    from faceclr_cli.core.training.training_sets import TrainingSets, decode_listing, list_faces, open_sets

    config = CenterConfig(data=(container,), pixels="streamed")

    def open_all(path: Path) -> TrainingSets:
        faces = decode_listing(list_faces(config, [path], []), "streamed", Silent())
        return open_sets(config, faces, [path], [], Silent())

    first = open_all(small)
    first.train.crops(np.arange(128) % len(first.train))
    before, began, computing = resident(), time.perf_counter(), time.process_time()
    sets = open_all(container)
    batches = shuffled_batches(len(sets.train), 128, seed=0, epoch=0)
    seconds, computing = time.perf_counter() - began, time.process_time() - computing
    sets.train.crops(batches[-1])
    grown = (resident() - before) / len(sets.train)
    return {"seconds": seconds, "bytes_a_face": grown, "computing": computing}


def rate(batches: Iterable[Any], count: int) -> float:
    """Returns the pictures per second of a supply of batches."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - began)


def compare_rates(container: Path, faces: Path, rounds: int, pictures: int, workers: int) -> list[tuple[float, float]]:
    """Returns the rates of faceclr's supply and of PyTorch's DataLoader, by round."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    from faceclr_cli.core.datasets.face_sets import open_face_set
    from faceclr_cli.core.datasets.joined_faces import join
    from faceclr_cli.core.datasets.packed_faces import stream
    from faceclr_cli.core.datasets.samplers import shuffled_batches
    from faceclr_cli.core.training.batch_supply import BatchSupply

    joined = join([(container, stream(open_face_set(container)))])
    folder = ImageFolder(str(faces), transform=PILToTensor())
    supply = BatchSupply(joined, torch.device("cpu"), workers)
    wanted: list[list[int]] = []  # The batches of the round, which the loader reads when it starts.
    loader: DataLoader[Any] = DataLoader(folder, batch_sampler=wanted, num_workers=workers, persistent_workers=True)
    found = []
    try:
        # Start the processes of both.
        rate(supply(shuffled_batches(len(joined), 64, seed=0, epoch=0)[:2]), 1)
        wanted[:] = [[0, 1], [2, 3]]
        rate(loader, 1)
        for number in range(rounds):
            size = min(256, pictures)
            ours = shuffled_batches(len(joined), size, seed=0, epoch=number)[: pictures // size]
            theirs = shuffled_batches(len(folder), min(size, len(folder)), seed=0, epoch=number)
            wanted[:] = [theirs[place % len(theirs)].tolist() for place in range(pictures // size)]
            # In turn, so that other programs slow both down equally.
            other = rate(loader, sum(map(len, wanted))) if number % 2 else 0.0
            one = rate(supply(ours), sum(map(len, ours)))
            found.append((one, other or rate(loader, sum(map(len, wanted)))))
    finally:
        supply.close()
    return found


def resumes_exactly(container: Path, steps: int) -> float:
    """Returns the seconds from a random step to its batch, which must be that of an uninterrupted run."""
    from faceclr_cli.core.datasets.face_sets import open_face_set
    from faceclr_cli.core.datasets.joined_faces import join
    from faceclr_cli.core.datasets.packed_faces import stream
    from faceclr_cli.core.datasets.samplers import shuffled_batches

    def batch(epoch: int, place: int) -> np.ndarray[Any, Any]:
        faces = join([(container, stream(open_face_set(container)))])
        return faces.crops(shuffled_batches(len(faces), 16, seed=3, epoch=epoch)[place])

    epoch, place = np.random.default_rng(7).integers((5, steps)).tolist()
    expected, began = batch(epoch, place), time.perf_counter()
    again = batch(epoch, place)
    if not np.array_equal(expected, again):
        raise SystemExit("the batch of a resumed run differs")
    return time.perf_counter() - began


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--folder", action="store_true", help="measure a folder of as many files, not a record file")
    parser.add_argument("--scratch", type=Path, default=Path("scratch"))
    parser.add_argument("--pictures", type=int, default=20_000, help="pictures of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        print(json.dumps(start(*options.start)))
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    os.environ[CACHE_VARIABLE] = str(options.scratch / "cache")
    suffix, write, what = ("", write_folder, "files") if options.folder else (".rec", write_records, "records")
    container, small = options.scratch / f"large{suffix}", options.scratch / f"small{suffix}"
    for path, count in ((container, options.records), (small, min(5000, options.records))):
        if not path.exists():
            print(f"{count:,} {what}, {write(options.faces, count, path) / 1e9:.2f} GB", flush=True)
    time.sleep(4 * options.folder)  # The listing of a folder that changed a moment ago is not kept.
    for name in ("first start (lists and indexes the faces)", "second start", "third start"):
        command = [sys.executable, __file__, str(options.faces), "--start", str(container), str(small)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures = json.loads(done.stdout)
        seconds, computing, grown = (figures[each] for each in ("seconds", "computing", "bytes_a_face"))
        print(f"{name}: {seconds:.2f} s ({computing:.2f} s of computing), {grown:.1f} bytes a face", flush=True)
    seconds = resumes_exactly(container, options.records // 16)
    print(f"a random step: the same batch, after {seconds:.2f} s")
    pairs = compare_rates(container, options.faces, options.rounds, options.pictures, options.workers)
    for ours, theirs in pairs:
        print(f"faceclr {ours:,.0f}/s  DataLoader over ImageFolder {theirs:,.0f}/s  ratio {ours / theirs:.2f}")
    middle = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"median ratio {middle:.2f}, {options.workers} processes each")


if __name__ == "__main__":
    main()
