"""A store is brought up to date: what is new is embedded, in parts, which are joined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.block import Block, Embedding
from faceclr_cli.core.embeddings.columns import Shape, read_texts
from faceclr_cli.core.embeddings.former import find_former
from faceclr_cli.core.embeddings.parts import Totals, making_parts, part_size
from faceclr_cli.core.embeddings.source import Failed, Loaded, Source
from faceclr_cli.core.embeddings.store import Origin, open_store
from faceclr_cli.core.errors import StoppedError
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.reasons import shown

AHEAD = 2
"""Batches that are loaded ahead of the encoder."""


def bring_up_to_date(
    config: EmbedConfig, out: Path, source: Source, embedding: Embedding, origin: Origin, reporter: Reporter
) -> Totals:
    """Makes a store, or adds to it what is new in the source or was changed.

    Killed at any moment, the store is the old one or the new one; what is done is kept, and the next run goes on.

    Args:
        config: How.
        out: The store.
        source: What is to be in it.
        embedding: Makes rows of pictures.
        origin: What the store is to say of itself.
        reporter: Told of the progress.

    Raises:
        LockedError: Another run writes the same store.
        DataError: No picture gave a face, the store cannot be written, or it is there and was made in another way.
        FingerprintError: It is there, and its pictures were prepared in another way.
    """
    with making_parts(out) as parts:
        former = find_former(out, origin, half=config.half)
        size = part_size(len(source.photos))
        count = -(-len(source.photos) // size)
        shape = _shape(source, out, embedding.dim, half=config.half)
        loaded = source.load(AHEAD * config.batch_size, former.content_hash)
        items = reported(loaded, len(source.photos), config.batch_size, reporter)
        try:
            for number in range(count):
                block = embedding.block(islice(items, size), former)
                parts.write(number, block, origin, shape)
        except (KeyboardInterrupt, StoppedError):
            text = f"what is done is kept in {shown(parts.folder)}; the same command goes on from there"
            reporter.report(Notice(text=text, level="warning"))
            raise
        gone = _gone(out, source)
        for start in range(0, 0 if config.prune else len(gone), size):
            with open_store(out) as store:
                rows = store.rows(gone[start : start + size])
            parts.write(count, Block(rows=rows, kept=len(rows), failures=()), origin, shape)
            count += 1
        totals = parts.totals(count)
        if totals.faces:
            parts.join(count, origin, keep=config.keep_parts)
        else:
            parts.discard()
        return replace(totals, gone=len(gone))


def reported(items: Iterator[Loaded | Failed], total: int, every: int, reporter: Reporter) -> Iterator[Loaded | Failed]:
    """The same items, told of as they are taken."""
    task = "embedding faces"
    reporter.report(TaskStarted(task=task, total=total, unit="faces"))
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if done % every == 0 or done == total:
                reporter.report(TaskAdvanced(task=task, done=done))
    finally:
        reporter.report(TaskFinished(task=task))


def _shape(source: Source, out: Path, dim: int, *, half: bool) -> Shape:
    """That of any part: its texts have room for all those of the store."""
    path, identity, content_hash = 1, 1, 64
    for photo in source.photos:
        path = max(path, len(os.fsencode(photo.name)))
        identity = max(identity, len(os.fsencode(photo.identity or "")))
    if out.exists():
        with open_store(out) as store:
            before = store.shape.widths
        path, identity, content_hash = map(max, (path, identity, content_hash), before)
    return Shape(rows=0, dim=dim, half=half, widths=(path, identity, content_hash))


def _gone(out: Path, source: Source) -> NDArray[np.int_]:
    """The rows of the store whose picture is not in the source."""
    if not out.exists():
        return np.empty(0, int)
    names = {photo.name for photo in source.photos}
    with open_store(out) as store:
        return np.flatnonzero([path not in names for path in read_texts(store.file["path"])])
