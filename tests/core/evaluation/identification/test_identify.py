from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.identification.identify import (
    IdentifyJob,
    IdentifyResult,
    identify,
    prepare_identification,
)
from faceclr_cli.core.events import Event, Notice, Silent

PEOPLE = ("ann", "bob", "cleo")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of three people, and photographs of them, of a stranger, without a face, and of two at once."""
    root = tmp_path_factory.mktemp("album")
    for number, name in enumerate(PEOPLE):
        (root / "gallery" / name).mkdir(parents=True)
        for picture in range(3):
            _write(root / "gallery" / name / f"{picture}.jpg", _photo(number, picture))
    (root / "photos").mkdir()
    for number, name in enumerate(PEOPLE):
        _write(root / "photos" / f"{name}.jpg", _photo(number, 7))
    both = [cv2.copyMakeBorder(_photo(number, 8), 40, 40, 40, 40, cv2.BORDER_REPLICATE) for number in (0, 1)]
    _write(root / "photos" / "two.jpg", np.hstack([cv2.resize(image, (400, 400)) for image in both]))
    (root / "photos" / "text.jpg").write_text("no picture")
    return root


def _photo(person: int, picture: int) -> np.ndarray:
    return draw_photo(invent_person(person), picture).image


def _write(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1])


def _identify(album: Path, **options) -> dict[tuple[str, int], IdentifyResult]:
    given = {"photos": album / "photos", "gallery": album / "gallery"} | options
    return {(found.photo, found.face): found for found in identify(IdentifyConfig(**given), Silent())}


def test_each_face_gets_the_most_similar_person(album: Path) -> None:
    found = _identify(album, threshold=-1.0)
    encoder, gallery = SFaceEncoder(), _identify(album, photos=album / "gallery", threshold=-1.0, matches=1)
    assert {name: answer.name for (name, _), answer in gallery.items()} == {
        f"{name}/{picture}.jpg": name for name in PEOPLE for picture in range(3)
    }
    assert all(answer.matches[0].similarity == pytest.approx(1, abs=1e-5) for answer in gallery.values())
    for name in PEOPLE:
        answer = found[f"{name}.jpg", 1]
        assert len(answer.matches) == 3
        assert answer.name == answer.matches[0].name
        assert [match.similarity for match in answer.matches] == sorted(
            (match.similarity for match in answer.matches), reverse=True
        )
        best = answer.matches[0]
        assert best.picture.startswith(f"{best.name}/")
        assert best.probability == pytest.approx(float(encoder.calibration.probability.among(9)(best.similarity)))


def test_the_threshold_parts_the_known_from_the_unknown(album: Path) -> None:
    likes = {key: answer.matches[0].similarity for key, answer in _identify(album, threshold=-1.0).items() if key[1]}
    line = sorted(likes.values())[len(likes) // 2]
    found = _identify(album, threshold=line)
    assert {key: answer.name is not None for key, answer in found.items() if key[1]} == {
        key: similarity >= line for key, similarity in likes.items()
    }
    unknown = next(answer for key, answer in found.items() if key[1] and answer.name is None)
    assert unknown.matches[0].name in PEOPLE


def test_every_face_of_a_photograph_has_a_row_and_bad_files_have_a_reason(album: Path) -> None:
    found = _identify(album)
    assert {number for name, number in found if name == "two.jpg"} == {1, 2}
    boxes = [found["two.jpg", number].box for number in (1, 2)]
    assert boxes[0] is not None and boxes[1] is not None and abs(boxes[0][0] - boxes[1][0]) > 200
    bad = found["text.jpg", 0]
    assert (bad.name, bad.matches, bad.box) == (None, (), None)
    assert bad.reason is not None and "text.jpg: not a picture" in bad.reason
    assert [number for name, number in _identify(album, face="largest") if name == "two.jpg"] == [1]


def test_a_choice_among_several_faces_is_noted_and_a_row_for_each_is_not(album: Path) -> None:
    chosen = _identify(album, photos=album / "photos" / "two.jpg", face="largest")["two.jpg", 1]
    assert "2 faces found" in chosen.notes
    every = _identify(album, photos=album / "photos" / "two.jpg")
    assert len(every) == 2
    assert not [note for answer in every.values() for note in answer.notes if "found" in note]


def test_a_store_and_the_folder_that_it_was_made_of_are_the_same_gallery(album: Path, tmp_path: Path) -> None:
    store = tmp_path / "gallery.h5"
    embed(EmbedConfig(faces=album / "gallery", out=store), Silent())
    by_folder = _identify(album)
    for key, answer in _identify(album, gallery=store).items():
        other = by_folder[key]
        assert [match.name for match in answer.matches] == [match.name for match in other.matches]
        assert [match.similarity for match in answer.matches] == pytest.approx(
            [match.similarity for match in other.matches], abs=1e-6
        )
    write_store(tmp_path / "other.h5", replace(read_store(store), encoder_digest="0" * 64, encoder="someone"))
    with pytest.raises(ModelError, match="was made by someone, not by --model sface"):
        _identify(album, gallery=tmp_path / "other.h5")
    write_store(tmp_path / "mean.h5", replace(read_store(store), flip="mean"))
    with pytest.raises(DataError, match="without --flip"):
        _identify(album, gallery=tmp_path / "mean.h5")


def test_the_faces_of_a_store_get_the_answers_of_its_photographs(album: Path, tmp_path: Path) -> None:
    store = tmp_path / "photos.h5"
    embed(EmbedConfig(faces=album / "photos", out=store, face="all"), Silent())
    by_photo = {key: answer for key, answer in _identify(album).items() if answer.reason is None}
    by_store = _identify(album, photos=store)
    assert list(by_store) == list(by_photo)
    for key, answer in by_store.items():
        other = by_photo[key]
        assert (answer.name, answer.reason, answer.notes) == (other.name, None, ())
        assert answer.box == pytest.approx(other.box)
        assert [match.name for match in answer.matches] == [match.name for match in other.matches]
        assert [match.similarity for match in answer.matches] == pytest.approx(
            [match.similarity for match in other.matches], abs=1e-5
        )
    largest = _identify(album, photos=store, face="largest")
    assert [key for key in largest if key[0] == "two.jpg"] == [("two.jpg", 1)]
    two = largest["two.jpg", 1].box
    assert two == by_store["two.jpg", 1].box


def test_a_store_as_photographs_must_be_the_encoders_and_holds_no_pictures(album: Path, tmp_path: Path) -> None:
    store = tmp_path / "photos.h5"
    embed(EmbedConfig(faces=album / "photos", out=store), Silent())
    with pytest.raises(ConfigError, match=r"--annotate: .* has no pictures"):
        _identify(album, photos=store, annotate=tmp_path / "out")
    write_store(tmp_path / "other.h5", replace(read_store(store), encoder_digest="0" * 64, encoder="other"))
    with pytest.raises(ModelError, match="was made by other, not by --model sface"):
        _identify(album, photos=tmp_path / "other.h5")
    write_store(tmp_path / "mean.h5", replace(read_store(store), flip="mean"))
    with pytest.raises(DataError, match="without --flip"):
        _identify(album, photos=tmp_path / "mean.h5")
    with pytest.raises(DataError, match="no such file"):
        _identify(album, photos=tmp_path / "gone.h5")


def test_a_gallery_without_people_is_refused(album: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no face has a name"):
        _identify(album, gallery=album / "photos" / "ann.jpg")
    with pytest.raises(DataError, match="no such file or folder"):
        _identify(album, gallery=tmp_path / "gone")


def _faceclr(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_names_people_or_says_who_an_unknown_is_closest_to(album: Path) -> None:
    done = _faceclr("identify", album / "photos" / "ann.jpg", "-g", album / "gallery", "--threshold", "-1")
    assert done.exit_code == 0, done.output
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert list(row) == ["photo", "face", "name", "probability", "similarity", "closest", "reason"]
    assert (row["photo"], row["face"], row["reason"]) == ("ann.jpg", "1", "")
    assert row["name"] == row["closest"] in PEOPLE
    assert 0 <= float(row["probability"]) <= 1
    assert -1 <= float(row["similarity"]) <= 1
    (other,) = csv.DictReader(
        io.StringIO(
            _faceclr("identify", album / "photos" / "ann.jpg", "-g", album / "gallery", "--threshold", 1).stdout
        )
    )
    assert other == row | {"name": ""}
    unknown = _faceclr("identify", album / "photos" / "ann.jpg", "-g", album / "gallery", "--threshold", "1", "--json")
    row = json.loads(unknown.stdout)
    assert row["name"] is None
    assert row["answer"].startswith(f"unknown (closest: {row['matches'][0]['name']}, ")
    assert "1 photograph, 1 face: 0 known, 1 unknown" in unknown.stderr
    assert _faceclr("identify", album / "photos").exit_code == 2
    text = album / "photos" / "text.jpg"
    failed = _faceclr("identify", text, "-g", album / "gallery")
    assert failed.exit_code == 3
    (row,) = csv.DictReader(io.StringIO(failed.stdout))
    assert (row["face"], row["name"], row["probability"], row["similarity"], row["closest"]) == ("0", "", "", "", "")
    assert "not a picture" in row["reason"]


def test_one_against_many_has_the_exit_code_of_a_verdict(album: Path) -> None:
    probe, gallery = album / "photos" / "bob.jpg", album / "gallery"
    assert _faceclr("verify", probe, "--gallery", gallery, "--threshold", "-1").exit_code == 0
    assert _faceclr("verify", probe, "--gallery", gallery, "--threshold", "1").exit_code == 1
    assert _faceclr("verify", probe, probe, "--gallery", gallery).exit_code == 2
    assert _faceclr("verify", album / "photos" / "text.jpg", "--gallery", gallery).exit_code == 3


@pytest.mark.real
def test_real_people_are_known_by_another_picture_and_the_rest_are_unknown(real_data: Path, tmp_path: Path) -> None:
    photos, gallery = real_data / "photos", tmp_path / "gallery"
    for name in ("person_a", "person_b"):
        (gallery / name).mkdir(parents=True)
        (gallery / name / "1.jpg").write_bytes((photos / f"{name}_1.jpg").read_bytes())
    options = IdentifyConfig(photos=photos, gallery=gallery)
    found = [answer for answer in identify(options, Silent()) if not answer.photo.endswith("_1.jpg")]
    names = {answer.photo: answer.name for answer in found if answer.name is not None}
    assert names == {"person_a_2.jpg": "person_a", "person_b_2.jpg": "person_b"}
    assert sum(answer.photo == "solvay_1927_group.jpg" for answer in found) >= 27


@pytest.mark.real
@pytest.mark.parametrize("pictures", [4, pytest.param(20, marks=pytest.mark.nightly)])
def test_a_gallery_of_strangers_names_none_of_the_faces(real_data: Path, tmp_path: Path, pictures: int) -> None:
    """The gallery contains 29 of the 30 people, because one appears in the photographs."""
    lines = (real_data / "celeba-layout" / "identity_CelebA.txt").read_text().split("\n")
    taken: Counter[str] = Counter()
    for file, who in (line.split() for line in lines if line):
        taken[who] += 1
        if who != "1024" and taken[who] <= pictures:
            (tmp_path / "gallery" / who).mkdir(parents=True, exist_ok=True)
            (tmp_path / "gallery" / who / file).write_bytes(
                (real_data / "celeba-layout" / "img_celeba" / file).read_bytes()
            )
    answers = list(identify(IdentifyConfig(photos=real_data / "photos", gallery=tmp_path / "gallery"), Silent()))
    assert len(answers) == 41
    assert [answer for answer in answers if answer.name is not None] == []


class Listener:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


def _noted(store: Store, folder: Path, **options) -> tuple[str, IdentifyJob]:
    """Returns the notice about strangers for a gallery with the encoder's digest, and the job."""
    write_store(folder / "crowd.h5", replace(store, encoder_digest=SFaceEncoder().digest))
    listener = Listener()
    job = prepare_identification(IdentifyConfig(photos=folder, gallery=folder / "crowd.h5", **options), listener)
    return next(text for text in listener.texts if "of strangers would be mistaken" in text), job


