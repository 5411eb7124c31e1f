"""An order of labeled pictures in which even the first pictures show many people, for measurements on a part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.sources.layouts import Photo

FEWEST_PEOPLE = 10
"""Minimum number of people with two faces for a measurement."""

_AT_A_TIME = 4
"""Number of faces of a person that are added at a time, so that the first faces show many people."""


def order_by_person(photos: Iterable[Photo], seed: int) -> tuple[list[Photo], NDArray[np.int64]]:
    """Returns the pictures of people who have two or more: a few of each person, then more of each.

    Args:
        photos: The pictures.
        seed: Seed of the order of people and of their pictures.

    Returns:
        The pictures, and the number of the person of each, from 0 in the random order of people. Shape: (pictures,).
    """
    by_person = defaultdict[str, list[Photo]](list)
    for photo in photos:
        if photo.identity is not None:
            by_person[photo.identity].append(photo)
    people = sorted(name for name, own in by_person.items() if len(own) > 1)
    generator = np.random.default_rng(seed)
    ranked = list[tuple[int, int, Photo]]()
    for place, number in enumerate(generator.permutation(len(people)).tolist()):
        own = by_person[people[number]]
        order = generator.permutation(len(own)).tolist()
        ranked += [(rank // _AT_A_TIME, place, own[each]) for rank, each in enumerate(order)]
    ranked.sort(key=lambda entry: entry[:2])
    return [photo for _, _, photo in ranked], np.array([place for _, place, _ in ranked], np.int64)
