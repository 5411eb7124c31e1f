"""Verdicts on a list or a stream of photograph pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.pair_files import iter_pairs
from faceclr_cli.core.encoders.decision_rule import Rule, choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.verification.photographs import (
    EmbeddedPhoto,
    open_photo_reader,
    similarity_of,
    walk_pairs,
)
from faceclr_cli.core.evaluation.verification.verify import same_file_note
from faceclr_cli.core.events import Reporter, TaskAdvanced, TaskFinished, TaskStarted

_TASK = "comparing pairs"


@dataclass(frozen=True, kw_only=True)
class PairVerdict:
    """The verdict on one pair of photographs.

    Attributes:
        a: The first photograph, as named in the pairs.
        b: The second photograph.
        similarity: Cosine similarity of the embeddings, -1 to 1, or None if one is missing.
        same: True if the verdict is "same person", or None if an embedding is missing.
        probability: Probability of the same person for a prior of 0.5, or None if the encoder is not calibrated.
        reason: Why there is no verdict, in one line that names the photograph; or None.
        notes: Warnings about the quality of the verdict, each beginning with the photograph's name.
    """

    a: str
    b: str
    similarity: float | None
    same: bool | None
    probability: float | None
    reason: str | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return asdict(self) | {"notes": list(self.notes)}


def verdicts(config: VerifyConfig, reporter: Reporter) -> Iterator[PairVerdict]:
    """Compares the photographs of each pair, in order.

    If the pairs are in a file, each photograph is read once. If they arrive on standard input or a pipe, each verdict
    is given as soon as its pair has arrived, since another program may wait for it, and a photograph is read again if
    its file has changed.

    Raises:
        DataError: The pairs cannot be read, or a line is malformed.
        ModelError, ConfigError, FingerprintError: As for `verify`.
    """
    if config.pairs is None:
        raise ConfigError("give --pairs FILE, the pairs to compare")
    encoder = load_encoder(config.model)
    rule = choose_rule(encoder, config)
    reporter.report(TaskStarted(task=_TASK, total=None, unit="pairs"))
    try:
        options = (encoder, config.model, config.root, config.face_choice, reporter, config.save_crops)
        with open_photo_reader(*options, patient=config.pairs.is_file()) as pictures:
            for done, (pair, a, b) in enumerate(walk_pairs(iter_pairs(config.pairs), pictures), start=1):
                yield _verdict((pair.a, pair.b), (a, b), rule)
                reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _verdict(names: tuple[str, str], pictures: tuple[EmbeddedPhoto, EmbeddedPhoto], rule: Rule) -> PairVerdict:
    similarity = similarity_of(*pictures)
    first, second = (picture.content_hash for picture in pictures)
    copies = (same_file_note(*names),) if first is not None and first == second else ()
    remarks = (f"{name}: {note}" for name, picture in zip(names, pictures, strict=True) for note in picture.notes)
    return PairVerdict(
        a=names[0],
        b=names[1],
        similarity=similarity,
        same=None if similarity is None else similarity >= rule.threshold,
        probability=None if similarity is None else rule.probability(similarity),
        reason=next((picture.failure for picture in pictures if picture.failure), None),
        notes=(*copies, *remarks),
    )
