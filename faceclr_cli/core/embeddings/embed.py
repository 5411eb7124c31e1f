"""`faceclr embed`: a folder of faces or photographs becomes a store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.datasets.discover import no_faces_given, prepared_folders
from faceclr_cli.core.embeddings.source import Failed, Loaded, Source, open_source
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.load import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.reasons import shown

T = TypeVar("T")

_NAMED_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """What a store holds.

    Attributes:
        out: The store.
        encoder: Who made the embeddings.
        dim: Their length.
        faces: How many there are.
        people: Of how many people; 0 where nobody knows whose they are.
        bad: Files that gave none.
        failures: The first of them, each with its reason.
        seconds: What embedding took, without loading the encoder.
    """

    out: Path
    encoder: str
    dim: int
    faces: int
    people: int
    bad: int
    failures: tuple[str, ...]
    seconds: float

    @property
    def faces_per_second(self) -> float:
        """The speed of this run."""
        return self.faces / self.seconds

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = {"out": str(self.out), "failures": list(self.failures), "seconds": round(self.seconds, 3)}
        return asdict(self) | plain | {"faces_per_second": round(self.faces_per_second, 1)}


def run(config: EmbedConfig, reporter: Reporter) -> EmbedResult:
    """Embeds every face of a folder and writes the store.

    Files that cannot be read or show no face are left out, counted and named.

    Raises:
        ConfigError: No faces were given, or the device is not there.
        DataError: There is no such folder, it holds no pictures, none gave a face, or the store cannot be written.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        TooManyBadFilesError: The store was written, but more files are bad than `max_bad` allows.
        ModelError: There is no such encoder, or it is damaged.
    """
    if config.faces is None:
        raise no_faces_given("embed", prepared_folders(Path()))
    encoder = load_encoder(config.model, config.device)
    out = config.out or default_out(config.faces, encoder)
    if out.is_dir():
        raise ConfigError(f"{shown(out)}: is a folder; -o names the store itself, say {shown(out / 'faces.h5')}")
    source = open_source(config.faces, encoder.fingerprint, config.model, reporter)
    began = time.perf_counter()
    store, failures = _embed(source, encoder, config, reporter)
    seconds = time.perf_counter() - began
    if not len(store):
        raise DataError(
            f"{shown(config.faces)}: none of the {len(failures)} files gave a face; the first: {failures[0]}"
        )
    try:
        write_store(out, store)
    except OSError as error:
        raise DataError(f"{shown(out)}: cannot be written ({error.strerror or error})") from error
    result = EmbedResult(
        out=out,
        encoder=encoder.name,
        dim=store.dim,
        faces=len(store),
        people=len(store.people),
        bad=len(failures),
        failures=tuple(failures[:_NAMED_FAILURES]),
        seconds=seconds,
    )
    _judge(result, config, reporter)
    return result


def default_out(faces: Path, encoder: Encoder) -> Path:
    """`celeba-faces` and `sface` -> `celeba-faces-sface.h5` in the working directory."""
    name = faces.stem.removesuffix(".tar") if faces.is_file() else faces.resolve().name.strip("-")
    return Path(f"{name or 'faces'}-{encoder.name}.h5")


def _embed(source: Source, encoder: Encoder, config: EmbedConfig, reporter: Reporter) -> tuple[Store, list[str]]:
    """Everything that could be embedded, and one line for each file that could not."""
    loaded: list[Loaded] = []
    failures: list[str] = []
    rows = [np.empty((0, encoder.dim), np.float32)]
    task = "embedding faces"
    reporter.report(TaskStarted(task=task, total=len(source), unit="faces"))
    done = 0
    try:
        for batch in _batches(source.load(ahead=2 * config.batch_size), config.batch_size):
            failures += [item.reason for item in batch if isinstance(item, Failed)]
            good = [item for item in batch if isinstance(item, Loaded)]
            if good:
                rows.append(encoder.embed(np.stack([item.crop for item in good])))
                # The crops are let go, so that memory holds embeddings alone.
                loaded += [replace(item, crop=_NO_CROP) for item in good]
            done += len(batch)
            reporter.report(TaskAdvanced(task=task, done=done))
    finally:
        reporter.report(TaskFinished(task=task))
    store = Store(
        embeddings=np.concatenate(rows),
        paths=tuple(item.name for item in loaded),
        identities=tuple(item.identity for item in loaded),
        content_hashes=tuple(item.content_hash for item in loaded),
        detection_scores=np.array([item.detection_score for item in loaded], np.float32),
        fingerprint=source.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        calibration=encoder.calibration,
        config=to_json(config),
    )
    return store, failures


_NO_CROP = np.empty((0, 0, 3), np.uint8)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch


def _judge(result: EmbedResult, config: EmbedConfig, reporter: Reporter) -> None:
    if not result.bad:
        return
    files = result.faces + result.bad
    text = f"{result.bad} of {files} files gave no face: {'; '.join(result.failures)}"
    if result.bad > len(result.failures):
        text += f"; and {result.bad - len(result.failures)} more"
    reporter.report(Notice(text=text, level="warning"))
    if result.bad > config.max_bad * files:
        raise TooManyBadFilesError(
            f"{result.bad} of {files} files gave no face, more than --max-bad {config.max_bad:g} allows; "
            f"the other {result.faces} are in {shown(result.out)}",
            result,
        )
