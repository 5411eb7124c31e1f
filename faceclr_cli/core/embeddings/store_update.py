"""Creation and update of stores: new pictures are embedded in parts, which are then joined."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.block import Block
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.hdf5_columns import Shape, read_texts
from faceclr_cli.core.embeddings.part_workers import EmbeddingJob, PartBuilder, build_in_processes
from faceclr_cli.core.embeddings.previous_rows import require_compatible_store
from faceclr_cli.core.embeddings.process_group import ProcessGroup
from faceclr_cli.core.embeddings.quality_columns import stored_measures
from faceclr_cli.core.embeddings.store import StoreOrigin, open_store
from faceclr_cli.core.embeddings.store_parts import StoreParts, Totals, open_store_parts, part_size
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.text import display_path


def update_store(
    config: EmbedConfig,
    out: Path,
    listing: Listing,
    encoder: Encoder,
    origin: StoreOrigin,
    place: ProcessGroup | None,
    reporter: Reporter,
) -> Totals:
    """Creates a store, or updates an existing one with new and changed pictures.

    If the run is killed, the store is either the old or the new one. Finished parts are kept, and the next run
    continues from them.

    Args:
        config: The options.
        out: The store.
        listing: The pictures.
        encoder: The encoder. Each other process loads its own.
        origin: Metadata of the store.
        place: The process group of torchrun, in which this process has rank 0; None without torchrun.
        reporter: Receives progress.

    Raises:
        LockedError: Another run is writing the store.
        DataError: The store cannot be written, or exists with other settings.
        FingerprintError: The store exists, and the fingerprint of its pictures differs.
        ModelError: A process was killed.
    """
    with open_store_parts(out) as parts:
        require_compatible_store(out, origin, half=config.half)
        processes = place.world if place else config.gpus or config.processes
        size = part_size(len(listing.photos), processes)
        shape = _shape(config, listing, out, encoder.dim)
        job = EmbeddingJob(
            config=config, out=out, listing=listing, origin=origin, shape=shape, size=size, run=parts.run
        )
        try:
            if place is not None:
                place.share(job)
                PartBuilder(job, encoder).build(range(0, job.count, place.world), reporter)
                place.wait()
            elif processes > 1:
                build_in_processes(job, reporter)
            else:
                PartBuilder(job, encoder).build(range(job.count), reporter)
        except KeyboardInterrupt:
            text = f"finished work is kept in {display_path(parts.folder)}; run the same command to continue"
            reporter.report(Notice(text=text, level="warning"))
            raise
        return _join(job, parts)


def build_share(place: ProcessGroup) -> None:
    """Builds the parts that are assigned to a process with a rank above 0."""
    job: EmbeddingJob = place.share(None)
    config = job.config
    encoder = load_encoder(
        config.model, place.device(config.device), precision=config.precision, unnormalized=config.flip == "sum"
    )
    PartBuilder(job, encoder).build(range(place.rank, job.count, place.world), Silent())
    place.wait()


def _join(job: EmbeddingJob, parts: StoreParts) -> Totals:
    """Joins all parts, and the kept rows of pictures that are not in the input, to one store."""
    count = job.count
    gone = _rows_without_picture(job, parts)
    for start in range(0, 0 if job.config.prune else len(gone), job.size):
        with open_store(job.out) as store:
            rows = store.rows(gone[start : start + job.size])
        parts.write(count, Block(rows=rows, kept=len(rows), failures=()), job.origin, job.shape)
        count += 1
    totals = parts.totals(count)
    if totals.faces:
        parts.join(count, job.origin, keep=job.config.keep_parts)
    else:
        parts.discard()
    return replace(totals, gone=len(gone))


def _shape(config: EmbedConfig, listing: Listing, out: Path, dim: int) -> Shape:
    """Returns the shape of each part, with string widths for the whole store."""
    path, identity, content_hash = 1, 1, 64
    for photo in listing.photos:
        path = max(path, len(os.fsencode(photo.name)))
        identity = max(identity, len(os.fsencode(photo.identity or "")))
    if out.exists():
        with open_store(out) as store:
            before = store.shape.widths
        path, identity, content_hash = map(max, (path, identity, content_hash), before)
    widths = (path, identity, content_hash)
    return Shape(rows=0, dim=dim, half=config.half, widths=widths, quality=stored_measures(config.quality))


def _rows_without_picture(job: EmbeddingJob, parts: StoreParts) -> NDArray[np.int_]:
    """Returns the rows of the store whose picture is not in the input, neither under its old name nor a new one."""
    if not job.out.exists():
        return np.empty(0, int)
    names = {photo.name for photo in job.listing.photos}
    with open_store(job.out) as store:
        before, hashes = (read_texts(store.file[column]) for column in ("path", "content_hash"))
    gone = [row for row, path in enumerate(before) if path not in names]
    if not gone:
        return np.empty(0, int)
    moved = parts.content_hashes(job.count, without=set(before))
    return np.array([row for row in gone if hashes[row] not in moved], int)
