"""The tracks of a film, each with its best faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.quality import describe_doubts, sharpness
from faceclr_cli.core.faces.sface_opencv import read_sface, run_sface
from faceclr_cli.core.films.face_tracker import FaceTrack, FaceTracker
from faceclr_cli.core.films.film_file import Frame

FEWEST_FRAMES = 2
"""Minimum number of sightings of a track. Faces that are seen in a single frame are mostly false detections."""

_APART = 0.5
"""Minimum time in seconds between two faces of a track: those closer together are nearly the same picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackFace:
    """One of the best faces of a track.

    Attributes:
        aligned: The face.
        seconds: Time from the beginning of the film.
        quality: Rank of the face among those of its track, higher is better.
    """

    aligned: AlignedFace
    seconds: float
    quality: tuple[int, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmTrack:
    """A person from the first sighting to the last, without a cut in between.

    Attributes:
        number: Number of the track in the piece of the film. Short tracks are left out, so their numbers are missing.
        start: Time of the first sighting, in seconds from the beginning of the film.
        end: Time of the last sighting.
        frames: Number of sightings.
        together: Numbers of other tracks that were seen in one frame with this one.
        faces: The best faces, best first.
    """

    number: int
    start: float
    end: float
    frames: int
    together: frozenset[int]
    faces: tuple[TrackFace, ...]


class TrackFinder:
    """Finds the tracks in frames. Memory is bounded by the number of faces that are visible at once.

    Args:
        cropper: Detects and crops the faces.
        selection: Which faces to use.
        most: Maximum number of faces to keep of each track.

    Raises:
        ModelError: The weights of SFace, by which faces are compared, are missing.
    """

    def __init__(self, cropper: PhotoCropper, selection: Selection, most: int) -> None:
        self._cropper, self._selection, self._most = cropper, selection, most
        self._embed = _embedder(cropper)

    def find(self, frames: Iterable[Frame]) -> Iterator[FilmTrack]:
        """Yields each track when it ends.

        Args:
            frames: The frames in order.

        Raises:
            BadPictureError: The frames cannot be read.
        """
        tracker, best = FaceTracker(), dict[int, list[TrackFace]]()
        for frame in frames:
            found = self._cropper.crop_frame(frame.image, self._selection)
            embeddings = [self._embed(frame.image, aligned) for aligned in found]
            faces = [aligned.face for aligned in found]
            tracks, ended = tracker.add_frame(frame.seconds, frame.image, faces, embeddings)
            yield from _finished(ended, best)
            for track, aligned in zip(tracks, found, strict=True):
                face = TrackFace(aligned=aligned, seconds=frame.seconds, quality=_quality(aligned))
                best[track.number] = _keep_best(best.get(track.number, []), face, self._most)
        yield from _finished(tracker.finish(), best)


def _finished(ended: Iterable[FaceTrack], best: dict[int, list[TrackFace]]) -> Iterator[FilmTrack]:
    for track in sorted(ended, key=lambda track: track.number):
        faces = best.pop(track.number)
        if track.frames >= FEWEST_FRAMES:
            yield FilmTrack(
                number=track.number,
                start=track.start,
                end=track.end,
                frames=track.frames,
                together=frozenset(track.together),
                faces=tuple(sorted(faces, key=lambda face: face.quality, reverse=True)),
            )


def _keep_best(kept: list[TrackFace], face: TrackFace, most: int) -> list[TrackFace]:
    """Adds a face to the best ones of its track, which are some time apart."""
    near = [other for other in kept if abs(other.seconds - face.seconds) < _APART]
    if any(other.quality >= face.quality for other in near):
        return kept
    rest = [other for other in kept if other not in near]
    return sorted([*rest, face], key=lambda each: each.quality, reverse=True)[:most]


def _quality(aligned: AlignedFace) -> tuple[int, float]:
    """Ranks the faces of a track: those with the fewest notes on their quality first, then the sharpest."""
    return -len(describe_doubts(aligned)), aligned.face.score * sharpness(aligned.crop)


_Embedder = Callable[[NDArray[np.uint8], AlignedFace], NDArray[np.float32] | None]


def _embedder(cropper: PhotoCropper) -> _Embedder:
    """Returns a function that embeds a face of a frame; it returns None for a face without landmarks."""
    network, alignment = read_sface(), Alignment()
    is_same = (cropper.fingerprint.template, cropper.fingerprint.padding, cropper.fingerprint.size) == (
        alignment.template,
        alignment.padding,
        alignment.size,
    )

    def embed(image: NDArray[np.uint8], aligned: AlignedFace) -> NDArray[np.float32] | None:
        if aligned.face.landmarks is None:
            return None
        crop = aligned.crop if is_same else alignment.cut(image, aligned.face)
        vector = run_sface(network, crop[None])[0]
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    return embed
