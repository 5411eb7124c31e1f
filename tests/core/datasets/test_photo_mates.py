"""The photographs of faces, from the ledgers of their folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceclr_cli.core.datasets.joined_faces import JoinedFaces, folder_prefixes
from faceclr_cli.core.datasets.photo_mates import find_photographs, find_track_links
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger, Row, RowState
from faceclr_cli.core.preparing.track_table import TrackRow
from tests.core.training.toy import FINGERPRINT


def write_ledger(folder: Path, *photographs: tuple[str, ...]) -> Path:
    """Each photograph has the faces of one tuple."""
    folder.mkdir(parents=True)
    with Ledger.open(folder / LEDGER, {}) as ledger:
        for number, (first, *others) in enumerate(photographs):
            more = json.dumps([{"output": other} for other in others]) if others else None
            ledger.add(Row(path=f"{number}.jpg", state=RowState.DONE, output=first, more=more))
    return folder


def faces(*folders: tuple[Path, list[str]]) -> JoinedFaces:
    prefixes = folder_prefixes([folder for folder, _ in folders])
    paths = tuple(prefix + path for prefix, (_, own) in zip(prefixes, folders, strict=True) for path in own)
    nothing = np.zeros(len(paths), np.int64)
    return JoinedFaces(
        packed=(), sources=nothing, rows=nothing, labels=nothing - 1, people=(), paths=paths, fingerprint=FINGERPRINT
    )


def test_faces_of_one_photograph_have_its_number_and_all_others_their_own(tmp_path: Path) -> None:
    one = write_ledger(tmp_path / "one", ("_/a.jpg", "_/a-2.jpg"), ("_/b.jpg",), ("_/c.jpg", "_/c-2.jpg", "_/c-3.jpg"))
    two = write_ledger(tmp_path / "two", ("_/a.jpg", "_/a-2.jpg"))
    none = tmp_path / "none"
    there = faces(
        (one, ["_/a-2.jpg", "_/a.jpg", "_/b.jpg", "_/c-2.jpg", "_/c.jpg"]),
        (two, ["_/a-2.jpg", "_/a.jpg"]),
        (none, ["_/a.jpg", "_/a-2.jpg"]),
    )
    numbers = find_photographs(there, [one, two, none]).tolist()
    assert numbers[0] == numbers[1] and numbers[3] == numbers[4] and numbers[5] == numbers[6]
    assert len(set(numbers)) == 6


def test_a_part_of_a_split_has_the_ledger_of_the_faces_that_were_split(tmp_path: Path) -> None:
    write_ledger(tmp_path / "faces", ("_/a.jpg", "_/a-2.jpg"), ("_/b.jpg",))
    train = tmp_path / "splits" / "train"
    train.mkdir(parents=True)
    (train.parent / "split.json").write_text(json.dumps({"kind": "split", "config": {"faces": "faces"}}))
    numbers = find_photographs(faces((train, ["_/a.jpg", "_/b.jpg", "_/a-2.jpg"])), [train]).tolist()
    assert numbers[0] == numbers[2] != numbers[1]


def test_the_rows_follow_the_faces(tmp_path: Path) -> None:
    """Held-out faces are removed before photographs are looked up."""
    folder = write_ledger(tmp_path / "one", ("_/a.jpg", "_/a-2.jpg"), ("_/c.jpg", "_/c-2.jpg"))
    there = faces((folder, ["_/a-2.jpg", "_/a.jpg", "_/c-2.jpg", "_/c.jpg"]))
    part = replace(there, paths=there.paths[1:], labels=there.labels[1:])
    numbers = find_photographs(part, [folder]).tolist()
    assert numbers[1] == numbers[2] != numbers[0]


def write_film_ledger(folder: Path) -> Path:
    """A film that shows two people, and after a cut a person who may be one of them."""
    tracks = [
        TrackRow(path="a.mp4", track=number, start="", end="", frames=9, outputs=outputs, together=together)
        for number, outputs, together in (
            (1, ("_/a-1-1.jpg", "_/a-1-2.jpg"), (2,)),
            (2, ("_/a-2-1.jpg", "_/a-2-2.jpg", "_/a-2-3.jpg"), (1,)),
            (3, ("_/a-3-1.jpg", "_/a-3-2.jpg"), ()),
        )
    ]
    folder.mkdir(parents=True)
    with Ledger.open(folder / LEDGER, {}) as ledger:
        ledger.add(Row(path="a.mp4", state=RowState.DONE, output="_/a-1-1.jpg", faces=3, tracks=tuple(tracks)))
    return folder


def test_crops_of_a_track_are_linked_and_those_of_tracks_in_one_frame_are_kept_apart(tmp_path: Path) -> None:
    one, two = write_film_ledger(tmp_path / "one"), write_film_ledger(tmp_path / "two")
    # One crop of the second track is held out.
    own = ["_/a-1-1.jpg", "_/a-1-2.jpg", "_/a-2-1.jpg", "_/a-2-3.jpg", "_/a-3-1.jpg", "_/a-3-2.jpg", "_/other.jpg"]
    there = faces((one, own), (two, own))
    known = find_track_links(there, [one, two])
    blocks = known.blocks().tolist()
    assert [blocks.index(block) for block in blocks] == [0, 0, 2, 2, 4, 4, 6, 7, 7, 9, 9, 11, 11, 13]
    assert (known.people == -1).all(), "another track may show the same person"
    apart = {tuple(sorted(pair)) for pair in known.apart.tolist()}
    assert apart == {(a + shift, b + shift) for a in (0, 1) for b in (2, 3) for shift in (0, 7)}
    assert len(set(find_photographs(there, [one, two]).tolist())) == 14
