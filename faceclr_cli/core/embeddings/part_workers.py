"""Building of the parts of a store, in this process or in several."""

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
from faceclr_cli.core.embeddings.crop_source import Listing, open_source
from faceclr_cli.core.embeddings.hdf5_columns import Shape
from faceclr_cli.core.embeddings.loaded_pictures import FailedPicture, LoadedPicture
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
"""Number of batches that are loaded in advance."""

_TASK = "embedding faces"
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingJob:
    """The work of a run, as it is sent to each process.

    Attributes:
        config: The options.
        out: The store.
        listing: The pictures.
        origin: Metadata of the store.
        shape: Shape of each part, except for the number of rows.
        size: Number of pictures in each part; the last part may have fewer.
        run: Number of the run; see `StoreParts`.
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
        """Number of parts."""
        return -(-len(self.listing.photos) // self.size)

    def photos(self, part: int) -> Sequence[Photo]:
        """Returns the pictures of a part."""
        return self.listing.photos[part * self.size : (part + 1) * self.size]


class PartBuilder:
    """Builds parts in this process."""

    def __init__(self, job: EmbeddingJob, encoder: Encoder) -> None:
        self._job = job
        config = job.config
        self._source = open_source(config.face, job.listing, encoder.fingerprint, measures=config.quality != "none")
        self._embedding = PictureEmbedder(
            encoder, batch_size=config.batch_size, flip=config.flip, quality=config.quality
        )
        self._in_bursts = encoder.fills_cores
        self._previous = find_previous_rows(job.out, job.origin, half=job.config.half)
        self._parts = StoreParts(job.out, job.run)

    def build(self, numbers: Sequence[int], reporter: Reporter) -> None:
        """Builds parts in ascending order. The pictures of the next part are loaded while one is written.

        Raises:
            DataError: A part cannot be written.
        """
        job = self._job
        photos = chain.from_iterable(map(job.photos, numbers))
        ahead = AHEAD * job.config.batch_size
        loaded = self._source.load(ahead, self._previous.holds, photos, in_bursts=self._in_bursts)
        items = report_progress(loaded, len(job.listing.photos), job.config.batch_size, reporter)
        for number in numbers:
            block = self._embedding.block(islice(items, job.size), self._previous)
            self._parts.write(number, block, job.origin, job.shape)
        next(items, None)  # Ends the generator, which reports the end of the task.


def report_progress(
    items: Iterator[LoadedPicture | FailedPicture], total: int, every: int, reporter: Reporter
) -> Iterator[LoadedPicture | FailedPicture]:
    """Yields the items and reports progress."""
    reporter.report(TaskStarted(task=_TASK, total=total, unit="faces"))
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if done % every == 0 or done == total:
                reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def build_in_processes(job: EmbeddingJob, reporter: Reporter) -> None:
    """Builds all parts in the configured number of processes on this machine.

    Raises:
        FaceclrError: A process raised it.
        ModelError: A process was killed.
    """
    world = job.config.gpus or job.config.processes
    shares = [range(rank, job.count, world) for rank in range(world)]
    devices = [f"cuda:{rank}" if job.config.gpus else "cpu" for rank in range(world)]
    items = [[(device, number) for number in share] for device, share in zip(devices, shares, strict=True)]
    parts = StoreParts(job.out, job.run)
    reporter.report(TaskStarted(task=_TASK, total=len(job.listing.photos), unit="faces"))
    try:
        with share_out(partial(_build, job), items) as futures:
            while (ended := wait(futures, _SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)).not_done:
                for future in ended.done:
                    future.result()
                done = min(parts.made() * job.size, len(job.listing.photos))
                reporter.report(TaskAdvanced(task=_TASK, done=done))
            for future in futures:
                future.result()
    except BrokenProcessPool:
        raise ModelError("a process was killed, perhaps for lack of memory; run the same command to continue") from None
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _build(job: EmbeddingJob, item: tuple[str, int]) -> None:
    device, number = item
    _part_builder(job, device).build([number], Silent())


@lru_cache(maxsize=1)
def _part_builder(job: EmbeddingJob, device: str) -> PartBuilder:
    """Creates the part builder, and with it the encoder, once in each process."""
    if device != "cpu":
        import torch

        torch.cuda.set_device(device)
        device = "cuda"
    config = job.config
    encoder = load_encoder(config.model, device, precision=config.precision, unnormalized=config.flip == "sum")
    return PartBuilder(job, encoder)
