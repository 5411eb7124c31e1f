"""`faceclr identify --evaluate`: the open-set identification protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.templates import TemplateMethod
from faceclr_cli.core.errors import DataError, TooManyBadFilesError
from faceclr_cli.core.evaluation.identification.identify import AnsweredPhoto, ask, prepare_identification
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.open_set import FARS, DirPoint, ThresholdRates, at_threshold, dir_at_far, rank_rate
from faceclr_cli.core.text import display_path

_RANKS = 5


@dataclass(frozen=True, kw_only=True)
class OpenSetResult:
    """Open-set metrics of an encoder and a gallery on labeled photographs.

    Attributes:
        encoder: Name of the encoder.
        template: How the pictures of a template were combined; None if single photographs were identified. With
            templates, "photograph" means template below.
        people: Number of people in the gallery.
        known: Photographs of people in the gallery.
        unknown: Photographs of other people.
        left_out: Photographs that are also in the gallery, which are excluded; None if unknown.
        failed: Photographs without a face. They count as missed for known people and as rejected for others.
        rank1: Share of known photographs whose best match is correct, regardless of the threshold.
        rank5: Share of known photographs with the correct person among the five best matches.
        dir_at_far: Detection and identification rate at each false alarm rate.
        rule: The rates at the threshold that `identify` uses.
        meaning: A description of that threshold.
    """

    encoder: str
    template: TemplateMethod | None
    people: int
    known: int
    unknown: int
    left_out: int | None
    failed: int
    rank1: float
    rank5: float
    dir_at_far: tuple[DirPoint, ...]
    rule: ThresholdRates
    meaning: str

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"dir_at_far": [asdict(point) for point in self.dir_at_far]}


@dataclass(kw_only=True)
class _Tally:
    """Collects the best similarity of each photograph, and the rank of the correct person of known ones."""

    known: list[float] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    strangers: list[str | None] = field(default_factory=list)
    left_out: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, asked: AnsweredPhoto, people: set[str], hashes: frozenset[str] | None) -> None:
        matches: Sequence[Match] = ()
        if asked.probe.failure is not None:
            self.failures.append(asked.probe.failure)
        elif hashes is not None and not hashes.isdisjoint(asked.probe.content_hashes):
            self.left_out += 1
            return
        else:
            matches = asked.found[0]
        score = matches[0].similarity if matches else -np.inf
        who = asked.probe.photo.identity
        if who not in people:
            self.unknown.append(score)
            self.strangers.append(who)
            return
        self.known.append(score)
        self.ranks.append(next((place for place, match in enumerate(matches, start=1) if match.name == who), 0))


def evaluate_identify(config: IdentifyConfig, reporter: Reporter) -> OpenSetResult:
    """Measures `identify` on labeled photographs.

    Raises:
        DataError: As for `identify`, or no photograph shows a person of the gallery.
        TooManyBadFilesError: No face was found in more photographs than `max_bad` allows; the error has the result.
        ModelError, FingerprintError, ConfigError: As for `identify`.
    """
    job = prepare_identification(config, reporter)
    names, hashes, tally = set(job.people.names), job.people.content_hashes, _Tally()
    photos = job.probes.photos
    if not any(photo.identity in names for photo in photos):
        hint = "each person's folder must have the same name as in the gallery"
        raise DataError(f"{display_path(config.photos or '')}: no photograph is labeled with a gallery person; {hint}")
    for asked in ask(job, _RANKS, reporter):
        tally.add(asked, names, hashes)
    if not tally.known:
        text = "all photographs of known people are also in the gallery, and would match themselves"
        raise DataError(f"{display_path(config.photos or '')}: {text}; give other photographs")
    _warn(tally, hashes is None, reporter)
    _warn_of_few_strangers(tally, reporter)
    result = OpenSetResult(
        encoder=job.encoder.name,
        template=config.template,
        people=len(names),
        known=len(tally.known),
        unknown=len(tally.unknown),
        left_out=None if hashes is None else tally.left_out,
        failed=len(tally.failures),
        rank1=rank_rate(tally.ranks, 1),
        rank5=rank_rate(tally.ranks, _RANKS),
        dir_at_far=tuple(dir_at_far(tally.known, tally.ranks, tally.unknown, far) for far in FARS),
        rule=at_threshold(tally.known, tally.ranks, tally.unknown, job.people.rule.threshold),
        meaning=job.people.rule.meaning,
    )
    if len(tally.failures) > config.max_bad * len(photos):
        text = (
            f"no face found in {len(tally.failures)} of {len(photos)} photographs, more than --max-bad "
            f"{config.max_bad:g}"
        )
        raise TooManyBadFilesError(text, result)
    return result


def _warn(tally: _Tally, is_blind: bool, reporter: Reporter) -> None:
    if tally.left_out:
        text = f"{tally.left_out} photographs are also in the gallery and were excluded"
        reporter.report(Notice(text=text, level="warning"))
    if is_blind:
        text = "a classifier does not list its training pictures; make sure that none of them is among the photographs"
        reporter.report(Notice(text=text, level="warning"))
    if tally.failures:
        text = f"no face found in {len(tally.failures)} photographs (first: {tally.failures[0]})"
        reporter.report(Notice(text=text, level="warning"))


def _warn_of_few_strangers(tally: _Tally, reporter: Reporter) -> None:
    """Warns if a false alarm rate is measured on more photographs of unknown people than there are such people."""
    named = {who for who in tally.strangers if who is not None}
    people = len(named) + tally.strangers.count(None)
    uncertain = [far for far in FARS if people < 1 / far <= len(tally.unknown)]
    if uncertain:
        text = (
            f"the {len(tally.unknown):,} photographs of unknown people show {people:,} people: with other people, the "
            f"rates at a FAR of {uncertain[0]:g} or less may be very different; add people, not photographs"
        )
        reporter.report(Notice(text=text, level="warning"))
