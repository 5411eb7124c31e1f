"""Throughput of `faceclr embed` compared with the encoder alone, and its memory and disk usage.

`rate`: an untrained encoder embeds prepared faces with PyTorch and, after export, with ONNX Runtime. The time of
`faceclr embed` from files to rows on disk, without loading the encoder, is compared with bare forward passes on
batches in memory, with the same number of threads and batch size, in alternating rounds. The forward passes are
measured twice: in a separate process, as in a script without faceclr, and in the process of embed, which keeps freed
memory for the next batch and is the fastest possible.

`sface`: the built-in encoder in each engine, and `faceclr embed` with it in float32 and bf16, in one run. Faces are
compared with the bare forward, photographs with both stages one after the other: 1 / (1 / detection + 1 / forward).

`size`: runs `faceclr embed` as a process on folders with increasing numbers of prepared faces, which are links to a
few drawings, with a network small enough for millions of faces in minutes. Prints the peak memory, and the size of the
store relative to its numbers and paths.

    python benchmarks/embed.py rate FACES --rounds 5
    python benchmarks/embed.py sface FACES --photos PHOTOS
    python benchmarks/embed.py size --rows 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.configs.embed import ComputePrecision, EmbedConfig
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.face_folder import DESCRIPTION, open_faces
from faceclr_cli.core.workers.process import claim_process

_LINKED = 64  # Number of different files; ext4 limits a file to 65,000 names.
_PER_FOLDER = 1000

Crops = NDArray[np.uint8]


def untrained(faces: Path, out: Path, backbone: str, size: int, dim: int) -> Path:
    """Writes an untrained encoder for the given crops and returns its folder."""
    from faceclr_cli.core.training.trainers import pretrain

    config = PretrainConfig(
        data=(faces,),
        out=out,
        epochs=0,
        hold_out=0.0,
        device="cpu",
        backbone=backbone,
        image_size=size,
        embedding_dim=dim,
    )
    pretrain(config, Silent())
    return out


def bare_torch(encoder: Path, crops: Crops, batch: int) -> Callable[[], None]:
    """Returns a function that runs the PyTorch network alone, on batches in memory."""
    import torch

    from faceclr_cli.core.encoders.encoder_folder import load_network
    from faceclr_cli.core.encoders.network import normalize_pixels

    network, description = load_network(encoder)
    network = network.to(memory_format=torch.channels_last).eval()
    size = description.architecture.image_size
    batches = [normalize_pixels(torch.tensor(part), size) for part in parts_of(crops, batch)]

    @torch.inference_mode()
    def forward() -> None:
        for pictures in batches:
            network(pictures)

    return forward


def bare_onnx(encoder: Path, crops: Crops, batch: int) -> Callable[[], None]:
    """Returns a function that runs the exported graph alone in ONNX Runtime, on batches in memory."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    graph = str(encoder / "encoder" / "encoder.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    batches = parts_of(crops, batch)

    def forward() -> None:
        for part in batches:
            session.run(None, {"crops": part})

    return forward


ENGINES: dict[str, Callable[[Path, Crops, int], Callable[[], None]]] = {
    "PyTorch": bare_torch,
    "ONNX Runtime": bare_onnx,
}


class SeparateProcess:
    """Bare forward passes in a separate process."""

    def __init__(self, engine: str, encoder: Path, crops: Path, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        context.Process(target=_serve_forward_passes, args=(theirs, engine, encoder, crops, batch), daemon=True).start()
        self._ours.recv()

    def __call__(self) -> None:
        """Runs the forward passes and waits for them."""
        self._ours.send(None)
        self._ours.recv()


def _serve_forward_passes(pipe: Connection, engine: str, encoder: Path, crops: Path, batch: int) -> None:
    forward = ENGINES[engine](encoder, np.load(crops), batch)
    forward()
    with suppress(EOFError):  # the other end was closed
        while True:
            pipe.send(None)
            pipe.recv()
            forward()


def parts_of(crops: Crops, batch: int) -> list[Crops]:
    """Splits the crops into batches."""
    return [crops[start : start + batch] for start in range(0, len(crops), batch)]


def measure_rate(arguments: argparse.Namespace) -> None:
    """Prints the pictures per second of both engines."""
    from faceclr_cli.core.embeddings.embed import embed
    from faceclr_cli.core.encoders.export import export

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        faces = links_to_some(arguments.faces, place / "faces", arguments.pictures)
        paths = [faces / name for name in open_faces(faces).paths]
        crops = np.stack([read_photo(path) for path in paths])
        np.save(place / "crops.npy", crops)
        encoder = untrained(faces, place / "encoder", arguments.backbone, 112, 512)
        for engine, bare in ENGINES.items():
            if engine == "ONNX Runtime":
                export(ExportConfig(run=encoder), Silent())  # From here on, embed uses the graph.
            separate = SeparateProcess(engine, encoder, place / "crops.npy", arguments.batch_size)
            here = bare(encoder, crops, arguments.batch_size)
            config = EmbedConfig(faces=faces, model=str(encoder), batch_size=arguments.batch_size, device="cpu")
            embed(replace(config, out=place / f"{engine}.h5"), Silent())
            rates: dict[str, list[float]] = {"alone": [], "here": [], "ours": []}
            for number in range(arguments.rounds):
                for name, forward in (("alone", separate), ("here", here)):
                    began = time.perf_counter()
                    forward()
                    rates[name].append(len(crops) / (time.perf_counter() - began))
                out = place / f"{engine}-{number}.h5"
                rates["ours"].append(embed(replace(config, out=out), Silent()).faces_per_second)
            print(f"{engine}, {arguments.backbone} at 112, batch {arguments.batch_size}, pictures per second:")
            print(f"  faceclr embed                        {statistics.median(rates['ours']):.0f}")
            for name, label in (("alone", "bare forward, separate process"), ("here", "bare forward, memory kept")):
                ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates[name], strict=True)]
                each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"  {label:<36} {statistics.median(rates[name]):.0f}", end="")
                print(f"  ratio {statistics.median(ratios):.2f} (rounds: {each})", flush=True)


