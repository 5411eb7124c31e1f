"""`faceclr identify`: who is in photographs, of the people of a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.datasets.folder import is_face_folder
from faceclr_cli.core.datasets.layouts import Photo
from faceclr_cli.core.embeddings.source import Cut, Failed, Listing, Loaded, list_pictures, open_source
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.load import load_encoder
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.annotate import Annotator
from faceclr_cli.core.evaluation.gallery import People, load_people
from faceclr_cli.core.evaluation.match import Match
from faceclr_cli.core.evaluation.pictures import remarks
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.metrics.open_set import FalseAlarms
from faceclr_cli.core.plots.annotate import Label

_TASK = "identifying"
_AHEAD = 16


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
        """The face as a JSON object."""
        plain = {"matches": [asdict(match) for match in self.matches], "notes": list(self.notes)}
        return asdict(self) | plain | {"box": None if self.box is None else [round(side, 1) for side in self.box]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A photograph, and who its faces may be.

    Attributes:
        photo: Which.
        item: What was read of it.
        found: For each of its faces the people it may be, the likeliest first; empty where there is none.
    """

    photo: Photo
    item: Loaded | Failed
    found: Sequence[tuple[Match, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What a run needs.

    Attributes:
        config: The options.
        encoder: Who embeds.
        people: Among whom.
        listing: The photographs.
    """

    config: IdentifyConfig
    encoder: Encoder
    people: People
    listing: Listing


def identify(config: IdentifyConfig, reporter: Reporter) -> Iterator[Identified]:
    """Names the faces of photographs, one after the other, and draws the names on copies if that is asked for.

    Raises:
        DataError: The photographs or the gallery cannot be read, or a copy cannot be written.
        ModelError, FingerprintError: The encoder is not there, or the gallery is not its.
        ConfigError: The encoder has no threshold and none was given, or copies would be among the photographs.
    """
    job = prepared(config, reporter)
    if config.annotate is not None and job.listing.crops is not None:
        raise ConfigError("--annotate: these faces are cut out already; give the photographs that they were cut out of")
    photos = () if config.photos is None or config.annotate is None else job.listing.photos
    with Annotator.opened(config.photos, photos, config.annotate) as annotator:
        for asked in ask(job, config.matches, reporter):
            answers = _answers(asked, job.people.rule.threshold)
            if annotator is not None and not isinstance(asked.item, Failed):
                annotator.write(asked.photo, [_label(answer) for answer in answers if answer.box is not None])
            yield from answers


def prepared(config: IdentifyConfig, reporter: Reporter) -> Job:
    """Loads the encoder and the gallery, and lists the photographs.

    Raises:
        DataError, ModelError, FingerprintError, ConfigError: As `identify`.
    """
    if config.photos is None or config.gallery is None:
        raise ConfigError("give photographs, and --gallery with the people they may show")
    encoder = load_encoder(config.model)
    people = load_people(config, config.gallery, encoder, reporter)
    alarms = people.false_alarms
    if alarms is not None:
        reporter.report(Notice(text=_strangers(alarms, people)))
    # Of faces that are cut out already there is no choice, which they are asked not to be told of.
    cut_out = is_face_folder(config.photos) and config.face is None
    options = EmbedConfig(
        faces=config.photos, model=config.model, face="largest" if cut_out else config.which, null=config.null
    )
    listing = list_pictures(options, config.photos, encoder.fingerprint, reporter)
    return Job(config=config, encoder=encoder, people=people, listing=listing)


def ask(job: Job, count: int, reporter: Reporter) -> Iterator[Asked]:
    """Looks for the faces of each photograph among the people.

    Args:
        job: What was prepared.
        count: How many people each face may be, at most.
        reporter: Told how far it is.

    Raises:
        ModelError: The encoder gives embeddings that are no numbers.
    """
    photos = job.listing.photos
    source = open_source(job.config.which, job.listing, job.encoder.fingerprint)
    reporter.report(TaskStarted(task=_TASK, total=len(photos), unit="pictures"))
    try:
        for done, item in enumerate(source.load(_AHEAD), start=1):
            found: Sequence[tuple[Match, ...]] = ()
            if isinstance(item, Loaded) and item.faces:
                found = job.people.find(_embedded(item.faces, job.encoder, flip=job.people.flip), count)
            yield Asked(photo=photos[done - 1], item=item, found=found)
            reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _embedded(faces: Sequence[Cut], encoder: Encoder, *, flip: bool) -> NDArray[np.float32]:
    crops = np.stack([cut.crop for cut in faces])
    vectors = encoder.embed(crops)
    if flip:
        vectors = vectors + encoder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    if not np.isfinite(vectors).all():
        raise ModelError(f"{encoder.name}: gives embeddings that are no numbers; its training went astray")
    return vectors


def _strangers(alarms: FalseAlarms, people: People) -> str:
    """What a threshold for pairs means for a gallery."""
    result = f"would be taken for one of {len(people.names):,} people at the threshold {people.rule.threshold:.3f}"
    if alarms.rate is None:
        return f"of strangers, at most {alarms.high:.2%} {result}"
    interval = f"95% interval {alarms.low:.1%} to {alarms.high:.1%}"
    method = "measured on the gallery, each person against the others"
    return f"of strangers, about {alarms.rate:.1%} ({interval}) {result}: {method}"


def _answers(asked: Asked, threshold: float) -> list[Identified]:
    name, item = str(asked.photo.name), asked.item
    if isinstance(item, Failed):
        return [Identified(photo=name, face=0, box=None, name=None, matches=(), reason=item.reason, notes=())]
    return [
        _answer(name, number, cut, matches, threshold)
        for number, (cut, matches) in enumerate(zip(item.faces, asked.found, strict=True), start=1)
    ]


def _answer(photo: str, number: int, cut: Cut, matches: tuple[Match, ...], threshold: float) -> Identified:
    best = matches[0]
    return Identified(
        photo=photo,
        face=number,
        box=None if cut.face is None else cut.box,
        name=best.name if best.similarity >= threshold else None,
        matches=matches,
        reason=None,
        notes=tuple(note for note in remarks(cut) if "faces found" not in note),
    )


def _label(answer: Identified) -> Label:
    chance = answer.matches[0].probability
    return Label(box=answer.box or (0, 0, 0, 0), name=answer.name, probability=chance)