def test_the_threshold_falls_in_rate_with_the_pictures_of_the_gallery(tmp_path: Path, crowd) -> None:
    _write(tmp_path / "a.jpg", _photo(0, 0))
    fingerprint, calibration = SFaceEncoder().fingerprint, SFaceEncoder().calibration
    assert calibration is not None
    for pictures, far in ((1, 1e-3), (2, 1e-4), (10, 1e-4), (11, calibration.points[-1].far)):
        store = replace(crowd(1, pictures, 0.5, 128), fingerprint=fingerprint)
        text, job = _noted(store, tmp_path)
        assert job.people.rule.far == far
        assert job.people.rule.threshold == calibration.at(far).threshold
        assert text.startswith(f"at most {pictures * far:.2%} of strangers would be mistaken for one of 1 people")
    assert _noted(store, tmp_path, far=0.01)[1].people.rule.far == 0.01


def test_false_alarms_are_measured_on_the_gallery_with_all_pictures_of_a_person(tmp_path: Path, crowd) -> None:
    _write(tmp_path / "a.jpg", _photo(0, 0))
    store = replace(crowd(30, 20, 0.5, 64), fingerprint=SFaceEncoder().fingerprint)
    text, job = _noted(store, tmp_path, threshold=0.3)
    rows, names = store.embeddings, np.array(store.identities)
    cosines = rows @ rows.T
    cosines[names[:, None] == names[None]] = -1
    named = cosines.max(axis=1) >= 0.3
    share = np.mean([named[names == name].mean() for name in set(store.identities)]) * 30 / 29
    assert 0.05 < share < 0.95
    assert job.people.false_alarms is not None
    assert job.people.false_alarms.rate == pytest.approx(share)
    assert text.startswith(
        f"about {share:.1%} of strangers would be mistaken for one of 30 people at the threshold 0.300 (95% interval "
    )
    assert text.endswith("; measured on the gallery, each person against the others)")


