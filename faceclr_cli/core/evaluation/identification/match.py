"""A match between a face and a person of the gallery."""

from __future__ import annotations

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
        picture: The most similar picture; None with a classifier, which does not store pictures.
    """

    name: str
    similarity: float
    probability: float | None
    picture: str | None
