"""`faceclr identify`: who is in photographs, of the people of a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.identification.annotation import Annotator
from faceclr_cli.core.evaluation.identification.gallery import KnownPeople, load_gallery
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.evaluation.identification.probe_faces import Probe, Probes, open_probes
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.metrics.open_set import FalseAlarms
from faceclr_cli.core.plots.fonts import say_what_is_missing
from faceclr_cli.core.plots.labeled_photo import Label
from faceclr_cli.core.text import display_path

_TASK = "identifying"


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A face and who it is; or a photograph without one.

    Attributes:
        photo: As it was named.
        face: Its number in the photograph, from 1; 0 where there is none.
        box: x, y, width and height in pixels of the photograph; None for faces that were cut out before.
        name: Who it is, or None where it is nobody of the gallery.
        matches: The most similar people, of a classifier the likeliest, the first being who it is, or would be.
        reason: Why there is no face: one line that names the photograph; or None.
        notes: What makes the answer doubtful.
    """

    photo: str
    face: int
    box: tuple[float, float, float, float] | None
    name: str | None
    matches: tuple[Match, ...]
    reason: str | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The face as a JSON object; what is known of the first match stands beside the name as well."""
        best = self.matches[0] if self.matches else None
        return {
            "photo": self.photo,
            "face": self.face,
            "box": None if self.box is None else [round(side, 1) for side in self.box],
            "name": self.name,
            "probability": None if best is None else best.probability,
            "similarity": None if best is None else best.similarity,
            "closest": None if best is None else best.name,
            "matches": [asdict(match) for match in self.matches],
            "reason": self.reason,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class AnsweredPhoto:
    """A photograph, and who its faces may be.

    Attributes:
        probe: The photograph, and what is known of its faces.
        found: For each of its faces the people it may be, the likeliest first; empty where there is none.
    """

    probe: Probe
    found: Sequence[tuple[Match, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentifyJob:
    """What a run needs.

    Attributes:
        config: The options.
        encoder: Who embeds.
        people: Among whom.
        probes: The photographs.
    """

    config: IdentifyConfig
    encoder: Encoder
    people: KnownPeople
    probes: Probes


def identify(config: IdentifyConfig, reporter: Reporter) -> Iterator[Identified]:
    """Names the faces of photographs, one after the other, and draws the names on copies if that is asked for.

    Raises:
        DataError: The photographs or the gallery cannot be read, or a copy cannot be written.
        ModelError, FingerprintError: The encoder is not there, or the gallery is not its.
        ConfigError: The encoder has no threshold and none was given, or copies would be among the photographs.
    """
    job = prepare_identification(config, reporter)
    photos = () if config.annotate is None else job.probes.photos
    if config.annotate is not None:
        say_what_is_missing(job.people.names, reporter)
    with Annotator.opened(config.photos, photos, config.annotate) as annotator:
        for asked in ask(job, config.matches, reporter):
            answers = _answers(asked, job.people.rule.threshold)
            if annotator is not None and asked.probe.failure is None:
                annotator.write(asked.probe.photo, [_label(answer) for answer in answers if answer.box is not None])
            yield from answers


def prepare_identification(config: IdentifyConfig, reporter: Reporter) -> IdentifyJob:
    """Loads the encoder and the gallery, and lists the photographs.

    Raises:
        DataError, ModelError, FingerprintError, ConfigError: As `identify`.
    """
    if config.photos is None or config.gallery is None:
        raise ConfigError("give photographs, and --gallery with the people they may show")
    _require_apart(config.annotate, config.gallery)
    encoder = load_encoder(config.model)
    people = load_gallery(config, config.gallery, encoder, reporter)
    alarms = people.false_alarms
    if alarms is not None:
        reporter.report(Notice(text=_strangers(alarms, people)))
    probes = open_probes(config, config.photos, encoder, reporter, flip=people.flip)
    return IdentifyJob(config=config, encoder=encoder, people=people, probes=probes)


def _require_apart(annotate: Path | None, gallery: Path) -> None:
    if annotate is not None and gallery.is_dir() and annotate.resolve().is_relative_to(gallery.resolve()):
        text = (
            f"lies in {display_path(gallery)}, where the copies would be taken for pictures of people; choose another"
        )
        raise ConfigError(f"--annotate {display_path(annotate)}: {text}")


def ask(job: IdentifyJob, count: int, reporter: Reporter) -> Iterator[AnsweredPhoto]:
    """Looks for the faces of each photograph among the people.

    Args:
        job: What was prepared.
        count: How many people each face may be, at most.
        reporter: Told how far it is.

    Raises:
        ModelError: The encoder produced NaN or infinite embeddings.
    """
    reporter.report(TaskStarted(task=_TASK, total=len(job.probes.photos), unit="pictures"))
    done = 0
    try:
        for probes in job.probes.batches():
            embeddings = [face.embedding for probe in probes for face in probe.faces]
            found = iter(job.people.find(np.stack(embeddings), count) if embeddings else ())
            for probe in probes:
                yield AnsweredPhoto(probe=probe, found=list(islice(found, len(probe.faces))))
            done += len(probes)
            reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _strangers(alarms: FalseAlarms, people: KnownPeople) -> str:
    """What a threshold for pairs means for a gallery."""
    result = f"would be taken for one of {len(people.names):,} people at the threshold {people.rule.threshold:.3f}"
    if alarms.rate is None:
        return f"of strangers, at most {alarms.high:.2%} {result}"
    interval = f"95% interval {alarms.low:.1%} to {alarms.high:.1%}"
    method = "measured on the gallery, each person against the others"
    return f"of strangers, about {alarms.rate:.1%} ({interval}) {result}: {method}"


def _answers(asked: AnsweredPhoto, threshold: float) -> list[Identified]:
    probe, name = asked.probe, str(asked.probe.photo.name)
    if probe.failure is not None:
        return [Identified(photo=name, face=0, box=None, name=None, matches=(), reason=probe.failure, notes=())]
    return [
        Identified(
            photo=name,
            face=number,
            box=face.box,
            name=matches[0].name if matches[0].similarity >= threshold else None,
            matches=matches,
            reason=None,
            notes=face.notes,
        )
        for number, (face, matches) in enumerate(zip(probe.faces, asked.found, strict=True), start=1)
    ]


def _label(answer: Identified) -> Label:
    chance = answer.matches[0].probability
    return Label(box=answer.box or (0, 0, 0, 0), name=answer.name, probability=chance, number=answer.face)
