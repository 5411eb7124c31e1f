"""Tracks: the faces in successive frames of a film that show one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.detect import Face

LONGEST_GAP = 2.0
"""Seconds for which a face may be hidden without ending its track."""

_LONGEST_CUTAWAY = 1.0
"""Seconds after which a picture that returns is another shot: a flash or damaged frames last less."""

_CUT = 0.5
"""Minimum share of pixels whose colors change at a cut."""

_REACH, _SPEED = 0.6, 1.5
"""Maximum distance from the predicted position in widths of the face: at once, and in addition for each second."""

_LARGEST_RATIO = 1.6
"""Maximum ratio of the widths of a face in successive frames."""

_LEAST_SIMILAR, _MORE_SIMILAR = 0.3, 0.1
"""Minimum cosine similarity of SFace: at once, and in addition for each second for which the face was hidden."""

_BLIND_GAP = 0.5
"""Longest gap in seconds for faces without embeddings."""


@dataclass(eq=False)
class FaceTrack:
    """A track while the film is read.

    Attributes:
        number: Rank by the first sighting, from 1.
        start: Time of the first sighting in seconds.
        end: Time of the last sighting.
        frames: Number of sightings.
        together: Numbers of other tracks that were seen in a frame with this one.
    """

    number: int
    start: float
    end: float
    frames: int = 0
    together: set[int] = field(default_factory=set)
    _box: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    _velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    _sum: NDArray[np.float32] | None = None
    _last: NDArray[np.float32] | None = None

    def score(self, seconds: float, face: Face, embedding: NDArray[np.float32] | None) -> float | None:
        """Scores a face as the continuation of the track.

        Args:
            seconds: Time of the face.
            face: The face.
            embedding: Its normalized embedding, or None if it has none. Shape: (dim,).

        Returns:
            The score, higher is better; None if the face cannot continue the track.
        """
        gap, box = seconds - self.end, _centered(face)
        width = (self._box[2] + box[2]) / 2
        # A face that was lost does not keep its speed for long.
        expected = self._box[:2] + self._velocity * min(gap, _BLIND_GAP)
        away = min(np.hypot(*(expected - box[:2])), np.hypot(*(self._box[:2] - box[:2]))) / width
        reach = _REACH + _SPEED * gap
        ratio = max(self._box[2] / box[2], box[2] / self._box[2])
        if away > reach or ratio > _LARGEST_RATIO:
            return None
        nearness = 1 - away / reach
        if embedding is None or self._sum is None or self._last is None:
            return None if gap > _BLIND_GAP else float(nearness)
        mean = self._sum / np.linalg.norm(self._sum)
        # A head that turns resembles the last view more than the mean.
        likeness = max(float(mean @ embedding), float(self._last @ embedding))
        if likeness < _LEAST_SIMILAR + _MORE_SIMILAR * gap:
            return None
        return likeness + float(nearness) / 2

    def add(self, seconds: float, face: Face, embedding: NDArray[np.float32] | None) -> None:
        """Adds a sighting; see `score`."""
        box = _centered(face)
        if self.frames and seconds > self.end:
            self._velocity = (box[:2] - self._box[:2]) / (seconds - self.end)
        self._box, self.end = box, seconds
        self.frames += 1
        if embedding is not None:
            self._sum = embedding if self._sum is None else self._sum + embedding
            self._last = embedding


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cutaway:
    """The tracks before a cut, in case the picture returns."""

    seconds: float
    colors: NDArray[np.float32]
    tracks: list[FaceTrack]


class FaceTracker:
    """Assigns the faces in the frames of a film to tracks.

    A face continues a track if it is near the position that the motion of the track predicts, and its embedding agrees
    with the track. Each frame gets the assignment with the highest total score. A track ends at a cut, and after
    `LONGEST_GAP` without a sighting.
    """

    def __init__(self) -> None:
        self._open: list[FaceTrack] = []
        self._colors: NDArray[np.float32] | None = None
        self._before: _Cutaway | None = None
        self._count = 0

    def add_frame(
        self,
        seconds: float,
        image: NDArray[np.uint8],
        faces: Sequence[Face],
        embeddings: Sequence[NDArray[np.float32] | None],
    ) -> tuple[list[FaceTrack], list[FaceTrack]]:
        """Assigns the faces of the next frame.

        Args:
            seconds: Time of the frame.
            image: RGB. Shape: (height, width, 3).
            faces: The faces.
            embeddings: Their normalized embeddings, or None where a face has none. Shape of each: (dim,).

        Returns:
            The track of each face, and the tracks that ended before this frame.
        """
        ended = self._end_shot(seconds, image)
        ended += [track for track in self._open if seconds - track.end > LONGEST_GAP]
        self._open = [track for track in self._open if seconds - track.end <= LONGEST_GAP]
        scores = [
            [track.score(seconds, face, embedding) for track in self._open]
            for face, embedding in zip(faces, embeddings, strict=True)
        ]
        chosen = _assign(scores)
        seen = []
        for place, (face, embedding) in enumerate(zip(faces, embeddings, strict=True)):
            track = self._open[chosen[place]] if place in chosen else self._begin(seconds)
            track.add(seconds, face, embedding)
            seen.append(track)
        numbers = {track.number for track in seen}
        for track in seen:
            track.together |= numbers - {track.number}
        return seen, ended

    def finish(self) -> list[FaceTrack]:
        """Ends all tracks at the end of the film and returns them."""
        ended = [*(self._before.tracks if self._before else ()), *self._open]
        self._open, self._before = [], None
        return ended

    def _begin(self, seconds: float) -> FaceTrack:
        self._count += 1
        track = FaceTrack(self._count, seconds, seconds)
        self._open.append(track)
        return track

    def _end_shot(self, seconds: float, image: NDArray[np.uint8]) -> list[FaceTrack]:
        """Ends all tracks at a cut, but resumes those of the shot before if its picture returns at once."""
        ended: list[FaceTrack] = []
        if self._before is not None and seconds - self._before.seconds > _LONGEST_CUTAWAY:
            ended, self._before = self._before.tracks, None
        former, self._colors = self._colors, _colors_of(image)
        if former is None or _change(former, self._colors) <= _CUT:
            return ended
        leaving, self._open = self._open, []
        if self._before is not None:
            if _change(self._before.colors, self._colors) <= _CUT:
                self._open = self._before.tracks
            else:
                ended = ended + self._before.tracks
        self._before = _Cutaway(seconds=seconds, colors=former, tracks=leaving)
        return ended


def _assign(scores: Sequence[Sequence[float | None]]) -> dict[int, int]:
    """Returns the assignment of faces to tracks with the highest sum of scores. Every score is positive or None."""
    if not scores or not scores[0]:
        return {}
    from scipy.optimize import linear_sum_assignment

    gains = np.array([[0.0 if score is None else 1.0 + score for score in row] for row in scores])
    pairs = zip(*(part.tolist() for part in linear_sum_assignment(gains, maximize=True)), strict=True)
    return {face: track for face, track in pairs if scores[face][track] is not None}


def _centered(face: Face) -> NDArray[np.float64]:
    """Returns center x and y, width and height of a face's box."""
    return np.array([*face.center, max(face.box[2], 1.0), max(face.box[3], 1.0)], np.float64)


def _colors_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the histogram of a small copy of a picture: shares of 512 colors. Shape: (8, 8, 8)."""
    small = cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA)
    shares = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / (64 * 36)
    return np.asarray(shares, np.float32)


def _change(former: NDArray[np.float32], current: NDArray[np.float32]) -> float:
    """Returns the share of pixels that a change of colors accounts for, 0-1."""
    return float(np.abs(former - current).sum() / 2)
