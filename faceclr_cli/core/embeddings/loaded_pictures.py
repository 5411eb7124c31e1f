"""Pictures as they are loaded for an encoder: aligned crops, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.embedding_rows import QUALITY
from faceclr_cli.core.faces.crop import AlignedFace
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.quality import FaceQuality, describe_doubts


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCrop:
    """An aligned face crop.

    Attributes:
        crop: RGB, 0-255. Shape: (size, size, 3).
        face: The detected face, or None if the crop was prepared by an earlier run.
        faces_found: Number of faces in the photograph.
        measured: Quality of the face, or None if it was not asked for.
        recorded_score: Detection score that was recorded for a prepared face; NaN if unknown or not asked for.
    """

    crop: NDArray[np.uint8]
    face: Face | None = None
    faces_found: int = 1
    measured: FaceQuality | None = None
    recorded_score: float = math.nan

    @property
    def score(self) -> float:
        """Detection score, 0 to 1; NaN for prepared faces without a recorded score."""
        return self.recorded_score if self.face is None else self.face.score

    @property
    def quality(self) -> tuple[float, float, float]:
        """The sharpness, the eye distance and the frontality; NaN if unknown."""
        known = self.measured
        return (math.nan,) * 3 if known is None else (known.sharpness, known.eye_distance, known.frontality)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height in pixels of the photograph; NaN for prepared faces."""
        return (math.nan,) * 4 if self.face is None else self.face.box

    @property
    def measures(self) -> dict[str, float]:
        """The known quality measures by name; see `configs.quality.MEASURES`."""
        values = zip(("detection_score", *QUALITY), (self.score, *self.quality), strict=False)
        return {name: value for name, value in values if not math.isnan(value)}

    @property
    def face_notes(self) -> tuple[str, ...]:
        """Notes on the quality of the face; none for prepared faces."""
        if self.face is None:
            return ()
        return describe_doubts(AlignedFace(crop=self.crop, face=self.face, faces_found=self.faces_found))

    @property
    def photo_notes(self) -> tuple[str, ...]:
        """Notes on the quality of the face, and on other faces in the photograph; none for prepared faces."""
        several = (f"{self.faces_found} faces found",) if self.face is not None and self.faces_found > 1 else ()
        return (*several, *self.face_notes)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPicture:
    """A picture with the crops to embed.

    Attributes:
        name: Path relative to the root folder, with forward slashes.
        identity: The person, or None if unknown.
        content_hash: SHA-256 of the file.
        faces: The crops; empty if the picture is already embedded.
    """

    name: str
    identity: str | None
    content_hash: str
    faces: tuple[FaceCrop, ...]


@dataclass(frozen=True, kw_only=True)
class FailedPicture:
    """A file without a face.

    Attributes:
        reason: One line with the path and the reason.
    """

    reason: str
