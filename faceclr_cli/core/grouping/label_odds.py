"""Odds that faces have the wrong name, estimated from the embeddings and the names alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.linkage import cluster_by_linkage
from faceclr_cli.core.grouping.person_albums import PersonAlbums, Rows
from faceclr_cli.core.metrics.probability import Logistic, fit_logistic_counts

Floats = NDArray[np.float64]

_RIVALS = 3
_BINS = np.linspace(-1, 1, 401)
_ROUNDS, _SETTLED = 50, 1e-4
_FITS = 3
_LEVELS, _FACES_PER_LEVEL = (0.02, 0.05, 0.1, 0.25, 0.5), 100
_LOWEST_CORE = 0.02
"""Quantile of the affinities of core faces; other faces above it are initially assumed to have the right name."""
_STRANGERS = 0.5
"""Prior share of wrong names whose face shows a person who has no other faces in the set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelOdds:
    """The evidence of the embeddings about the name of each face.

    A ratio is the log likelihood ratio of a face showing a person against showing someone else.

    Attributes:
        match: The probability that a face shows a person, by their affinity, for equal prior odds.
        share: Estimated share of wrong names.
        own: Ratio for the face's own name. Shape: (N,).
        rivals: The people with the closest centers, except the face's own. Shape: (N, up to 3).
        ratios: Ratios for the rivals. Shape: (N, up to 3).
        wrong: Log odds that the name is wrong. Shape: (N,).
        known: Log odds that a face with a wrong name shows its best rival, rather than someone else. Shape: (N,).
    """

    match: Logistic
    share: float
    own: Floats
    rivals: Rows
    ratios: Floats
    wrong: Floats
    known: Floats

    @property
    def best(self) -> Rows:
        """The rival with the highest ratio. Shape: (N,)."""
        best: Rows = self.rivals[np.arange(len(self.own)), self.ratios.argmax(axis=1)]
        return best


def log_ratio(match: Logistic, affinities: Floats) -> Floats:
    """Returns the log likelihood ratio of affinities."""
    return match.slope * affinities + match.offset


def judge_labels(albums: PersonAlbums, norms: Floats | None = None, seed: int = 0) -> LabelOdds:
    """Estimates the odds that names are wrong.

    A name is right, or the face shows another person of the set, or a stranger. What affinities mean (see
    `PersonAlbums.affinities`) is learned from the faces themselves: a logistic function of the affinities of faces to
    their own people, weighted by the probability that the names are right, and to random other people. Initially, faces
    that match as well as nearly all faces of the cores are assumed to have the right name. The function, the share of
    wrong names and the probabilities are then estimated three times; with more rounds, the function would slowly learn
    to accept wrong names too.

    A blurred or hidden face matches every person poorly, and its embedding is short before normalization. The function
    is therefore learned separately for faces of similar norm.

    The prior of wrong names that show strangers is one half. People with one face cannot be judged: their odds are 0.

    Args:
        albums: The faces of at least two people.
        norms: L2 norms of the embeddings before normalization; None if unknown. Shape: (N,).
        seed: Seed of the random people.

    Raises:
        ValueError: There is only one person.
    """
    if len(albums) < 2:
        raise ValueError("names can be judged only among at least two people")
    faces, people = np.arange(len(albums.labels)), len(albums)
    others = (albums.labels + np.random.default_rng(seed).integers(1, people, len(faces))) % people
    own, impostor = albums.affinities(faces, albums.labels), albums.affinities(faces, others)
    rivals = albums.nearest_others(faces, _RIVALS)
    rival = np.stack([albums.affinities(faces, column) for column in rivals.T], axis=1)
    judged = albums.sizes[albums.labels] > 1
    levels = _levels(norms, len(faces))
    right = np.zeros(len(faces))
    for level in range(levels.max() + 1):
        rows = levels == level
        core = own[rows & albums.is_core & judged]
        right[rows] = own[rows] >= (np.quantile(core, _LOWEST_CORE) if len(core) else -np.inf)
    right *= own >= rival.max(axis=1)
    for _ in range(_FITS):
        match = _fit(own[judged], impostor, right[judged])
        of_own, of_rivals = np.empty_like(own), np.empty_like(rival)
        for level in range(levels.max() + 1):
            rows = levels == level
            some = _fit(own[rows & judged], impostor[rows], right[rows & judged]) if levels.any() else match
            of_own[rows], of_rivals[rows] = log_ratio(some, own[rows]), log_ratio(some, rival[rows])
        each = np.log((1 - _STRANGERS) / (people - 1)) + of_rivals
        # The log odds of a wrong name, for equal prior odds.
        evidence = np.logaddexp(np.logaddexp.reduce(each, axis=1), np.log(_STRANGERS)) - of_own
        share = _share(evidence[judged], float(1 - right[judged].mean()))
        wrong = evidence + np.log(share) - np.log1p(-share)
        right = 1 / (1 + np.exp(np.clip(wrong, -50, 50)))
    best = each.max(axis=1)
    rest = np.logaddexp.reduce(np.where(each < best[:, None], each, -np.inf), axis=1)
    return LabelOdds(
        match=match,
        share=share,
        own=of_own,
        rivals=rivals,
        ratios=of_rivals,
        wrong=np.where(judged, wrong, -np.inf),
        known=best - np.logaddexp(rest, np.log(_STRANGERS)),
    )


