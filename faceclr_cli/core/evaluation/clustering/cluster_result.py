"""What `faceclr cluster` finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.metrics.cluster_agreement import ClusterScores


@dataclass(frozen=True, kw_only=True)
class GroupedFace:
    """A face and its group.

    Attributes:
        path: The picture, below the folder that was embedded.
        face: Its number in the photograph, from 1.
        box: x, y, width and height in pixels of the photograph; None for faces that were cut out before.
        group: Its number, from 1, 1 being the largest; None for a single.
        distance: Mean cosine distance to the others of its group, 0 to 2; None for a single.
        probability: How sure HDBSCAN is that it belongs there, 0 to 1; None for a single, and of linkage.
    """

    path: str
    face: int
    box: tuple[float, float, float, float] | None
    group: int | None
    distance: float | None
    probability: float | None

    def to_json(self) -> dict[str, Any]:
        """The face as a JSON object."""
        return {
            "path": self.path,
            "face": self.face,
            "box": None if self.box is None else [round(side, 1) for side in self.box],
            "group": self.group,
            "distance": None if self.distance is None else round(self.distance, 6),
            "probability": None if self.probability is None else round(self.probability, 6),
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """Faces that are taken for one person's.

    Attributes:
        number: From 1, the largest being 1.
        faces: How many.
        central: The path of the one that is nearest to the others.
        face: Its number in the photograph, from 1; None where the photograph shows no other.
    """

    number: int
    faces: int
    central: str
    face: int | None

    def to_json(self) -> dict[str, Any]:
        """The group as a JSON object."""
        return {"group": self.number, "faces": self.faces, "central": self.central, "face": self.face}


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """What `cluster` found.

    Attributes:
        source: Where the faces are from.
        encoder: Who embedded them.
        method: `agglomerative` or `hdbscan`.
        threshold: Least mean similarity within a group; None of HDBSCAN.
        meaning: What the threshold means, as a sentence; None of HDBSCAN.
        faces: Each of them, in the order of the store or the pictures.
        groups: The largest first.
        scored: How many faces the scores are of: those of people with names that are alone in their photograph.
        scores: How well the groups are the people; None where no face is scored.
        no_face: Pictures that gave no face; 0 of a store, which does not know them.
        out: The folder of links, or None.
        missing: Pictures that were not there to be linked.
    """

    source: str
    encoder: str
    method: str
    threshold: float | None
    meaning: str | None
    faces: tuple[GroupedFace, ...]
    groups: tuple[Group, ...]
    scored: int
    scores: ClusterScores | None
    no_face: int = 0
    out: Path | None = None
    missing: int = 0

    @property
    def singles(self) -> int:
        """Faces without a group."""
        return sum(face.group is None for face in self.faces)

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object; of the faces, how many there are."""
        return {
            "source": self.source,
            "encoder": self.encoder,
            "method": self.method,
            "threshold": self.threshold,
            "faces": len(self.faces),
            "singles": self.singles,
            "groups": [group.to_json() for group in self.groups],
            "scored": self.scored,
            "scores": None if self.scores is None else self.scores.to_json(),
            "no_face": self.no_face,
            "out": None if self.out is None else str(self.out),
            "missing": self.missing,
        }
