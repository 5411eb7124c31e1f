from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import cv2
import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.films import film_file
from faceclr_cli.core.preparing import film_pieces, film_worker
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState
from faceclr_cli.core.preparing.prepare import PreparePlan, PrepareResult, prepare
from faceclr_cli.core.preparing.track_table import TrackRow
from tests.drawn_film import Actor, Shot, line, write_film

pytest.importorskip("av")

SHORT = (
    Shot(0, 1, (30, 120, 60), (Actor(1, line((150, 180), (180, 180), 0, 1)), Actor(2, lambda _: (450, 180)))),
    Shot(1, 2, (220, 200, 90), (Actor(5, lambda _: (300, 180)),)),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "party.mp4", SHORT)


def _prepare(source: Path, out: Path, reporter: object = None, **options: object) -> PrepareResult:
    given: dict[str, Any] = {"source": source, "out": out, "workers": 1, "fps": 2.5} | options
    config = PrepareConfig(**given)
    result = prepare(config, reporter or Silent())  # type: ignore[arg-type]
    assert isinstance(result, PrepareResult)
    return result


def _content(out: Path) -> dict[str, bytes]:
    crops = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.jpg")}
    with Ledger.open_to_read(out / "manifest.sqlite") as ledger:
        rows = repr([*ledger.rows(), *ledger.tracks()]).encode()
    return crops | {"rows": rows}


def _tracks(out: Path) -> list[TrackRow]:
    with Ledger.open_to_read(out / "manifest.sqlite") as ledger:
        return list(ledger.tracks())


def test_a_film_becomes_tracks_of_crops_in_the_ledger(film: Path, tmp_path: Path) -> None:
    result = _prepare(film, tmp_path / "faces", per_track=2, fps=5.0)
    assert (result.photos, result.tracks, result.people) == (1, 3, 0)
    tracks = _tracks(tmp_path / "faces")
    assert [(row.path, row.track, row.start, row.end, row.frames, row.together) for row in tracks] == [
        ("party.mp4", 1, "00:00:00.000", "00:00:00.800", 5, (2,)),
        ("party.mp4", 2, "00:00:00.000", "00:00:00.800", 5, (1,)),
        ("party.mp4", 3, "00:00:01.000", "00:00:01.800", 5, ()),
    ]
    crops = [crop for row in tracks for crop in row.outputs]
    files = {path.relative_to(tmp_path / "faces").as_posix() for path in (tmp_path / "faces").rglob("*.jpg")}
    assert len(crops) == len(set(crops)) == result.faces
    assert set(crops) == files
    assert all(len(row.outputs) == len(row.faces) == 2 for row in tracks)
    # The crops are at the places in the ledger: the first person is on the left, and the second one on the right.
    assert all(row.faces[0]["box"][0] < 320 for row in tracks if row.track == 1)
    assert all(0 <= face["seconds"] <= 0.8 for row in tracks[:2] for face in row.faces)
    assert cv2.imread(str(tmp_path / "faces" / crops[0])).shape == (112, 112, 3)


