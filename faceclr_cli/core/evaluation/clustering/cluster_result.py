"""The result of `faceclr cluster`: faces, groups and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.grouping.linkage import Search
from faceclr_cli.core.metrics.cluster_agreement import ClusterScores


@dataclass(frozen=True, kw_only=True)
class GroupedFace:
    """A face and its group.

    Attributes:
        path: Path of the picture, relative to the folder that was embedded.
        face: Number of the face in the photograph, from 1.
        box: x, y, width and height in pixels of the photograph; None for prepared faces.
        group: Number of the group; None for a single face. A new folder of groups is numbered from 1 for the largest.
        name: Name of the group's folder if it is not its number; None for a group without a name.
        distance: Mean cosine distance to the other faces of the group, 0 to 2; None for a single face.
        probability: HDBSCAN membership probability, 0 to 1; None for a single face and for linkage.
    """

    path: str
    face: int
    box: tuple[float, float, float, float] | None
    group: int | None
    distance: float | None
    probability: float | None
    name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The face as a JSON object."""
        return {
            "path": self.path,
            "face": self.face,
            "box": None if self.box is None else [round(side, 1) for side in self.box],
            "group": self.group,
            "name": self.name,
            "distance": None if self.distance is None else round(self.distance, 6),
            "probability": None if self.probability is None else round(self.probability, 6),
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of faces that are assumed to show one person.

    Attributes:
        number: Number of the group.
        faces: Number of faces.
        central: Path of the picture of the most central face.
        face: Number of that face in the photograph, from 1; None if the photograph has no other face.
        name: Name of its folder if it is not the number.
    """

    number: int
    faces: int
    central: str
    face: int | None
    name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The group as a JSON object."""
        return {
            "group": self.number,
            "name": self.name,
            "faces": self.faces,
            "central": self.central,
            "face": self.face,
        }


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """The result of `cluster`.

    Attributes:
        source: The store or folder of faces.
        encoder: Name of the encoder.
        method: `agglomerative` or `hdbscan`.
        threshold: Minimum mean similarity within a group; None for HDBSCAN.
        meaning: A description of the threshold; None for HDBSCAN.
        search: Which groups were compared: `exact`, `neighbors` or `approximate`, as in `Linkage`; None for HDBSCAN.
        recall: Share of the pairs of neighbors that the approximate search found, by a sample; None for others.
        faces: All faces, in the order of the store or the pictures.
        groups: The groups, largest first.
        scored: Number of scored faces: those with a name that are alone in their photograph.
        scores: Agreement between the groups and the people; None if no face is scored.
        no_face: Number of pictures without a face; 0 for a store, which does not record them.
        low_quality: Number of faces below `--min-quality`, which stay single.
        out: The folder of links, or None.
        missing: Number of pictures that could not be linked because they do not exist.
        ignored: Number of faces of people that the user ignores; they have no group.
        new: Number of faces that the folder of links did not have before.
        corrections: What the user had changed in the folder since the last run, such as `2 faces moved`.
        questions: Number of questions written for `--review`, or None.
    """

    source: str
    encoder: str
    method: str
    threshold: float | None
    meaning: str | None
    search: Search | None
    recall: float | None
    faces: tuple[GroupedFace, ...]
    groups: tuple[Group, ...]
    scored: int
    scores: ClusterScores | None
    no_face: int = 0
    low_quality: int = 0
    out: Path | None = None
    missing: int = 0
    ignored: int = 0
    new: int = 0
    corrections: tuple[str, ...] = ()
    questions: int | None = None

    @property
    def singles(self) -> int:
        """Number of faces without a group that are not ignored."""
        return sum(face.group is None for face in self.faces) - self.ignored

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object, with the number of faces instead of the faces."""
        return {
            "source": self.source,
            "encoder": self.encoder,
            "method": self.method,
            "threshold": self.threshold,
            "search": self.search,
            "recall": self.recall,
            "faces": len(self.faces),
            "singles": self.singles,
            "groups": [group.to_json() for group in self.groups],
            "scored": self.scored,
            "scores": None if self.scores is None else self.scores.to_json(),
            "no_face": self.no_face,
            "low_quality": self.low_quality,
            "out": None if self.out is None else str(self.out),
            "missing": self.missing,
            "ignored": self.ignored,
            "new": self.new,
            "corrections": list(self.corrections),
            "questions": self.questions,
        }
