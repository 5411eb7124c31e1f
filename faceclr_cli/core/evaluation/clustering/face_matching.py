"""Recognition of faces that an earlier run has seen, independent of the encoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from faceclr_cli.core.evaluation.clustering.group_memory import Box, RememberedFace

_LEAST_OVERLAP = 0.25
"""Minimum intersection over union of two boxes of the same face, which different detectors may have found."""


def match_faces(faces: Sequence[RememberedFace], known: Sequence[RememberedFace]) -> NDArray[np.int64]:
    """Finds each face among those of an earlier run.

    Two faces are the same if their pictures have the same content, regardless of the path, and the boxes overlap.
    Otherwise, they are the same if the photographs have the same path and the boxes overlap, since editing a photograph
    or preparing its crops again changes the file. Faces without a box are compared by their path.

    Args:
        faces: The faces of this run.
        known: Those of the earlier run.

    Returns:
        The place in `known` of each face, or -1. No place occurs twice. Shape: (faces,).
    """
    found, free = np.full(len(faces), -1, np.int64), set(range(len(known)))
    keys: tuple[Callable[[RememberedFace], Hashable], ...] = (
        lambda face: (face.sha256, face.path),
        lambda face: face.sha256,
        lambda face: face.photo,
    )
    for key in keys:
        places = defaultdict[Hashable, list[int]](list)
        for place in sorted(free):
            places[key(known[place])].append(place)
        rows = defaultdict[Hashable, list[int]](list)
        for row in np.flatnonzero(found < 0).tolist():
            if key(faces[row]) in places:
                rows[key(faces[row])].append(row)
        for name, those in rows.items():
            for row, place in _match_in_photo(faces, known, those, places[name]):
                found[row] = place
                free.discard(place)
    return found


def _match_in_photo(
    faces: Sequence[RememberedFace], known: Sequence[RememberedFace], rows: list[int], places: list[int]
) -> list[tuple[int, int]]:
    overlaps = np.array([[_overlap(faces[row], known[place]) for place in places] for row in rows])
    left, right = linear_sum_assignment(overlaps, maximize=True)
    return [(rows[a], places[b]) for a, b in zip(left, right, strict=True) if overlaps[a, b] >= _LEAST_OVERLAP]


def _overlap(face: RememberedFace, known: RememberedFace) -> float:
    if face.box is None or known.box is None:
        if face.sha256 != known.sha256 and face.path != known.path:
            return 0.0
        # If a photograph has several faces, the largest one is used, as in a gallery.
        return 1.0 if face.box is None else 1 - 1 / (2 + face.box[2] * face.box[3])
    return box_overlap(face.box, known.box)


def box_overlap(a: Box, b: Box) -> float:
    """Returns the intersection over union of two boxes: x, y, width and height."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0.0
