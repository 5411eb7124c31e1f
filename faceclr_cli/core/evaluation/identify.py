"""`faceclr identify`: who is in photographs, of the people of a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.source import Cut, Failed, Loaded, list_pictures, open_source
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.load import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.gallery import Gallery, load_gallery
from faceclr_cli.core.evaluation.pictures import remarks
from faceclr_cli.core.evaluation.rule import Rule, rule_of
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted

_TASK = "identifying"
_AHEAD = 16


@dataclass(frozen=True, kw_only=True)
class Match:
    """A person of the gallery beside a face.

    Attributes:
        name: Of the person.
        similarity: Cosine to the most similar of their pictures, -1 to 1.
        probability: The chance that it is the person, if that is as likely as not beforehand, or None where nobody
            measured it.
        picture: That picture.
    """

    name: str
    similarity: float
    probability: float | None
    picture: str


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A face and who it is; or a photograph without one.

    Attributes:
        photo: As it was named.
        face: Its number in the photograph, from 1; 0 where there is none.
        box: x, y, width and height in pixels of the photograph; None for faces that were cut out before.
        name: Who it is, or None where it is nobody of the gallery.
        matches: The most similar people, the first being who it is, or would be.
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


def identify(config: IdentifyConfig, reporter: Reporter) -> Iterator[Identified]:
    """Names the faces of photographs, one after the other.

    Raises:
        DataError: The photographs or the gallery cannot be read.
        ModelError, FingerprintError: The encoder is not there, or the gallery is not its.
        ConfigError: The encoder has no threshold and none was given.
    """
    if config.photos is None or config.gallery is None:
        raise ConfigError("give photographs, and --gallery with the people they may show")
    encoder = load_encoder(config.model)
    rule = rule_of(encoder, config)
    gallery = load_gallery(config.gallery, encoder, config.model, reporter)
    if rule.far is not None:
        text = _strangers(rule.far, len(gallery.index))
        reporter.report(Notice(text=text))
    options = EmbedConfig(faces=config.photos, model=config.model, face=config.face, null=config.null)
    listing = list_pictures(options, config.photos, encoder.fingerprint, reporter)
    source = open_source(config.face, listing, encoder.fingerprint)
    reporter.report(TaskStarted(task=_TASK, total=len(listing.photos), unit="pictures"))
    try:
        for done, item in enumerate(source.load(_AHEAD), start=1):
            yield from _faces(item, str(listing.photos[done - 1].name), encoder, gallery, rule, config.matches)
            reporter.report(TaskAdvanced(task=_TASK, done=done))
    finally:
        reporter.report(TaskFinished(task=_TASK))


def _strangers(far: float, people: int) -> str:
    """What a threshold for pairs means for a gallery: one try for each person."""
    share = 1 - (1 - far) ** people
    return f"of strangers, about {share:.1%} would be taken for one of {people:,} people at this threshold"


def _faces(
    item: Loaded | Failed, name: str, encoder: Encoder, gallery: Gallery, rule: Rule, count: int
) -> Iterator[Identified]:
    if isinstance(item, Failed):
        yield Identified(photo=name, face=0, box=None, name=None, matches=(), reason=item.reason, notes=())
        return
    embeddings = encoder.embed(np.stack([cut.crop for cut in item.faces]))
    found = gallery.index.search(embeddings, count)
    for number, cut in enumerate(item.faces):
        matches = tuple(
            Match(
                name=gallery.names[person],
                similarity=float(similarity),
                probability=rule.probability(float(similarity)),
                picture=gallery.paths[row],
            )
            for person, similarity, row in zip(
                found.people[number], found.similarities[number], found.rows[number], strict=True
            )
        )
        yield _answer(name, number + 1, cut, matches, rule)


def _answer(photo: str, number: int, cut: Cut, matches: Sequence[Match], rule: Rule) -> Identified:
    best = matches[0]
    return Identified(
        photo=photo,
        face=number,
        box=None if cut.face is None else cut.box,
        name=best.name if best.similarity >= rule.threshold else None,
        matches=tuple(matches),
        reason=None,
        notes=tuple(note for note in remarks(cut) if "faces found" not in note),
    )
