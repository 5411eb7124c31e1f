"""Tracks of films: their crops show one person, and tracks that were seen in one frame show different people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.preparing.track_table import TrackRow


def link_tracks(paths: Sequence[str], tracks: Iterable[TrackRow]) -> Constraints:
    """Returns the constraints on faces that follow from tracks.

    Args:
        paths: The path of each face.
        tracks: The tracks, with the paths of their crops as in `paths`.

    Returns:
        A must-link of the faces of each track, and a cannot-link of each pair of faces of two tracks that were seen in
        one frame. Nothing is known about two other tracks of a film: a person may appear again after a cut.
    """
    found, known = list(tracks), Constraints.none(len(paths))
    if not found:
        return known
    places = {path: place for place, path in enumerate(paths)}
    labels = known.tracks.copy()
    members: dict[tuple[str, int], list[int]] = {}
    pairs: list[tuple[int, int]] = []
    for label, track in enumerate(found):
        own = [places[path] for path in track.outputs if path in places]
        labels[own] = label
        members[track.path, track.track] = own
        # Both tracks of a pair list each other, so the pair is added when the second one is processed.
        for other in track.together:
            pairs += product(members.get((track.path, other), ()), own)
    return replace(known, tracks=labels, apart=np.array(pairs, np.int64).reshape(-1, 2))
