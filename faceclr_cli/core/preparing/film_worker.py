"""The work on one piece of a film: crops, tracks and a ledger row. Runs in worker processes and on other machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile
from typing import Any

import cv2

from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.decode import BadPictureError
from faceclr_cli.core.faces.quality import sharpness
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.films.film_file import FrameSource, Piece
from faceclr_cli.core.films.film_tracks import FilmTrack, TrackFinder
from faceclr_cli.core.films.time_codes import time_code
from faceclr_cli.core.preparing.ledger import Row, RowState
from faceclr_cli.core.preparing.photo_worker import (
    CropJob,
    Recipe,
    encode_crop,
    extra_crop_path,
    face_record,
    make_face,
    stamp_of,
    write_crop,
)
from faceclr_cli.core.preparing.track_table import TrackRow
from faceclr_cli.core.workers.pool import is_canceled


def make_crops(recipe: Recipe, work: CropJob) -> Row:
    """Makes the crops of a photo or a piece of a film and returns its ledger row. The folder `WRITING` must exist.

    Raises:
        OSError: A crop cannot be written.
    """
    return make_face(recipe, work) if work.piece is None else _make_tracks(recipe, work, work.piece)


def _make_tracks(recipe: Recipe, work: CropJob, piece: Piece) -> Row:
    size, mtime_ns = stamp_of(work) or (None, None)
    row = Row(
        path=work.path, identity=work.identity, part=work.part, state=RowState.FAILED, size=size, mtime_ns=mtime_ns
    )
    # In a film of unknown people, every face is used. In a film of one person, the rule for photographs selects the
    # face.
    selection = recipe.selection if work.identity is not None else replace(recipe.selection, choice="all")
    finder = TrackFinder(PhotoCropper(recipe.fingerprint), selection, recipe.per_track)
    source = FrameSource(work.source, recipe.fps, piece)
    saved = _SavedTracks(recipe, work)
    try:
        for track in finder.find(takewhile(lambda _: not is_canceled(), source)):
            saved.add(track)
    except BadPictureError as error:
        saved.remove()
        return replace(row, reason=error.reason)
    except (cv2.error, MemoryError):
        saved.remove()
        return replace(row, reason=Reason.CRASHED)
    row = replace(row, sha256=source.digest, faces=saved.found)
    if not source.frames and source.damaged:
        return replace(row, reason=Reason.DAMAGED)
    if not saved.outputs:
        return replace(row, state=RowState.SKIPPED, reason=Reason.BLURRED if saved.found else Reason.NO_FACE)
    return replace(row, state=RowState.DONE, output=work.output, tracks=saved.rows())


class _SavedTracks:
    """The crops and tracks of a piece of a film.

    Attributes:
        found: Number of tracks, including those without a crop that is sharp enough.
        outputs: The crops.

    Args:
        recipe: How crops are made.
        work: The piece.
    """

    def __init__(self, recipe: Recipe, work: CropJob) -> None:
        self._recipe, self._work = recipe, work
        self._tracks: list[tuple[FilmTrack, dict[str, dict[str, Any]]]] = []
        self.found = 0
        self.outputs: list[str] = []

    def add(self, track: FilmTrack) -> None:
        """Writes the crops of a track.

        Raises:
            OSError: A crop cannot be written.
        """
        self.found += 1
        records = {}
        for face in track.faces:
            grade = sharpness(face.aligned.crop)
            if grade < self._recipe.min_sharpness:
                continue
            rank = len(self.outputs)
            output = self._work.output if rank == 0 else extra_crop_path(self._work, rank)
            self.outputs.append(output)
            write_crop(encode_crop(face.aligned.crop, self._recipe), self._recipe.out, output)
            about = face_record(face.aligned, grade, self._recipe)
            records[output] = {"seconds": round(face.seconds, 3), **about}
        if records:
            # The faces themselves are dropped, so that memory does not grow with the length of the film.
            self._tracks.append((replace(track, faces=()), records))

    def remove(self) -> None:
        """Removes the crops of a piece that could not be finished."""
        for output in self.outputs:
            (self._recipe.out / output).unlink(missing_ok=True)
        self.outputs.clear()

    def rows(self) -> tuple[TrackRow, ...]:
        """Returns the rows of the tracks, numbered by their first sightings."""
        tracks = sorted(self._tracks, key=lambda saved: saved[0].number)
        numbers = {track.number: number for number, (track, _) in enumerate(tracks, start=1)}
        return tuple(
            TrackRow(
                path=self._work.path,
                track=numbers[track.number],
                start=time_code(track.start),
                end=time_code(track.end),
                frames=track.frames,
                outputs=tuple(records),
                faces=tuple(records.values()),
                together=_renumbered(track.together, numbers),
            )
            for track, records in tracks
        )


def _renumbered(together: Iterable[int], numbers: dict[int, int]) -> tuple[int, ...]:
    return tuple(sorted(numbers[number] for number in together if number in numbers))
