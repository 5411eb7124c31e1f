"""A match between a face and a person of the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Match:
    """A candidate person for a face.

    Attributes:
        name: Name of the person.
        similarity: Cosine similarity to the person's most similar picture, or to their centroid with a classifier,
            -1 to 1.
        probability: Probability that the face shows the person, for a prior of 0.5 that it shows anyone in the gallery;
            None if the encoder is not calibrated. With a classifier, the probability of this person given that the
            face shows one of its people.
        picture: The most similar picture, or with --template the template; None with a classifier, which does not store
            pictures.
    """

    name: str
    similarity: float
    probability: float | None
    picture: str | None


def merge_matches(found: Sequence[tuple[Match, ...]], count: int) -> tuple[Match, ...]:
    """Returns the best matches of a template, given those of each of its vectors.

    Args:
        found: The matches of each vector, best first, with `count` or more people each if there are as many.
        count: Maximum number of people.
    """
    if len(found) == 1:
        return found[0]
    best: dict[str, Match] = {}
    for match in (match for matches in found for match in matches):
        if match.name not in best or match.similarity > best[match.name].similarity:
            best[match.name] = match
    return tuple(sorted(best.values(), key=lambda match: (-match.similarity, match.name))[:count])