def _levels(norms: Floats | None, count: int) -> Rows:
    """Divides faces by norm, more finely among the shortest embeddings. Returns the level of each face, from 0."""
    if norms is None or not np.isfinite(norms).all():
        return np.zeros(count, np.int64)
    shares = [share for share in _LEVELS if share * count >= _FACES_PER_LEVEL]
    return np.searchsorted(np.quantile(norms, shares), norms).astype(np.int64)


def _share(evidence: Floats, start: float) -> float:
    """Estimates the share of wrong names by expectation-maximization."""
    fewest = 1 / (len(evidence) + 1)
    share = float(np.clip(start, fewest, 0.9))
    for _ in range(_ROUNDS):
        odds = evidence + np.log(share) - np.log1p(-share)
        before, share = share, float(np.clip((1 / (1 + np.exp(np.clip(-odds, -50, 50)))).mean(), fewest, 0.9))
        if abs(share - before) < _SETTLED:
            break
    return share


def _fit(own: Floats, impostor: Floats, right: Floats) -> Logistic:
    genuine = np.histogram(own, _BINS, weights=right)[0]
    if not genuine.any():
        genuine = np.histogram(own, _BINS)[0]
    if not genuine.any():
        return Logistic(slope=0.0, offset=0.0)
    return fit_logistic_counts((_BINS[1:] + _BINS[:-1]) / 2, genuine, np.histogram(impostor, _BINS)[0])


@dataclass(frozen=True, kw_only=True)
class SamePerson:
    """Two people of a set who are likely to be the same person.

    Attributes:
        one: The person with fewer faces.
        other: The person with more faces.
        log_odds: Log odds that they are the same person.
    """

    one: int
    other: int
    log_odds: float


def find_same_people(albums: PersonAlbums, odds: LabelOdds, least: float = 0.0) -> list[SamePerson]:
    """Finds people whose faces match each other's name.

    The ratio of two people is the median ratio of one's core for the other's name, plus that of the other direction;
    both must be above 0. The prior odds of a pair are 1 to the number of people.

    Args:
        albums: The faces.
        odds: Their odds.
        least: Minimum log odds.

    Returns:
        The pairs, most likely first.
    """
    medians = dict[tuple[int, int], float]()
    for person, core in enumerate(albums.core):
        rivals, ratios = odds.rivals[core], odds.ratios[core]
        for other in np.unique(rivals).tolist():
            # A face that does not have the other among its rivals matches others better.
            values = np.where(rivals == other, ratios, -np.inf).max(axis=1)
            medians[person, other] = float(np.median(values))
    found = []
    for (one, other), median in medians.items():
        back = medians.get((other, one), -np.inf)
        log_odds = median + back - np.log(len(albums))
        if one < other and min(median, back) > 0 and log_odds >= least:
            small, large = sorted((one, other), key=lambda person: (albums.sizes[person], person))
            found.append(SamePerson(one=small, other=large, log_odds=float(log_odds)))
    return sorted(found, key=lambda pair: (-pair.log_odds, pair.one, pair.other))


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondPerson:
    """Faces of a person that are likely to show a second one.

    Attributes:
        person: The person whose name they have.
        rows: The faces.
        log_odds: Log odds that they show someone else.
    """

    person: int
    rows: Rows
    log_odds: float


_FEWEST = 3
"""Minimum number of faces of a second person; fewer faces are judged one by one."""


def find_second_people(albums: PersonAlbums, match: Logistic, least: float = 0.0) -> list[SecondPerson]:
    """Finds people whose faces show two people.

    The faces of each person are grouped by average linkage, and the second largest group, of at least three faces, may
    be a second person. The ratio is the sum of both directions, as for `find_same_people`, with the same prior.

    Args:
        albums: The faces.
        match: The meaning of affinities; see `LabelOdds`.
        least: Minimum log odds.
    """
    found = []
    for person in range(len(albums)):
        rows = albums.faces(person)
        first, second = _divide(albums, rows, match)
        if len(first) and len(second) >= _FEWEST:
            ratios = [np.median(_ratios(albums, *ends, match)) for ends in ((second, first), (first, second))]
            log_odds = -sum(ratios) - np.log(len(albums))
            if max(ratios) < 0 and log_odds >= least:
                found.append(SecondPerson(person=person, rows=second, log_odds=float(log_odds)))
    return found


def _divide(albums: PersonAlbums, rows: Rows, match: Logistic) -> tuple[Rows, Rows]:
    """Divides faces into those that match their largest group, and those that match the second largest group better."""
    if match.slope <= 0:
        return rows, rows[:0]  # The affinities carry no information.
    groups = cluster_by_linkage(albums.embeddings[rows], np.arange(len(rows)), -match.offset / match.slope)
    sizes = np.bincount(groups, minlength=2)
    one, other = np.argsort(-sizes, kind="stable")[:2]
    if sizes[other] < _FEWEST:
        return rows, rows[:0]
    to_one, to_other = (_ratios(albums, rows, rows[groups == group], match) for group in (one, other))
    return rows[(to_one > 0) & (to_one >= to_other)], rows[(to_other > 0) & (to_other > to_one)]


def _ratios(albums: PersonAlbums, rows: Rows, group: Rows, match: Logistic) -> Floats:
    """Returns the ratios of faces for a group of faces as a person."""
    everyone = np.union1d(rows, group)
    inside = np.isin(everyone, group)
    # Faces outside of the group count as other people, whose names are not judged here.
    labels = np.where(inside, 0, 1).astype(np.int64)
    asked = np.searchsorted(everyone, rows)
    return log_ratio(match, PersonAlbums(albums.embeddings[everyone], labels).affinities(asked, np.zeros_like(asked)))
