"""`faceclr identify`: names for the faces in photographs, from a gallery of known people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.identification.annotation import Annotator
from faceclr_cli.core.evaluation.identification.gallery import KnownPeople, load_gallery
from faceclr_cli.core.evaluation.identification.match import Match, merge_matches
from faceclr_cli.core.evaluation.identification.probe_faces import Probe, Probes, open_probes
from faceclr_cli.core.evaluation.identification.sidecar_files import SidecarFiles
from faceclr_cli.core.evaluation.identification.template_faces import open_template_probes
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.metrics.open_set import FalseAlarms
from faceclr_cli.core.sources.output_folders import GROUPS
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.plots.labeled_photo import Label

_TASK = "identifying"


@dataclass(frozen=True, kw_only=True)
class IdentifyResult:
    """The result for one face, or for a photograph without a face.

    Attributes:
        photo: Name of the photograph.
        face: Number of the face in the photograph, from 1; 0 if no face was found.
        box: x, y, width and height in pixels of the photograph; None for prepared faces.
        name: Name of the person, or None if the face matches no one in the gallery.
        matches: The most similar people, or the most probable ones with a classifier; best first. Empty for a face
            below `--min-quality`.
        reason: Why there is no face, in one line that names the photograph; or None.
        notes: Quality warnings; the first one names the measure below `--min-quality`.
    """

    photo: str
    face: int
    box: tuple[float, float, float, float] | None
    name: str | None
    matches: tuple[Match, ...]
    reason: str | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The face as a JSON object, with the scores of the best match at the top level."""
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
    """A photograph and the matches of its faces.

    Attributes:
        probe: The photograph and its faces.
        found: The matches of each face, best first. A face below `--min-quality` has none.
    """

    probe: Probe
    found: Sequence[tuple[Match, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentifyJob:
    """The inputs of an identification run.

    Attributes:
        config: The options.
        encoder: The encoder.
        people: The gallery.
        probes: The photographs.
    """

    config: IdentifyConfig
    encoder: Encoder
    people: KnownPeople
    probes: Probes


def identify(config: IdentifyConfig, reporter: Reporter) -> Iterator[IdentifyResult]:
    """Names the faces of photographs in order, and writes annotated copies and XMP files if requested.

    Raises:
        DataError: The photographs or the gallery cannot be read, or a copy cannot be written.
        ModelError, FingerprintError: The encoder does not exist, or did not make the gallery.
        ConfigError: The encoder has no threshold and none was given, or copies would be written among the photographs.
    """
    yield from identify_photos(prepare_identification(config, reporter), reporter)


def identify_photos(job: IdentifyJob, reporter: Reporter) -> Iterator[IdentifyResult]:
    """Names the faces of photographs as `identify` does, with the inputs from `prepare_identification`.

    Raises:
        DataError, ModelError, ConfigError: As `identify`.
    """
    config = job.config
    photos = () if config.annotate is None else job.probes.photos
    if config.annotate is not None:
        from faceclr_cli.core.plots.fonts import warn_about_missing_letters

        warn_about_missing_letters(job.people.names, reporter)
    sidecars = SidecarFiles(job.probes.photos, reporter) if config.xmp else None
    # The folders that cluster wrote have numbers until the user names them.
    is_numbered, unnamed = config.gallery is not None and (config.gallery / GROUPS).is_file(), 0
    with Annotator.opened(config.photos, photos, config.annotate) as annotator:
        for asked in ask(job, config.matches, reporter):
            answers = _answers(asked, job.people.rule.threshold)
            if annotator is not None and asked.probe.failure is None:
                annotator.write(asked.probe.photo, [_label(answer) for answer in answers if answer.box is not None])
            known = [(answer.name, answer.box) for answer in answers if answer.name and answer.box]
            named = [(name, box) for name, box in known if not (is_numbered and name.isdecimal())]
            if sidecars is not None and named:
                sidecars.write(asked.probe.photo, named)
            unnamed += len(known) - len(named)
            yield from answers
    if sidecars is not None:
        numbers = f"; {count(unnamed, 'face')} of unnamed groups left out" if unnamed else ""
        reporter.report(Notice(text=f"wrote {count(sidecars.written, 'XMP file')}{numbers}"))


def prepare_identification(config: IdentifyConfig, reporter: Reporter) -> IdentifyJob:
    """Loads the encoder and the gallery, and lists the photographs.

    Raises:
        DataError, ModelError, FingerprintError, ConfigError: As `identify`.
    """
    if config.photos is None or config.gallery is None:
        raise ConfigError("give photographs, and --gallery with pictures of known people")
    if config.webvtt is not None:
        raise ConfigError(f"--webvtt: {display_path(config.photos)} is not a film")
    _require_apart(config.annotate, config.gallery)
    encoder, people = load_people(config, reporter)
    probes: Probes
    if config.template is None:
        probes = open_probes(config, config.photos, encoder, reporter, flip=people.flip)
    else:
        probes = open_template_probes(config, config.photos, encoder, reporter, flip=people.flip)
    return IdentifyJob(config=config, encoder=encoder, people=people, probes=probes)


def load_people(config: IdentifyConfig, reporter: Reporter) -> tuple[Encoder, KnownPeople]:
    """Loads the encoder and the gallery, and reports the share of strangers that would be identified as someone.

    Raises:
        DataError, ModelError, FingerprintError, ConfigError: As `identify`.
    """
    if config.gallery is None:
        raise ConfigError("give --gallery with pictures of known people")
    encoder = load_encoder(config.model)
    people = load_gallery(config, config.gallery, encoder, reporter)
    alarms = people.false_alarms
    if alarms is not None:
        reporter.report(Notice(text=_describe_false_alarms(alarms, people)))
    return encoder, people


def _require_apart(annotate: Path | None, gallery: Path) -> None:
    if annotate is not None and gallery.is_dir() and annotate.resolve().is_relative_to(gallery.resolve()):
        text = f"is inside the gallery {display_path(gallery)}, where copies would be read as pictures; choose another"
        raise ConfigError(f"--annotate {display_path(annotate)}: {text}")


def ask(job: IdentifyJob, most: int, reporter: Reporter) -> Iterator[AnsweredPhoto]:
    """Searches the gallery for the faces of each photograph.

    Args:
        job: The inputs from `prepare_identification`.
        most: Maximum number of matches per face.
        reporter: Receives the progress.

    Raises:
        ModelError: The encoder produced NaN or infinite embeddings.
    """
    reporter.report(TaskStarted(task=_TASK, total=len(job.probes.photos), unit="pictures"))
    done = 0
    try:
        for probes in job.probes.batches():
            vectors = [face.vectors for probe in probes for face in probe.faces if face.rejection is None]
            each = iter(job.people.find(np.concatenate(vectors), most) if vectors else ())
            found = iter([merge_matches(list(islice(each, len(rows))), most) for rows in vectors])
            for probe in probes:
                matches = [() if face.rejection is not None else next(found) for face in probe.faces]
                yield AnsweredPhoto(probe=probe, found=matches)
            done += len(probes)
            reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _describe_false_alarms(alarms: FalseAlarms, people: KnownPeople) -> str:
    """Describes the false alarm rate of the gallery, which is higher than the FAR of a pair."""
    result = f"would be mistaken for one of {len(people.names):,} people at the threshold {people.rule.threshold:.3f}"
    if alarms.rate is None:
        return f"at most {alarms.high:.2%} of strangers {result}"
    interval = f"95% interval {alarms.low:.1%} to {alarms.high:.1%}"
    method = "measured on the gallery, each person against the others"
    return f"about {alarms.rate:.1%} of strangers {result} ({interval}; {method})"


def _answers(asked: AnsweredPhoto, threshold: float) -> list[IdentifyResult]:
    probe, name = asked.probe, str(asked.probe.photo.name)
    if probe.failure is not None:
        return [IdentifyResult(photo=name, face=0, box=None, name=None, matches=(), reason=probe.failure, notes=())]
    return [
        IdentifyResult(
            photo=name,
            face=number,
            box=face.box,
            name=matches[0].name if matches and matches[0].similarity >= threshold else None,
            matches=matches,
            reason=None,
            notes=face.notes if face.rejection is None else (face.rejection, *face.notes),
        )
        for number, (face, matches) in enumerate(zip(probe.faces, asked.found, strict=True), start=1)
    ]


def _label(answer: IdentifyResult) -> Label:
    from faceclr_cli.core.plots.labeled_photo import Label

    chance = answer.matches[0].probability if answer.matches else None
    return Label(box=answer.box or (0, 0, 0, 0), name=answer.name, probability=chance, number=answer.face)
