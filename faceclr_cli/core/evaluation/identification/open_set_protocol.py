"""`faceclr identify --evaluate`: how well the people of a gallery are named, and strangers told apart from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.errors import DataError, TooManyBadFilesError
from faceclr_cli.core.evaluation.identification.identify import AnsweredPhoto, ask, prepare_identification
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.open_set import FARS, DirPoint, ThresholdRates, at_threshold, dir_at_far, rank_rate
from faceclr_cli.core.text import display_path

_RANKS = 5


@dataclass(frozen=True, kw_only=True)
class OpenSetResult:
    """What an encoder and a gallery reached on labeled photographs.

    Attributes:
        encoder: Its name.
        people: In the gallery.
        known: Photographs of people of the gallery.
        unknown: Photographs of anybody else.
        left_out: Photographs that are themselves in the gallery, and count nowhere; None where nobody knows.
        failed: Photographs without a face. They count: of known people as missed, of others as rejected.
        rank1: Share of the known whose own person is the first, whatever the threshold.
        rank5: Share of the known whose own person is among the first five.
        dir_at_far: Detection and identification rate at false alarm rates.
        rule: What the threshold does that decides without --evaluate.
        meaning: Where that threshold is from, as a sentence.
    """

    encoder: str
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
    """What was found so far: the first person's similarity, and at which place a known face's own person is."""

    known: list[float] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    left_out: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, asked: AnsweredPhoto, people: set[str], hashes: frozenset[str] | None) -> None:
        matches: Sequence[Match] = ()
        if asked.probe.failure is not None:
            self.failures.append(asked.probe.failure)
        elif hashes is not None and asked.probe.content_hash in hashes:
            self.left_out += 1
            return
        else:
            matches = asked.found[0]
        score = matches[0].similarity if matches else -np.inf
        who = asked.probe.photo.identity
        if who not in people:
            self.unknown.append(score)
            return
        self.known.append(score)
        self.ranks.append(next((place for place, match in enumerate(matches, start=1) if match.name == who), 0))


def evaluate_identify(config: IdentifyConfig, reporter: Reporter) -> OpenSetResult:
    """Measures how well `identify` would do on photographs of which it is known who they show.

    Raises:
        DataError: As `identify`, or nobody of the gallery is among the photographs.
        TooManyBadFilesError: More photographs gave no face than `max_bad` allows; the numbers stand.
        ModelError, FingerprintError, ConfigError: As `identify`.
    """
    job = prepare_identification(config, reporter)
    names, hashes, tally = set(job.people.names), job.people.content_hashes, _Tally()
    photos = job.probes.photos
    if not any(photo.identity in names for photo in photos):
        hint = "the folders of people must have the names that the gallery gives them"
        raise DataError(f"{display_path(config.photos or '')}: shows nobody of the gallery by name; {hint}")
    for asked in ask(job, _RANKS, reporter):
        tally.add(asked, names, hashes)
    if not tally.known:
        text = "every photograph of somebody known is itself in the gallery, and would find itself"
        raise DataError(f"{display_path(config.photos or '')}: {text}; give other photographs")
    _tell(tally, hashes is None, reporter)
    result = OpenSetResult(
        encoder=job.encoder.name,
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
            f"{len(tally.failures)} of {len(photos)} photographs gave no face, more than --max-bad {config.max_bad:g}"
        )
        raise TooManyBadFilesError(text, result)
    return result


def _tell(tally: _Tally, is_blind: bool, reporter: Reporter) -> None:
    """Says what the numbers don't."""
    if tally.left_out:
        text = f"{tally.left_out} photographs are in the gallery themselves and were left out"
        reporter.report(Notice(text=text, level="warning"))
    if is_blind:
        text = "a classifier does not say which pictures it learned from: none of them may be among these"
        reporter.report(Notice(text=text, level="warning"))
    if tally.failures:
        text = f"{len(tally.failures)} photographs gave no face (first: {tally.failures[0]})"
        reporter.report(Notice(text=text, level="warning"))
