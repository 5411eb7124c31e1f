"""Groups of faces from a film of drawn people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.evaluation.clustering import cluster as cluster_module
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory
from faceclr_cli.core.evaluation.clustering.review_questions import Question, choose_questions
from faceclr_cli.core.events import Silent
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.preparing.prepare import prepare
from tests.drawn_film import Actor, Shot, line, write_film

pytest.importorskip("av")

SHOTS = (
    Shot(0, 1, (30, 120, 60), (Actor(1, line((150, 180), (180, 180), 0, 1)), Actor(2, lambda _: (450, 180)))),
    Shot(1, 2, (220, 200, 90), (Actor(5, lambda _: (300, 180)),)),
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("film")
    film = write_film(place / "party.mp4", SHOTS)
    prepare(PrepareConfig(source=film, out=place / "faces", workers=1, fps=5.0, per_track=2), Silent())
    return place / "faces"


@pytest.fixture(scope="module")
def tracks(faces: Path) -> list[set[str]]:
    """The crops of each track: two people, and a third one after a cut."""
    with Ledger.open_to_read(faces / LEDGER) as ledger:
        return [set(track.outputs) for track in ledger.tracks()]


def test_tracks_seen_together_are_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_film(tmp_path / "party.mp4", SHOTS)
    # One face of each track: the best faces of the two people who were seen together are from different frames.
    prepare(PrepareConfig(source=film, out=tmp_path / "faces", workers=1, fps=5.0, per_track=1), Silent())
    with Ledger.open_to_read(tmp_path / "faces" / LEDGER) as ledger:
        first, second, _ = ledger.tracks()
    assert first.together == (second.track,)
    assert first.faces[0]["seconds"] != second.faces[0]["seconds"]
    # At this threshold, the third person joins one of the two, and the other one is alone.
    config = ClusterConfig(source=tmp_path / "faces", threshold=-1.0, out=tmp_path / "groups", review=5)
    assert [group.faces for group in cluster(config, Silent()).groups] == [2]
    assert len((tmp_path / "groups/review.csv").read_text().splitlines()) == 1
    # Without the constraints from the film, there would be a question about the two.
    monkeypatch.setattr(cluster_module, "choose_questions", _choose_without_tracks)
    assert cluster(config, Silent()).questions == 1


def _choose_without_tracks(
    embeddings: np.ndarray, numbers: np.ndarray, plan: GroupMemory, _: np.ndarray, threshold: float, count: int
) -> tuple[Question, ...]:
    return choose_questions(embeddings, numbers, plan, np.empty((0, 2), np.int64), threshold, count)


def _groups(faces: Path, threshold: float, out: Path | None = None) -> list[set[str]]:
    return _members(cluster(ClusterConfig(source=faces, threshold=threshold, out=out), Silent()))


def _members(result: ClusterResult) -> list[set[str]]:
    return [{face.path for face in result.faces if face.group == group.number} for group in result.groups]


def test_the_crops_of_a_track_are_one_group_however_strict_the_threshold_is(
    faces: Path, tracks: list[set[str]]
) -> None:
    assert [len(crops) for crops in tracks] == [2, 2, 2]
    assert sorted(map(sorted, _groups(faces, 1.0))) == sorted(map(sorted, tracks))


def test_tracks_seen_together_are_two_people_and_others_may_be_one(faces: Path, tracks: list[set[str]]) -> None:
    first, second, later = tracks
    large, small = _groups(faces, -1.0)
    assert later < large and {frozenset(large - later), frozenset(small)} == {frozenset(first), frozenset(second)}


def test_density_keeps_tracks_and_names(faces: Path, tracks: list[set[str]], tmp_path: Path) -> None:
    plain = _members(cluster(ClusterConfig(source=faces, method="hdbscan"), Silent()))
    assert all(any(crops <= group for group in plain) for crops in tracks)
    assert not any(tracks[0] | tracks[1] <= group for group in plain)
    names = tmp_path / "names.csv"
    names.write_text(f"face,name\n{sorted(tracks[0])[0]},Ann\n{sorted(tracks[2])[0]},Ann\n{sorted(tracks[1])[0]},Bob\n")
    result = cluster(ClusterConfig(source=faces, method="hdbscan", gallery=names), Silent())
    assert {face.path for face in result.faces if face.name == "Ann"} == tracks[0] | tracks[2]
    assert {face.path for face in result.faces if face.name == "Bob"} == tracks[1]


def test_a_correction_overrides_a_track(faces: Path, tracks: list[set[str]], tmp_path: Path) -> None:
    out = tmp_path / "groups"
    _groups(faces, 1.0, out)
    wrong, right = sorted(tracks[0])
    (out / "Bob").mkdir()
    (link,) = out.rglob(Path(wrong).name)
    link.rename(out / "Bob" / link.name)
    for _ in range(2):
        result = cluster(ClusterConfig(source=faces, threshold=1.0, out=out), Silent())
        place = {face.path: (face.group, face.name) for face in result.faces}
        assert place[wrong][1] == "Bob" != place[right][1]
        assert _groups(faces, 1.0, out).count(tracks[1]) == 1


def test_a_person_who_is_named_in_one_crop_of_a_track_is_named_in_all(
    faces: Path, tracks: list[set[str]], tmp_path: Path
) -> None:
    names = tmp_path / "names.csv"
    names.write_text(f"face,name\n{sorted(tracks[1])[0]},Ann\n")
    result = cluster(ClusterConfig(source=faces, threshold=1.0, gallery=names), Silent())
    assert {face.path for face in result.faces if face.name == "Ann"} == tracks[1]
