"""Names that embeddings contradict: intruders, one person under two names, and two people under one name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.label_odds import (
    LabelOdds,
    SamePerson,
    SecondPerson,
    find_same_people,
    find_second_people,
    judge_labels,
)
from faceclr_cli.core.grouping.person_albums import PersonAlbums
from faceclr_cli.core.upkeep.proposals import Proposal, odds_of

_Labels = NDArray[np.int64]
_SURE = math.log(2)
"""Minimum log odds of the person that a face with a wrong name is moved to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelReview:
    """The result of a review.

    Attributes:
        albums: The faces of people as they would be if all proposals were accepted except those about single faces.
        odds: Their odds.
        proposals: The proposed changes: people before faces.
        names: The given names of each person of `albums`; none for a second person with an unknown name.
    """

    albums: PersonAlbums
    odds: LabelOdds
    proposals: tuple[Proposal, ...]
    names: tuple[tuple[str, ...], ...]


def review_labels(
    embeddings: NDArray[np.float32],
    norms: NDArray[np.float32],
    paths: Sequence[str],
    owners: Sequence[str],
    min_odds: float,
) -> LabelReview:
    """Finds names that the embeddings contradict.

    People are judged before faces: names of the same person are joined, and a second person in a folder becomes one of
    its own, so that neither makes faces look like intruders.

    Args:
        embeddings: L2-normalized. Shape: (N, D).
        norms: L2 norms before normalization; NaN if unknown. Shape: (N,).
        paths: The path of each face.
        owners: The person of each face; at least two people.
        min_odds: Minimum odds of a proposal.
    """
    people = sorted(set(owners))
    place = {name: number for number, name in enumerate(people)}
    given = np.array([place[name] for name in owners], np.int64)
    least, lengths = math.log(min_odds), norms.astype(np.float64)
    albums = PersonAlbums(embeddings, given)
    odds = judge_labels(albums, lengths)
    seconds = find_second_people(albums, odds.match, least)
    labels = given.copy()
    for number, second in enumerate(seconds):
        labels[second.rows] = len(people) + number
    if seconds:
        albums = PersonAlbums(embeddings, labels)
        odds = judge_labels(albums, lengths)
    same = find_same_people(albums, odds, least)
    joined = _join(len(albums), [*same, *_known_seconds(seconds, len(people), odds)])
    numbers, labels = np.unique(joined[labels], return_inverse=True)
    if 1 < len(numbers) < len(albums):
        albums = PersonAlbums(embeddings, labels.astype(np.int64))
        odds = judge_labels(albums, lengths)
    review = _Review(people, given, seconds, albums, odds)
    proposals = (
        *review.same_people(same),
        *review.second_people(paths),
        *review.intruders(paths, least),
    )
    return LabelReview(albums=albums, odds=odds, proposals=proposals, names=tuple(map(tuple, review.given_names)))


def _known_seconds(seconds: Sequence[SecondPerson], people: int, odds: LabelOdds) -> list[SamePerson]:
    """Returns the second people whose faces mostly show a certain person of the set, rather than someone else."""
    found = []
    for number, second in enumerate(seconds, start=people):
        best = odds.best[second.rows]
        other = int(np.bincount(best).argmax())
        known = float(np.median(np.where(best == other, odds.known[second.rows], -np.inf)))
        if other < people and known >= 0:
            found.append(SamePerson(one=number, other=other, log_odds=known))
    return found


def _join(count: int, pairs: Sequence[SamePerson]) -> _Labels:
    """Returns the smallest number of each one's group."""
    joined = np.arange(count)
    for pair in pairs:
        ends = joined[[pair.one, pair.other]]
        joined[np.isin(joined, ends)] = ends.min()
    return joined


class _Review:
    def __init__(
        self,
        people: Sequence[str],
        given: _Labels,
        seconds: Sequence[SecondPerson],
        albums: PersonAlbums,
        odds: LabelOdds,
    ) -> None:
        self.people, self.given, self.albums, self.odds = people, given, albums, odds
        self.seconds = seconds
        sizes = np.bincount(given)
        doubtful = np.concatenate([np.empty(0, np.int64), *(each.rows for each in seconds)])
        self.given_names: list[list[str]] = []
        """The names of each person of the albums, that of the largest folder first; none for a second person."""
        for person in range(len(albums)):
            owners = np.unique(given[np.setdiff1d(albums.faces(person), doubtful)])
            self.given_names.append([people[owner] for owner in owners[np.argsort(-sizes[owners], kind="stable")]])

    def _name(self, person: int) -> str | None:
        return next(iter(self.given_names[person]), None)

    def same_people(self, pairs: Sequence[SamePerson]) -> list[Proposal]:
        """Proposes to move people to their other name."""
        real = [pair for pair in pairs if max(pair.one, pair.other) < len(self.people)]
        moved, found = set[int](), []
        for pair in real:
            if pair.one in moved:
                continue  # A third name of a person; the others already say where the faces go.
            moved.add(pair.one)
            found.append(
                Proposal(
                    face=self.people[pair.one],
                    what="same-person",
                    odds=odds_of(pair.log_odds),
                    other=self.people[pair.other],
                    action="move",
                )
            )
        return found

    def second_people(self, paths: Sequence[str]) -> list[Proposal]:
        """Proposes a name for each second person, or the person's own if the set has it."""
        taken, found = set(self.people), []
        for each in self.seconds:
            name = self._name(int(self.albums.labels[each.rows[0]]))
            if name == self.people[each.person]:
                continue  # Judged again among all people, they are one.
            is_known = name is not None
            if name is None:
                name = next(
                    new for n in range(2, len(taken) + 3) if (new := f"{self.people[each.person]}-{n}") not in taken
                )
                taken.add(name)
            found += [
                Proposal(
                    face=paths[row],
                    what="intruder" if is_known else "two-people",
                    odds=odds_of(each.log_odds),
                    other=name,
                    action="move",
                )
                for row in each.rows.tolist()
            ]
        return found

    def intruders(self, paths: Sequence[str], least: float) -> list[Proposal]:
        """Proposes to move single faces to the people that they show, or to leave out faces of unknown people."""
        odds, albums = self.odds, self.albums
        seconds = np.zeros(len(paths), np.bool_)
        for each in self.seconds:
            seconds[each.rows] = True
        is_known = odds.known >= _SURE
        # If two faces do not match, it is unknown which of them has the wrong name.
        alone = (albums.sizes[albums.labels] < 3) & ~is_known
        rows = np.flatnonzero((odds.wrong >= least) & ~seconds & ~alone)
        best, found = odds.best, []
        for row in rows[np.argsort(-odds.wrong[rows], kind="stable")].tolist():
            name = self._name(int(best[row])) if is_known[row] else None
            found.append(
                Proposal(
                    face=paths[row],
                    what="intruder",
                    odds=odds_of(float(odds.wrong[row])),
                    other=name or "",
                    action="move" if name else "remove",
                )
            )
        return found
