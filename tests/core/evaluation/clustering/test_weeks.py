"""A collection that grows for three weeks, from photographs of drawn people to folders of links."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import Flip
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings import block
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.events import Silent
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores
from faceclr_cli.core.preparing.prepare import prepare
from tests.core.sources.test_named_regions import xmp

PEOPLE, PICTURES = 4, 6
THRESHOLD = 0.8
"""A strict one, which divides drawn people into several groups: the corrections join them."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs whose names state the people on them."""
    place = tmp_path_factory.mktemp("drawn")
    for person in range(PEOPLE):
        for number in range(PICTURES):
            image = draw_photo(invent_person(person), number).image
            cv2.imwrite(str(place / f"IMG_{number}{person}.png"), image[..., ::-1])
    return place


def _person(name: str) -> str:
    return Path(name).stem[5]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of crops in each batch that is embedded."""
    counts: list[int] = []
    embed_crops = block.embed_crops

    def counted(encoder: Encoder, crops: np.ndarray, flip: Flip) -> tuple[np.ndarray, np.ndarray]:
        counts.append(len(crops))
        return embed_crops(encoder, crops, flip)

    monkeypatch.setattr(block, "embed_crops", counted)
    yield counts


def _run(place: Path, out: str = "groups") -> ClusterResult:
    return cluster(ClusterConfig(source=place / "photos", out=place / out, threshold=THRESHOLD), Silent())


def _folders(out: Path) -> dict[str, str]:
    return {path.name: path.parent.relative_to(out).as_posix() for path in out.rglob("*.png")}


def _f(out: Path) -> float:
    rows = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    groups = np.array([-1 if row["group"] is None else row["group"] for row in rows])
    return cluster_scores([_person(row["path"]) for row in rows], groups).bcubed.f


def test_three_weeks_keep_every_correction(drawn: Path, tmp_path: Path, embedded: list[int]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "groups"
    photos.mkdir()
    names, kept = {}, {}
    for week in range(3):
        for path in sorted(drawn.glob(f"IMG_[{2 * week}{2 * week + 1}]?.png")):
            os.link(path, photos / path.name)
        del embedded[:]
        result = _run(tmp_path)
        assert sum(embedded) == result.new == 2 * PEOPLE, "only new photographs are embedded"
        place = _folders(out)
        assert {picture: place[picture] for picture in kept} == kept
        _run(tmp_path, f"at-once-{week}")
        assert _f(out) >= _f(tmp_path / f"at-once-{week}") - 1e-9
        # The user names a person each week, and puts every face of that person there.
        person = str(week)
        names[person] = f"Person {week}"
        (out / names[person]).mkdir()
        for picture, folder in place.items():
            if _person(picture) == person:
                (out / folder / picture).rename(out / names[person] / picture)
                kept[picture] = names[person]
    result = _run(tmp_path)
    assert result.new == 0
    place = _folders(out)
    assert {picture: place[picture] for picture in kept} == kept
    assert _f(out) > _f(tmp_path / "at-once-2")


def test_names_of_other_programs_are_must_links_and_override_one_photograph(drawn: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    # A collage that shows one person twice, which is never one unnamed group; and two people who get one name.
    first, second = (cv2.imread(str(drawn / f"IMG_{number}0.png")) for number in (0, 1))
    side = min(first.shape[0], second.shape[0])
    images = [cv2.resize(each, (round(each.shape[1] * side / each.shape[0]), side)) for each in (first, second)]
    cv2.imwrite(str(photos / "collage.png"), np.concatenate(images, axis=1))
    for name in ("IMG_01.png", "IMG_02.png"):
        shutil.copy(drawn / name, photos / name)
    plain = _run(tmp_path)
    boxes = {(face.path, face.face): (face.box, face.group) for face in plain.faces}
    assert len(boxes) == 4
    groups = [boxes["collage.png", number][1] for number in (1, 2)]
    assert groups[0] is None or groups[0] != groups[1]
    packets = []
    for path in ("collage.png", "IMG_01.png", "IMG_02.png"):
        height, width = cv2.imread(str(photos / path)).shape[:2]
        for (name, _), (box, _) in boxes.items():
            if name == path and box is not None:
                area = {"x": (box[0] + box[2] / 2) / width, "y": (box[1] + box[3] / 2) / height}
                area |= {"w": box[2] / width * 1.2, "h": box[3] / height * 1.2}
                packets.append((path, xmp("Ann" if path == "collage.png" else "Twins/Ben", area)))
    lists = [packet.split(b"<rdf:Bag>")[1].split(b"</rdf:Bag>")[0] for path, packet in packets if path == "collage.png"]
    both = packets[0][1].replace(lists[0], b"".join(lists))
    (photos / "collage.png.xmp").write_bytes(both)
    for path, packet in packets[2:]:
        (photos / path).with_suffix(".xmp").write_bytes(packet)
    result = _run(tmp_path)
    assert {(face.path, face.name) for face in result.faces} == {
        ("collage.png", "Ann"), ("IMG_01.png", "Twins_Ben"), ("IMG_02.png", "Twins_Ben"),
    }  # fmt: skip
    assert len(list((tmp_path / "groups/Ann").glob("collage*.png"))) == 2


def test_two_crops_of_one_photograph_are_never_one_person(drawn: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    image = cv2.imread(str(drawn / "IMG_00.png"))
    cv2.imwrite(str(photos / "twice.png"), np.concatenate([image, image], axis=1))
    prepare(PrepareConfig(source=photos, out=tmp_path / "faces", face="all", workers=1), Silent())
    groups = [cluster(ClusterConfig(source=tmp_path / "faces", threshold=0.5), Silent())]
    groups.append(cluster(ClusterConfig(source=photos, threshold=0.5), Silent()))
    assert [[face.group for face in each.faces] for each in groups] == [[None, None]] * 2


def test_another_preparation_of_the_same_photographs_is_recognized(drawn: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "groups"
    photos.mkdir()
    for path in drawn.glob("IMG_[012][01].png"):
        shutil.copy(path, photos / path.name)
    prepare(PrepareConfig(source=photos, out=tmp_path / "faces", workers=1), Silent())
    options = {"source": tmp_path / "faces", "out": out, "threshold": 0.3}
    cluster(ClusterConfig(**options), Silent())
    moved = next(out.rglob("IMG_00.*"))
    (out / "Ann").mkdir()
    moved.rename(out / "Ann" / moved.name)
    # The crops have other pixels, and other names if they are of the same photographs in another folder.
    shutil.rmtree(tmp_path / "faces")
    prepare(PrepareConfig(source=photos, out=tmp_path / "faces", min_score=0.5, workers=1), Silent())
    for path in (tmp_path / "faces").rglob("IMG*.*"):
        cv2.imwrite(str(path), cv2.GaussianBlur(cv2.imread(str(path)), (3, 3), 0))
    result = cluster(ClusterConfig(**options), Silent())
    assert result.new == 0
    assert "Ann" in {face.name for face in result.faces if "IMG_00" in face.path}


def test_a_folder_that_the_user_made_is_completed(drawn: Path, tmp_path: Path) -> None:
    photos, people = tmp_path / "photos", tmp_path / "people"
    photos.mkdir()
    for person in "012":
        for number in range(2, 6):
            shutil.copy(drawn / f"IMG_{number}{person}.png", photos / f"IMG_{number}{person}.png")
    for name, pictures in {"Ann": ("00", "10", "20"), "Ben": ("01", "11")}.items():
        (people / name).mkdir(parents=True)
        for picture in pictures:
            shutil.copy(drawn / f"IMG_{picture}.png", people / name / f"IMG_{picture}.png")
    options = {"source": photos, "out": people, "gallery": people, "threshold": 0.6}
    for _ in range(2):
        result = cluster(ClusterConfig(**options), Silent())
        assert result.corrections == ()
        place = _folders(people)
        assert len(list(people.rglob("*.png"))) == 16, "the picture that was there already has no second link"
        assert {picture for picture, folder in place.items() if folder == "Ann"} == {f"IMG_{n}0.png" for n in range(6)}
        assert {picture for picture, folder in place.items() if folder == "Ben"} == {f"IMG_{n}1.png" for n in range(6)}
        assert place["IMG_22.png"] == place["IMG_52.png"] not in ("Ann", "Ben")
