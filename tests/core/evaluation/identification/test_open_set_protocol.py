from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.errors import DataError, TooManyBadFilesError
from faceclr_cli.core.evaluation.identification.identify import identify
from faceclr_cli.core.evaluation.identification.open_set_protocol import OpenSetResult
from faceclr_cli.core.evaluation.identification.open_set_protocol import evaluate_identify as evaluate
from faceclr_cli.core.events import Event, Notice, Silent

KNOWN, STRANGERS = ("ann", "bob", "cleo"), ("dora", "_")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of three people; other pictures of them, of a stranger and of unknown people."""
    root = tmp_path_factory.mktemp("album")
    for person, name in enumerate((*KNOWN, *STRANGERS)):
        for folder, pictures in (("gallery", (0, 1)), ("probes", (5, 6, 7, 8, 9))):
            if folder == "probes" or name in KNOWN:
                (root / folder / name).mkdir(parents=True)
                for picture in pictures:
                    image = draw_photo(invent_person(person), picture).image
                    cv2.imwrite(str(root / folder / name / f"{picture}.jpg"), image[..., ::-1])
    return root


def _evaluate(album: Path, probes: Path | None = None, **options) -> OpenSetResult:
    given = {"photos": probes or album / "probes", "gallery": album / "gallery", "evaluate": True} | options
    return evaluate(IdentifyConfig(**given), Silent())


def test_the_numbers_are_those_of_the_answers_that_identify_gives(album: Path) -> None:
    config = IdentifyConfig(
        photos=album / "probes", gallery=album / "gallery", face="largest", matches=5, threshold=0.9
    )
    answers = [(found.photo.split("/")[0], found) for found in identify(config, Silent())]
    known = [(who, found) for who, found in answers if who in KNOWN]
    strangers = [found.matches[0].similarity for who, found in answers if who not in KNOWN]
    result = _evaluate(album, threshold=0.9)
    assert (result.people, result.known, result.unknown, result.left_out, result.failed) == (3, 15, 10, 0, 0)
    assert result.rank1 == np.mean([found.matches[0].name == who for who, found in known])
    assert result.rank5 == 1
    assert result.rule.named == np.mean([found.name == who for who, found in known])
    assert result.rule.misnamed == np.mean([found.name not in (who, None) for who, found in known])
    assert result.rule.rejected == np.mean([similarity < 0.9 for similarity in strangers])
    tenth, *others = result.dir_at_far
    second = sorted(strangers)[-2]
    hits = [found.matches[0].similarity > second and found.matches[0].name == who for who, found in known]
    assert (tenth.far, tenth.dir) == (0.1, np.mean(hits))
    assert [point.dir for point in others] == [None, None]
    assert result.to_json()["dir_at_far"][1]["reason"] == "needs 100 or more unknown faces, but there are 10"


class _Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice) and event.level == "warning":
            self.warnings.append(event.text)


def test_many_photographs_of_few_strangers_are_said_to_be_of_few(album: Path, tmp_path: Path) -> None:
    """Ten are enough for a false alarm rate of 0.1 if they show ten people. Those without a name count as people."""
    options = {"photos": album / "probes", "gallery": album / "gallery", "evaluate": True, "threshold": 0.9}
    heard = _Heard()
    evaluate(IdentifyConfig(**options), heard)
    (text,) = heard.warnings
    assert "the 10 photographs of unknown people show 6 people" in text and "FAR of 0.1 or less" in text
    shutil.copytree(album / "probes", tmp_path / "probes")
    for picture in sorted((tmp_path / "probes" / "dora").iterdir()):
        shutil.move(picture, tmp_path / "probes" / "_" / f"dora-{picture.name}")
    heard = _Heard()
    evaluate(IdentifyConfig(**options | {"photos": tmp_path / "probes"}), heard)
    assert heard.warnings == []


def test_photographs_of_the_gallery_itself_are_left_out(album: Path, tmp_path: Path) -> None:
    shutil.copytree(album / "probes", tmp_path / "probes")
    shutil.copy(album / "gallery" / "ann" / "0.jpg", tmp_path / "probes" / "ann" / "renamed.jpg")
    result = _evaluate(album, tmp_path / "probes", threshold=0.9)
    assert result.left_out == 1
    assert result.rule == _evaluate(album, threshold=0.9).rule
    with pytest.raises(DataError, match="would match themselves"):
        _evaluate(album, album / "gallery")


def test_a_photograph_without_a_face_counts(album: Path, tmp_path: Path) -> None:
    shutil.copytree(album / "probes", tmp_path / "probes")
    for name in ("ann", "dora"):
        (tmp_path / "probes" / name / "text.jpg").write_text("no picture")
    before, after = _evaluate(album), _evaluate(album, tmp_path / "probes")
    assert (after.known, after.unknown, after.failed) == (16, 11, 2)
    assert after.rank1 == pytest.approx(before.rank1 * 15 / 16)
    assert after.rule.rejected is not None and before.rule.rejected is not None
    assert after.rule.rejected == pytest.approx((before.rule.rejected * 10 + 1) / 11)
    with pytest.raises(TooManyBadFilesError, match="no face found in 2 of 27 photographs"):
        _evaluate(album, tmp_path / "probes", max_bad=0.05)


def test_probes_without_anyone_from_the_gallery_are_an_error(album: Path) -> None:
    with pytest.raises(DataError, match="no photograph is labeled with a gallery person"):
        _evaluate(album, album / "probes" / "dora")


def test_a_store_is_measured_as_its_photographs_are(album: Path, tmp_path: Path) -> None:
    store = tmp_path / "probes.h5"
    embed(EmbedConfig(faces=album / "probes", out=store), Silent())
    stored, read = (_evaluate(album, probes, threshold=0.9) for probes in (store, None))
    assert (stored.known, stored.unknown, stored.rank1, stored.rule) == (
        read.known,
        read.unknown,
        read.rank1,
        read.rule,
    )
    assert stored.dir_at_far[0].threshold == pytest.approx(read.dir_at_far[0].threshold, abs=1e-5)
