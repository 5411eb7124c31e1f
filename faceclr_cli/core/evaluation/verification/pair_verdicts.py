"""Verdicts on many pairs of photographs, one after the other."""

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
    """A verdict on one of many pairs.

    Attributes:
        a: The first photograph, as it was named.
        b: The second.
        similarity: Cosine of the two embeddings, -1 to 1, or None where one has none.
        same: Whether it is the same person, or None likewise.
        probability: The chance of that, if it is as likely as not beforehand, or None where nobody measured it.
        reason: Why there is no verdict: one line that names the photograph; or None.
        notes: What makes the verdict doubtful, each beginning with the photograph's name.
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
    """Compares the photographs of each pair, in order. Of pairs in a file, each photograph is read once.

    From standard input or a pipe, a verdict comes as soon as its pair is there, since another program may wait for it;
    a photograph is read again when its file has changed.

    Raises:
        DataError: The pairs cannot be read, or a line of them is malformed.
        ModelError, ConfigError, FingerprintError: As for two photographs.
    """
    if config.pairs is None:
        raise ConfigError("--pairs names the pairs to compare")
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