def test_faces_of_low_quality_are_not_identified(album: Path, tmp_path: Path) -> None:
    plain = _identify(album)
    soft = cv2.GaussianBlur(cv2.imread(str(album / "photos" / "bob.jpg")), (0, 0), 6)
    shutil.copytree(album / "photos", tmp_path / "photos")
    cv2.imwrite(str(tmp_path / "photos" / "bob.jpg"), soft)
    embed(EmbedConfig(faces=tmp_path / "photos", out=tmp_path / "probes.h5", face="all", quality="basic"), Silent())
    sharpness = read_store(tmp_path / "probes.h5").quality[:, 0]
    limit = f"sharpness={float(np.sort(sharpness)[0]) + 1}"
    for source in (tmp_path / "photos", tmp_path / "probes.h5"):
        found = _identify(album, photos=source, min_quality=(limit,))
        low = found["bob.jpg", 1]
        assert (low.name, low.matches, low.reason) == (None, (), None)
        assert low.notes[0].startswith("low quality: sharpness ")
        assert {key: answer.name for key, answer in found.items() if key[0] in ("ann.jpg", "two.jpg")} == {
            key: answer.name for key, answer in plain.items() if key[0] in ("ann.jpg", "two.jpg")
        }


def test_pictures_of_low_quality_are_not_in_the_gallery(album: Path) -> None:
    notices = _Notices()
    config = IdentifyConfig(photos=album / "photos", gallery=album / "gallery", min_quality=("eye_distance=1000",))
    with pytest.raises(DataError, match="all 9 faces are below --min-quality"):
        prepare_identification(config, notices)
    embed(EmbedConfig(faces=album / "gallery", out=album / "gallery.h5", quality="full"), Silent())
    store = read_store(album / "gallery.h5")
    limit = float(np.sort(store.quality[:, 3])[4])
    job = prepare_identification(replace(config, min_quality=(f"stability={limit}",)), notices)
    assert len(job.people.paths) == 5
    assert notices.texts[0].endswith("4 of 9 faces are below --min-quality and are skipped")


class _Notices:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        self.texts += [event.text] if isinstance(event, Notice) else []
