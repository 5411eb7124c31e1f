"""`faceclr embed`: embeds faces or photographs, and writes a store or a file for other tools."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from faceclr_cli.core.configs.embed import STANDARD_OUTPUT, EmbedConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.datasets.input_discovery import find_prepared_folders, no_faces_error
from faceclr_cli.core.embeddings.block import PictureEmbedder
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.mirrored_crops import require_unnormalized
from faceclr_cli.core.embeddings.part_workers import AHEAD, report_progress
from faceclr_cli.core.embeddings.process_group import ProcessGroup, find_process_group
from faceclr_cli.core.embeddings.row_formats import open_row_writer
from faceclr_cli.core.embeddings.store import StoreOrigin
from faceclr_cli.core.embeddings.store_parts import NAMED_FAILURES, Totals
from faceclr_cli.core.embeddings.store_update import build_share, update_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import require_processes

_PROCESS_BYTES = 256 << 20
"""Minimum memory of a process, for the encoder and a batch of faces."""


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """Result of `embed`.

    Attributes:
        out: The store or other file, or `-` for standard output.
        encoder: Name of the encoder.
        dim: Length of an embedding.
        faces: Number of faces in the output.
        people: Number of people; 0 if they are unknown.
        embedded: Number of faces that this run embedded; the others were already in the store.
        pictures: Number of input pictures.
        gone: Rows of the existing store whose picture is not in the input. They are removed with --prune, and included
            in `faces` otherwise.
        bad: Number of files without a face.
        failures: Reasons for the first of these files.
        seconds: Duration without loading the encoder.
    """

    out: Path
    encoder: str
    dim: int
    faces: int
    people: int
    embedded: int
    pictures: int
    gone: int
    bad: int
    failures: tuple[str, ...]
    seconds: float

    @property
    def faces_per_second(self) -> float:
        """Throughput of this run."""
        return self.embedded / self.seconds

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = {"out": str(self.out), "failures": list(self.failures), "seconds": round(self.seconds, 3)}
        return asdict(self) | plain | {"faces_per_second": round(self.faces_per_second, 1)}


def embed(config: EmbedConfig, reporter: Reporter) -> EmbedResult:
    """Embeds all input faces and writes the embeddings.

    Files that cannot be read or show no face are skipped, counted and reported.

    Raises:
        ConfigError: No input was given, options do not apply to it, or the device is not available.
        DataError: The input is missing or has no pictures, no face was found, or the output cannot be written.
        FingerprintError: The fingerprint of the faces or of the existing store differs from the encoder's.
        LockedError: Another run is writing the same store.
        TooManyBadFilesError: The output was written, but the share of bad files exceeds `max_bad`.
        ModelError: There is no such encoder, or it is damaged.
    """
    with find_process_group() as place:
        if place is not None and config.file_format != "h5":
            raise ConfigError(f"torchrun started {place.world} processes, which can write only a store; omit --format")
        if place is None:
            return _run(config, None, reporter)
        if place.rank == 0:
            return place.share(_run(config, place, reporter))
        build_share(place)
        return place.share(None)


def _run(config: EmbedConfig, place: ProcessGroup | None, reporter: Reporter) -> EmbedResult:
    if config.faces is None:
        raise no_faces_error("embed", find_prepared_folders(Path()))
    require_processes("--processes", config.processes, _PROCESS_BYTES)
    encoder = load_encoder(
        config.model, _device(config, place), precision=config.precision, unnormalized=config.flip == "sum"
    )
    if config.flip == "sum":
        require_unnormalized(encoder)
    out = config.out or default_store_path(config.faces, encoder)
    if out.is_dir():
        raise ConfigError(
            f"{display_path(out)}: is a folder; give -o a file name, such as {display_path(out / 'faces.h5')}"
        )
    listing = list_pictures(config, config.faces, encoder.fingerprint, reporter, has_layout=True)
    if config.face == "all" and any(photo.identity for photo in listing.photos):
        text = "with --face all, every face in a photograph is assigned to the person of that photograph"
        reporter.report(Notice(text=text, level="warning"))
    origin = StoreOrigin(
        fingerprint=open_source(config.face, listing, encoder.fingerprint).fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        precision=config.precision,
        flip=config.flip,
        quality_level=config.quality,
        calibration=encoder.calibration,
        config=to_json(config),
    )
    began = time.perf_counter()
    if config.file_format == "h5":
        totals = update_store(config, out, listing, encoder, origin, place, reporter)
    else:
        totals = _write_rows(config, out, listing, encoder, origin, reporter)
    result = EmbedResult(
        out=out,
        encoder=encoder.name,
        dim=encoder.dim,
        faces=totals.faces,
        people=totals.people,
        embedded=totals.faces - totals.kept,
        pictures=len(listing.photos),
        gone=totals.gone,
        bad=totals.bad,
        failures=totals.failures,
        seconds=time.perf_counter() - began,
    )
    _report_result(result, config, reporter)
    return result


def _device(config: EmbedConfig, place: ProcessGroup | None) -> str:
    if place is not None:
        return place.device(config.device)
    if config.gpus is None:
        return "cpu" if config.processes > 1 else config.device
    import torch

    if torch.cuda.device_count() < config.gpus:
        raise ConfigError(
            f"--gpus {config.gpus}: torch found {torch.cuda.device_count()}; omit the option to use the CPU"
        )
    return "cuda"


def default_store_path(faces: Path, encoder: Encoder) -> Path:
    """Returns the default output path: `celeba-faces-sface.h5` for `celeba-faces` and `sface`."""
    name = faces.stem.removesuffix(".tar") if faces.is_file() else Path(os.path.abspath(faces)).name.strip("-")
    if faces == STANDARD_INPUT:
        name = "faces"
    return Path(f"{name or 'faces'}-{encoder.name}.h5")


def _write_rows(
    config: EmbedConfig, out: Path, listing: Listing, encoder: Encoder, origin: StoreOrigin, reporter: Reporter
) -> Totals:
    """Streams rows to a file for other tools."""
    faces = bad = 0
    people, failures = set[str | None](), list[str]()
    total = len(listing.photos)
    embedding = PictureEmbedder(encoder, batch_size=config.batch_size, flip=config.flip, quality=config.quality)
    source = open_source(config.face, listing, encoder.fingerprint, measures=config.quality != "none")
    items = report_progress(
        source.load(AHEAD * config.batch_size, in_bursts=encoder.fills_cores), total, config.batch_size, reporter
    )
    with open_row_writer(config.file_format, out, origin) as write:
        for _ in range(0, total, config.batch_size):
            block = embedding.block(islice(items, config.batch_size))
            if len(block.rows):
                write(block.rows)
            faces, bad = faces + len(block.rows), bad + len(block.failures)
            people.update(block.rows.identities)
            failures += block.failures[: NAMED_FAILURES - len(failures)]
        if not faces and out != STANDARD_OUTPUT:
            raise _no_faces(config, bad, failures)
    return Totals(faces=faces, people=len(people - {None}), kept=0, bad=bad, failures=tuple(failures))


def _no_faces(config: EmbedConfig, bad: int, failures: list[str] | tuple[str, ...]) -> DataError:
    if bad == 1 and failures:
        return DataError(failures[0])
    first = f"; the first: {failures[0]}" if failures else ""
    return DataError(f"{display_path(config.faces or '')}: none of the {bad} files produced a face{first}")


def _report_result(result: EmbedResult, config: EmbedConfig, reporter: Reporter) -> None:
    if not result.faces:
        raise _no_faces(config, result.bad, result.failures)
    if result.gone and not config.prune:
        place = display_path(config.faces or "")
        text = f"{result.gone} faces in the store belong to pictures that are not in {place}; --prune removes them"
        reporter.report(Notice(text=text))
    if not result.bad:
        return
    text = f"{result.bad} of {result.pictures} files produced no face: {'; '.join(result.failures)}"
    if result.bad > len(result.failures):
        text += f"; and {result.bad - len(result.failures)} more"
    reporter.report(Notice(text=text, level="warning"))
    if result.bad > config.max_bad * result.pictures:
        raise TooManyBadFilesError(
            f"{result.bad} of {result.pictures} files produced no face, more than --max-bad {config.max_bad:g} allows; "
            f"the other {result.faces} are in {display_path(result.out)}",
            result,
        )
