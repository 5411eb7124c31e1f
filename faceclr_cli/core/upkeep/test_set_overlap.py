"""People of a data set who appear in a test set, found by embeddings."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.grouping.label_odds import Floats, log_ratio
from faceclr_cli.core.grouping.person_albums import PersonAlbums
from faceclr_cli.core.metrics.probability import Logistic

_CANDIDATES = 3
_STRANGERS = 0.5
"""Prior share of the people of a test set who are not in the data set."""


@dataclass(frozen=True, kw_only=True)
class SharedPerson:
    """A person of a test set who is in the data set.

    Attributes:
        person: The number of the person in the albums.
        picture: The picture of the test set that matches best.
        log_odds: Log odds that both are the same person.
    """

    person: int
    picture: str
    log_odds: float


def find_test_people(albums: PersonAlbums, match: Logistic, test: Rows, least: float) -> list[SharedPerson]:
    """Finds the people who appear in a test set.

    The log odds are those of the median picture of a person of the test set. If the test set has no names, as a `.bin`
    file, each of its pictures is judged alone.

    Args:
        albums: The people of the data set.
        match: The meaning of affinities; see `grouping.label_odds.LabelOdds`.
        test: Embeddings of the test set.
        least: Minimum log odds.

    Returns:
        For each person of the data set, the most likely person of the test set.
    """
    count = len(albums.labels)
    people = len(albums)
    labels = np.concatenate([albums.labels, np.full(len(test), people)])
    joined = PersonAlbums(np.concatenate([albums.embeddings, test.embeddings]), labels)
    rows = np.arange(count, count + len(test))
    # The test set is the last person of the joined albums, so the candidates are all of the data set.
    candidates = joined.nearest_others(rows, _CANDIDATES)
    affinities = np.stack([joined.affinities(rows, column) for column in candidates.T], axis=1)
    each = np.log((1 - _STRANGERS) / people) + log_ratio(match, affinities)
    best = each.argmax(axis=1)
    places = np.arange(len(rows))
    top = each[places, best]
    each[places, best] = -np.inf
    log_odds = top - np.logaddexp(np.logaddexp.reduce(each, axis=1), np.log(_STRANGERS))
    return _by_person(candidates[places, best], log_odds, test, least)


def _by_person(best: NDArray[np.int64], log_odds: Floats, test: Rows, least: float) -> list[SharedPerson]:
    groups = defaultdict[str, list[int]](list)
    for row, (path, name) in enumerate(zip(test.paths, test.identities, strict=True)):
        groups[path if name is None else f"/{name}"].append(row)
    found = dict[int, SharedPerson]()
    for group in groups.values():
        rows = np.array(group)
        person = int(np.bincount(best[rows]).argmax())
        values = np.where(best[rows] == person, log_odds[rows], -np.inf)
        middle = float(np.median(values))
        known = found.get(person)
        if middle >= least and (known is None or middle > known.log_odds):
            found[person] = SharedPerson(person=person, picture=test.paths[rows[values.argmax()]], log_odds=middle)
    return sorted(found.values(), key=lambda each: (-each.log_odds, each.person))