def measure_sface(arguments: argparse.Namespace) -> None:
    """Prints the pictures per second of each engine of `sface`, and of `faceclr embed` with it."""
    claim_process()  # as the commands do, whose memory allocator is faster
    from faceclr_cli.core.encoders.built_in_network import load_sface_encoder
    from faceclr_cli.core.encoders.loader import load_encoder

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        faces = links_to_some(arguments.faces, place / "faces", arguments.pictures)
        crops = np.stack([read_photo(faces / name) for name in open_faces(faces).paths])
        batches, count = parts_of(crops, arguments.batch_size), len(crops)
        engines: dict[str, Encoder] = {
            "OpenCV": load_encoder("sface", "cpu", one_off=True),
            "PyTorch": load_sface_encoder("cpu"),
            "ONNX Runtime": load_encoder("sface", "cpu"),
            "PyTorch bf16": load_encoder("sface", "cpu", precision="bf16"),
        }
        forward = {name: timed(partial(embed_all, encoder, batches)) for name, encoder in engines.items()}
        embed_faces = {
            "ONNX Runtime": embedder(faces, place, count, arguments.batch_size, "float32"),
            "PyTorch bf16": embedder(faces, place, count, arguments.batch_size, "bf16"),
        }
        rates: dict[str, list[float]] = {}
        for number in range(arguments.rounds + 1):
            for name, run in forward.items():
                note_rate(rates, f"{name}, bare forward", number, count, run)
                if name in embed_faces:
                    note_rate(rates, f"{name}, embed faces", number, count, embed_faces[name])
        print_ratios(rates, "embed faces", "bare forward")
        if arguments.photos is not None:
            measure_photos(arguments, rates, place)


def measure_photos(arguments: argparse.Namespace, rates: dict[str, list[float]], place: Path) -> None:
    """Prints the photographs per second of detection alone and of `faceclr embed`."""
    from faceclr_cli.core.embeddings.crop_source import list_pictures, open_source
    from faceclr_cli.core.embeddings.loaded_pictures import LoadedPicture
    from faceclr_cli.core.encoders.sface_description import sface_fingerprint

    config, wanted = EmbedConfig(faces=arguments.photos), sface_fingerprint()
    listing = list_pictures(config, arguments.photos, wanted, Silent())
    folder = place / "photos"
    for photo in islice(listing.photos, arguments.pictures):
        (folder / photo.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / photo.name).symlink_to(photo.path.resolve())
    source = open_source("largest", list_pictures(config, folder, wanted, Silent()), wanted)

    def detect() -> int:
        return sum(isinstance(item, LoadedPicture) for item in source.load(2 * arguments.batch_size, in_bursts=True))

    count = detect()
    runs = {
        "ONNX Runtime": embedder(folder, place, count, arguments.batch_size, "float32"),
        "PyTorch bf16": embedder(folder, place, count, arguments.batch_size, "bf16"),
    }
    own: dict[str, list[float]] = {}
    for number in range(arguments.rounds + 1):
        note_rate(own, "detection", number, count, timed(detect))
        for name, run in runs.items():
            note_rate(own, name, number, count, run)
    for name in runs:
        forward = rates[f"{name}, bare forward"]
        ratios = [
            whole * (1 / found + 1 / alone)
            for whole, found, alone in zip(own[name], own["detection"], forward, strict=True)
        ]
        print(
            f"{name}, embed photographs  {statistics.median(own[name]):.0f} per second, detection "
            f"{statistics.median(own['detection']):.0f}, ratio to both stages {statistics.median(ratios):.2f}"
        )


