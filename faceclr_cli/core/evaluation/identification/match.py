"""A person beside a face."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Match:
    """A person of the gallery beside a face.

    Attributes:
        name: Of the person.
        similarity: Cosine to the most similar of their pictures, or of a classifier to their centroid, -1 to 1.
        probability: The chance that it is the person, if a stranger is as likely beforehand as all people of the
            gallery together, or None where it was not measured; of a classifier, the chance that it is this one of its
            people.
        picture: That picture; None of a classifier, which keeps none.
    """

    name: str
    similarity: float
    probability: float | None
    picture: str | None
