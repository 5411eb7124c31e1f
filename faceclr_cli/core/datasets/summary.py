"""How many people and pictures a part has, and how many pictures its people have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class PartSummary:
    """Who and what is in a part.

    Attributes:
        people: How many people; those whose name nobody knows are not counted.
        faces: How many pictures, of people and of nobody knows whom.
        mean: Pictures for each person, on average.
        std: Standard deviation of that (of the people here, not an estimate for others).
        minimum: Pictures of the person with the fewest.
        maximum: Pictures of the person with the most.
    """

    people: int
    faces: int
    mean: float
    std: float
    minimum: int
    maximum: int


def summarise(paths: Sequence[str], identities: Iterable[str | None]) -> PartSummary:
    """Counts people and pictures. `paths` and `identities` have the same length."""
    sizes = np.array(list(Counter(name for name in identities if name is not None).values()) or [0])
    return PartSummary(
        people=int(np.count_nonzero(sizes)),
        faces=len(paths),
        mean=round(float(sizes.mean()), 3),
        std=round(float(sizes.std()), 3),
        minimum=int(sizes.min()),
        maximum=int(sizes.max()),
    )