def test_a_second_run_does_nothing_and_lost_crops_and_changed_films_are_made_again(film: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "films", tmp_path / "faces"
    source.mkdir()
    copy = source / "party.mp4"
    copy.write_bytes(film.read_bytes())
    _prepare(source, out)
    made = _content(out)
    assert _prepare(source, out).processed == 0
    (out / _tracks(out)[1].outputs[0]).unlink()
    assert _prepare(source, out).processed == 1
    assert _content(out) == made
    write_film(copy, SHORT[1:2])
    assert _prepare(source, out).tracks == 1
    assert [row.track for row in _tracks(out)] == [1]
    cv2.imwrite(str(source / "a.jpg"), draw_photo(invent_person(1), 1).image[..., ::-1])
    copy.unlink()
    assert _prepare(source, out).tracks == 0
    assert [path.name for path in out.rglob("*.jpg")] == ["a.jpg"]


def test_films_and_photos_of_a_folder_are_prepared_together(film: Path, tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in (1, 2):
            image = draw_photo(invent_person(ord(person[0])), number).image
            cv2.imwrite(str(tmp_path / "people" / person / f"{number}.jpg"), image[..., ::-1])
    (tmp_path / "people" / "bob" / "party.MP4").write_bytes(film.read_bytes())
    result = _prepare(tmp_path / "people", tmp_path / "faces")
    assert (result.photos, result.people) == (5, 2)
    # In a film of one person, only the largest face of each frame is used.
    assert not any(row.together for row in _tracks(tmp_path / "faces"))
    assert all(output.startswith("bob/") for row in _tracks(tmp_path / "faces") for output in row.outputs)
    with Ledger.open(tmp_path / "faces" / "manifest.sqlite", {}) as ledger:
        ledger.forget("bob")
        assert not list(ledger.tracks())
    assert b"party" not in (tmp_path / "faces" / "manifest.sqlite").read_bytes()


def test_an_interrupted_film_continues_with_the_next_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_file, "PIECE_SECONDS", 1)
    film = write_film(tmp_path / "long.mp4", SHORT)
    _prepare(film, tmp_path / "whole")
    assert {row.path for row in _tracks(tmp_path / "whole")} == {"long.mp4#t=0,1", "long.mp4#t=1"}
    begun = []
    make = film_worker._make_tracks

    def stop_at_the_second(recipe: object, work: object, piece: object) -> Row:
        begun.append(piece)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return make(recipe, work, piece)  # type: ignore[arg-type]

    monkeypatch.setattr(film_worker, "_make_tracks", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        _prepare(film, tmp_path / "faces")
    assert [row.path for row in _tracks(tmp_path / "faces")] == ["long.mp4#t=0,1"] * 2
    assert _prepare(film, tmp_path / "faces").processed == 1
    # The time of the run is not in the ledger.
    assert _content(tmp_path / "faces") == _content(tmp_path / "whole")


@pytest.mark.nightly
def test_two_processes_give_what_one_gives(film: Path, tmp_path: Path) -> None:
    source = tmp_path / "films"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        os.link(film, source / name)
    _prepare(source, tmp_path / "one")
    prepare(PrepareConfig(source=source, out=tmp_path / "two", workers=2, fps=2.5), Silent())
    assert _content(tmp_path / "one") == _content(tmp_path / "two")


def test_films_that_cannot_be_read_have_their_reasons(film: Path, tmp_path: Path) -> None:
    source = tmp_path / "films"
    source.mkdir()
    os.link(film, source / "good.mp4")
    (source / "empty.mov").write_bytes(b"")
    (source / "text.avi").write_text("no film")
    write_film(source / "nobody.mp4", (Shot(0, 1, (10, 10, 10), ()),))
    result = _prepare(source, tmp_path / "faces", max_bad=1.0)
    with Ledger.open_to_read(tmp_path / "faces" / "manifest.sqlite") as ledger:
        found = {row.path: (row.state, row.reason and row.reason.value) for row in ledger.rows()}
    assert found == {
        "good.mp4": (RowState.DONE, None),
        "empty.mov": (RowState.FAILED, "empty file"),
        "text.avi": (RowState.FAILED, "not a film"),
        "nobody.mp4": (RowState.SKIPPED, "no face found"),
    }
    assert result.bad == 3
    with pytest.raises(DataError, match=r"nobody\.mp4: no face found"):
        _prepare(source / "nobody.mp4", tmp_path / "none")


def test_without_the_extra_films_are_named_and_photos_prepared(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_pieces, "has_film_decoder", lambda: False)
    with pytest.raises(
        ConfigError, match=r"party\.mp4: films need the extra 'video'; run: pip install 'faceclr\[video\]'"
    ):
        _prepare(film, tmp_path / "faces")
    source = tmp_path / "mixed"
    source.mkdir()
    os.link(film, source / "party.mp4")
    cv2.imwrite(str(source / "a.jpg"), draw_photo(invent_person(1), 1).image[..., ::-1])
    heard: list[Event] = []

    class Heard(Silent):
        def report(self, event: Event) -> None:
            heard.append(event)

    assert _prepare(source, tmp_path / "faces", Heard()).photos == 1
    assert any(isinstance(event, Notice) and "faceclr[video]" in event.text for event in heard)


def test_faces_of_another_frame_rate_are_not_added(film: Path, tmp_path: Path) -> None:
    _prepare(film, tmp_path / "faces", fps=5.0)
    with pytest.raises(ConfigError, match="contains faces made with fps 5"):
        _prepare(film, tmp_path / "faces", fps=2.0)
    # Folders of earlier releases lack this term, and contain no films.
    with sqlite3.connect(tmp_path / "faces" / "manifest.sqlite") as database:
        database.execute("DELETE FROM terms WHERE name IN ('fps', 'per_track')")
    assert _prepare(film, tmp_path / "faces", fps=5.0).processed == 0
    plan = prepare(PrepareConfig(source=film, out=tmp_path / "faces", dry_run=True), Silent())
    assert isinstance(plan, PreparePlan)
    assert (plan.photos, plan.todo) == (1, 0)