def embedder(faces: Path, place: Path, count: int, batch: int, precision: ComputePrecision) -> Callable[[], float]:
    """Returns a function that runs `embed` with a new store, and returns its seconds without loading the encoder."""
    from faceclr_cli.core.embeddings.embed import embed

    def run() -> float:
        out = place / f"{precision}.h5"
        out.unlink(missing_ok=True)
        result = embed(EmbedConfig(faces=faces, out=out, device="cpu", batch_size=batch, precision=precision), Silent())
        if result.faces != count:
            raise SystemExit(f"{result.faces} of {count} pictures embedded")
        return result.seconds

    return run


def embed_all(encoder: Encoder, batches: list[Crops]) -> None:
    """Embeds batches in memory."""
    for batch in batches:
        encoder.embed(batch)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Returns a function that runs another and returns its seconds."""

    def measure() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return measure


def note_rate(rates: dict[str, list[float]], name: str, number: int, count: int, run: Callable[[], float]) -> None:
    """Measures a run and keeps its rate, except in round 0."""
    seconds = run()
    if number:
        rates.setdefault(name, []).append(count / seconds)


def print_ratios(rates: dict[str, list[float]], of: str, to: str) -> None:
    """Prints the medians, and the medians of the ratios of pairs."""
    for name, each in rates.items():
        line = f"{name:<28} {statistics.median(each):.0f} per second"
        if name.endswith(of):
            pairs = zip(each, rates[name.replace(of, to)], strict=True)
            line += f", ratio {statistics.median(mine / theirs for mine, theirs in pairs):.2f}"
        print(line, flush=True)


def links_to_some(faces: Path, out: Path, count: int) -> Path:
    """Creates a folder with links to the first prepared faces."""
    folder = open_faces(faces)
    for name in islice(folder.paths, count):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).symlink_to((faces / name).resolve())
    write_json(out / DESCRIPTION, {**stamp("faces", {}), "fingerprint": folder.fingerprint.to_json()})
    return out


def measure_size(arguments: argparse.Namespace) -> None:
    """Prints the peak memory and the size on disk for each number of rows."""
    import cv2

    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        place = Path(scratch)
        write_people(place / "people", _LINKED // 4, 4, 0, Silent())
        cropper, crops = PhotoCropper(default_fingerprint()), place / "crops"
        crops.mkdir()
        for number, path in enumerate(sorted((place / "people").rglob("*.jpg"))):
            cv2.imwrite(str(crops / f"{number}.jpg"), cropper.crop_file(path).crop[..., ::-1])
        describe(crops.parent / "some" / "people", crops, _LINKED)
        encoder = untrained(place / "some", place / "encoder", "test_resnet", 32, 128)
        for rows in arguments.rows:
            faces = place / f"faces-{rows}"
            describe(faces / "all", crops, rows)
            out = place / f"{rows}.h5"
            command = [sys.executable, "-m", "faceclr_cli", "embed", str(faces), "-m", str(encoder), "-o", str(out)]
            began = time.perf_counter()
            peak = peak_of([*command, "--batch-size", "256", "--quiet"])
            paths = sum(len(name) for name in open_faces(faces).paths)
            numbers = rows * 128 * 4
            print(
                f"{rows:>9,} rows: peak {peak / 2**20:,.0f} MiB, store {out.stat().st_size / 2**20:,.1f} MiB, "
                f"{out.stat().st_size / (numbers + paths):.3f} of its numbers and paths, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
            out.unlink()


def describe(people: Path, crops: Path, rows: int) -> None:
    """Creates a folder of prepared faces: many names of few files."""
    files = sorted(crops.iterdir())
    for number in range(rows):
        folder = people.with_name(f"{people.name}-{number // _PER_FOLDER:06d}")
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(files[number % len(files)], folder / f"{number:09d}.jpg")
    content = {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()}
    write_json(people.parent / DESCRIPTION, content)


def peak_of(command: list[str]) -> int:
    """Returns the peak memory of a process in bytes."""
    # Started by an intermediate process, since the kernel reports the maximum over all children.
    program = (
        "import json, resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
        "print(json.dumps([code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, text=True, check=True)
    code, kibibytes = json.loads(done.stdout.splitlines()[-1])
    if code:
        raise SystemExit(code)
    return int(kibibytes) * 1024


def main() -> None:
    """Runs the selected benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(required=True)
    rate, sface = parsers.add_parser("rate"), parsers.add_parser("sface")
    for each, pictures in ((rate, 4000), (sface, 1000)):
        each.add_argument("faces", type=Path, help="prepared faces of 112x112")
        each.add_argument("--pictures", type=int, default=pictures)
        each.add_argument("--batch-size", type=int, default=64)
        each.add_argument("--rounds", type=int, default=5)
    rate.add_argument("--backbone", default="convnext_atto")
    rate.set_defaults(run=measure_rate)
    sface.add_argument("--photos", type=Path, help="a folder of photographs")
    sface.set_defaults(run=measure_sface)
    size = parsers.add_parser("size")
    size.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    size.add_argument("--scratch", type=Path, help="folder for temporary files, with enough inodes")
    size.set_defaults(run=measure_size)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
