"""The parts of a store are made: in this process, or a share of them in each of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.block import PictureEmbedder
from faceclr_cli.core.embeddings.crop_source import FailedPicture, Listing, LoadedPicture, open_source
from faceclr_cli.core.embeddings.hdf5_columns import Shape
from faceclr_cli.core.embeddings.previous_rows import find_previous_rows
from faceclr_cli.core.embeddings.store import StoreOrigin
from faceclr_cli.core.embeddings.store_parts import StoreParts
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import Reporter, Silent, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.workers.pool import share_out

AHEAD = 2
"""Batches that are loaded ahead of the encoder."""

_TASK = "embedding faces"
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingJob:
    """What is to be made, as any process is told.

    Attributes:
        config: The options.
        out: The store.
        listing: The pictures.
        origin: What the store is to say of itself.
        shape: Of every part, but for the number of its rows.
        size: Pictures of a part; the last has fewer.
        run: Of the parts; see `Parts`.
    """

    config: EmbedConfig
    out: Path
    listing: Listing
    origin: StoreOrigin
    shape: Shape
    size: int
    run: int

    @property
    def count(self) -> int:
        """How many parts that makes."""
        return -(-len(self.listing.photos) // self.size)

    def photos(self, part: int) -> Sequence[Photo]:
        """The pictures of a part."""
        return self.listing.photos[part * self.size : (part + 1) * self.size]


class PartBuilder:
    """Makes parts in this process."""

    def __init__(self, job: EmbeddingJob, encoder: Encoder) -> None:
        self._job = job
        self._source = open_source(job.config.face, job.listing, encoder.fingerprint)
        self._embedding = PictureEmbedder(encoder, batch_size=job.config.batch_size, flip=job.config.flip)
        self._in_bursts = encoder.fills_cores
        self._former = find_previous_rows(job.out, job.origin, half=job.config.half)
        self._parts = StoreParts(job.out, job.run)

    def make(self, numbers: Sequence[int], reporter: Reporter) -> None:
        """Makes some parts, in ascending order. While one is written, the pictures of the next are loaded.

        Raises:
            DataError: One cannot be written.
        """
        job = self._job
        photos = chain.from_iterable(map(job.photos, numbers))
        ahead = AHEAD * job.config.batch_size
        loaded = self._source.load(ahead, self._former.holds, photos, in_bursts=self._in_bursts)
        items = report_progress(loaded, len(job.listing.photos), job.config.batch_size, reporter)
        for number in numbers:
            block = self._embedding.block(islice(items, job.size), self._former)
            self._parts.write(number, block, job.origin, job.shape)
        next(items, None)  # So that the end is told.


def report_progress(
    items: Iterator[LoadedPicture | FailedPicture], total: int, every: int, reporter: Reporter
) -> Iterator[LoadedPicture | FailedPicture]:
    """The same items, told of as they are taken."""
    reporter.report(TaskStarted(task=_TASK, total=total, unit="faces"))
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if done % every == 0 or done == total:
                reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def build_in_processes(job: EmbeddingJob, reporter: Reporter) -> None:
    """Makes all parts in as many processes of this machine as the config asks for.

    Raises:
        FaceclrError: That of any process.
        ModelError: A process died.
    """
    world = job.config.gpus or job.config.processes
    shares = [range(rank, job.count, world) for rank in range(world)]
    devices = [f"cuda:{rank}" if job.config.gpus else "cpu" for rank in range(world)]
    items = [[(device, number) for number in share] for device, share in zip(devices, shares, strict=True)]
    parts = StoreParts(job.out, job.run)
    reporter.report(TaskStarted(task=_TASK, total=len(job.listing.photos), unit="faces"))
    try:
        with share_out(partial(_make, job), items) as futures:
            while (ended := wait(futures, _SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)).not_done:
                for future in ended.done:
                    future.result()
                done = min(parts.made() * job.size, len(job.listing.photos))
                reporter.report(TaskAdvanced(task=_TASK, done=done))
            for future in futures:
                future.result()
    except BrokenProcessPool:
        raise ModelError(
            "a process was ended from outside, perhaps for lack of memory; the same command goes on"
        ) from None
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _make(job: EmbeddingJob, item: tuple[str, int]) -> None:
    device, number = item
    _maker(job, device).make([number], Silent())


@lru_cache(maxsize=1)
def _maker(job: EmbeddingJob, device: str) -> PartBuilder:
    """Loads the encoder once in each process."""
    if device != "cpu":
        import torch

        torch.cuda.set_device(device)
        device = "cuda"
    return PartBuilder(job, load_encoder(job.config.model, device))
