"""The records of prepared faces in the ledger of their folder."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.fingerprint import UNKNOWN
from faceclr_cli.core.faces.quality import measure_pose
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger, Row


class RecordedFace(NamedTuple):
    """A face as it was found in its photograph.

    Attributes:
        score: Detection score, 0 to 1; NaN if unknown.
        eye_distance: See `faces.quality.FaceQuality`.
        yaw: See `faces.quality.FaceQuality`.
    """

    score: float
    eye_distance: float
    yaw: float


def read_recorded_faces(faces: FaceFolder) -> dict[str, RecordedFace]:
    """Reads the ledger of prepared faces.

    Args:
        faces: The faces. The parts of a split, containers, and crops that were made elsewhere have no record.

    Returns:
        The recorded faces, by path relative to the folder.

    Raises:
        DataError: The ledger is damaged.
    """
    path = faces.root / LEDGER
    if faces.container is not None or faces.fingerprint.detector == UNKNOWN or not path.is_file():
        return {}
    with Ledger.open_to_read(path) as ledger:
        return {
            output: _recorded_face(about)
            for row in ledger.rows()
            if row.output is not None
            for output, about in zip(row.outputs, _descriptions(row), strict=True)
        }


def _descriptions(row: Row) -> list[dict[str, Any]]:
    """Returns the box, landmarks and score of each crop of a photograph."""
    first = {
        "box": json.loads(row.box or "null"),
        "landmarks": json.loads(row.landmarks or "null"),
        "score": row.score,
    }
    return [first, *json.loads(row.more or "[]")]


def _recorded_face(about: dict[str, Any]) -> RecordedFace:
    score = math.nan if about["score"] is None else float(about["score"])
    box, landmarks = about["box"], about["landmarks"]
    if box is None:
        return RecordedFace(score, math.nan, math.nan)
    points = None if landmarks is None else np.array(landmarks, np.float32)
    return RecordedFace(score, *measure_pose(Face(box=tuple(box), landmarks=points, score=score)))
