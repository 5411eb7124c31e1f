from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.detect import Face, Selection
from faceclr_cli.core.films.face_tracker import FaceTracker
from faceclr_cli.core.films.film_file import FrameSource, Piece
from faceclr_cli.core.films.film_tracks import FilmTrack, TrackFinder
from tests.drawn_film import SHOTS, TRACKS, Actor, Shot, line, person_at, write_film

pytest.importorskip("av")


def _find(path: Path, most: int = 3) -> list[FilmTrack]:
    finder = TrackFinder(PhotoCropper(default_fingerprint()), Selection(choice="all"), most)
    return list(finder.find(FrameSource(path, 5.0, Piece())))


def _people(track: FilmTrack, shots: tuple[Shot, ...]) -> set[int]:
    return {person_at(shots, face.seconds, *face.aligned.face.center) for face in track.faces}


def test_people_who_cross_and_cuts_and_damaged_frames_give_the_right_tracks(tmp_path: Path) -> None:
    tracks = _find(write_film(tmp_path / "film.mp4", damaged=(13, 55)))
    found = {(*_people(track, SHOTS), int(track.start), round(track.end + 0.2)): track for track in tracks}
    assert found.keys() == TRACKS  # also: each track shows one person
    numbers = {track.number: key for key, track in found.items()}
    pairs = {(key, numbers[other]) for key, track in found.items() for other in track.together}
    first, second = ((1, 0, 4), (2, 0, 4)), ((5, 4, 7), (6, 4, 7))
    assert pairs == {first, first[::-1], second, second[::-1]}
    for track in tracks:
        assert 1 <= len(track.faces) <= 3
        assert list(track.faces) == sorted(track.faces, key=lambda face: face.quality, reverse=True)
        times = sorted(face.seconds for face in track.faces)
        assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))


def test_people_who_meet_and_turn_back_are_told_apart_by_their_embeddings(tmp_path: Path) -> None:
    # Motion alone says that they cross.
    there = {1: line((120, 180), (300, 180), 0, 1.5), 2: line((520, 180), (340, 180), 0, 1.5)}
    back = {1: line((300, 180), (120, 180), 1.5, 3), 2: line((340, 180), (520, 180), 1.5, 3)}
    actors = [Actor(who, lambda t, who=who: (there if t < 1.5 else back)[who](t)) for who in (1, 2)]
    shots = (Shot(0, 3, (90, 90, 90), actors),)
    tracks = _find(write_film(tmp_path / "film.mp4", shots))
    assert sorted((_people(track, shots), track.start, round(track.end, 1)) for track in tracks) == [
        ({1}, 0, 2.8),
        ({2}, 0, 2.8),
    ]


@pytest.mark.parametrize("similar", [True, False])
def test_a_face_that_takes_the_place_of_another_begins_a_track(similar: bool) -> None:
    tracker, image = FaceTracker(), np.zeros((90, 160, 3), np.uint8)
    face = Face(box=(10, 10, 20, 20), landmarks=None, score=0.9)
    first, other = np.eye(2, dtype=np.float32)
    seen = [tracker.add_frame(at / 5, image, [face], [first])[0][0] for at in range(3)]
    seen += [tracker.add_frame(at / 5, image, [face], [first if similar else other])[0][0] for at in range(3, 6)]
    assert len({track.number for track in seen}) == (1 if similar else 2)
    # A person who is hidden for longer than two seconds has a new track, too.
    assert tracker.add_frame(3.4, image, [face], [first])[0][0] not in seen


def test_a_flash_does_not_end_a_track_and_a_cut_does() -> None:
    dark, light = np.zeros((90, 160, 3), np.uint8), np.full((90, 160, 3), 255, np.uint8)
    face = Face(box=(10, 10, 20, 20), landmarks=None, score=0.9)
    vector = np.array([1, 0], np.float32)

    def numbers(images: list[np.ndarray]) -> list[int]:
        tracker = FaceTracker()
        return [tracker.add_frame(at / 5, image, [face], [vector])[0][0].number for at, image in enumerate(images)]

    assert numbers([dark, dark, light, dark, dark]) == [1, 1, 2, 1, 1]
    assert numbers([dark, dark, *[light] * 7, dark]) == [1, 1, *[2] * 7, 3]


def test_faces_without_landmarks_are_followed_by_their_motion_alone() -> None:
    tracker, image = FaceTracker(), np.zeros((90, 160, 3), np.uint8)
    left, right = (Face(box=(x, 10, 20, 20), landmarks=None, score=0.9) for x in (10.0, 100.0))
    for at in range(5):
        moved = [replace(face, box=(face.box[0] + 4 * at, 10, 20, 20)) for face in (left, right)]
        seen, _ = tracker.add_frame(at / 5, image, moved[:: 1 if at % 2 else -1], [None, None])
        order = [1, 2] if at % 2 == 0 else [2, 1]
        assert [track.number for track in seen] == order
    ended = {track.number: (track.frames, track.together) for track in tracker.finish()}
    assert ended == {1: (5, {2}), 2: (5, {1})}
