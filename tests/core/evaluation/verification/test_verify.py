from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError, NoFaceError, UnreadableImageError
from faceclr_cli.core.evaluation.verification.verify import VerifyResult
from faceclr_cli.core.evaluation.verification.verify import verify as run
from faceclr_cli.core.events import Event, Notice, Silent


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


def _write(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    _write(root / "a.jpg", draw_photo(invent_person(1), 1).image)
    _write(root / "b.jpg", draw_photo(invent_person(2), 1).image)
    _write(root / "nobody.png", np.full((200, 200, 3), 90, np.uint8))
    (root / "text.jpg").write_text("no picture")
    return root


def _verify(*photos: Path, **options) -> VerifyResult:
    result = run(VerifyConfig(photos=photos, **options), Silent())
    assert isinstance(result, VerifyResult)
    return result


def test_a_photograph_shows_the_same_person_as_itself(drawn: Path) -> None:
    result = _verify(drawn / "a.jpg", drawn / "a.jpg")
    assert result.same
    assert result.similarity == pytest.approx(1.0, abs=1e-5)
    assert (result.threshold, result.far) == (SFaceEncoder().calibration.at(1e-3).threshold, 1e-3)
    assert result.probability is not None and result.probability > 0.999
    assert "1 in 1,000 pairs of different people" in result.meaning


def test_the_threshold_decides(drawn: Path) -> None:
    measured = _verify(drawn / "a.jpg", drawn / "b.jpg", threshold=-1.0)
    assert measured.same
    assert measured.far is None
    assert measured.meaning == "chosen by --threshold"
    assert not _verify(drawn / "a.jpg", drawn / "b.jpg", threshold=measured.similarity + 0.01).same
    assert _verify(drawn / "a.jpg", drawn / "b.jpg", threshold=measured.similarity - 0.01).same


def test_order_does_not_matter(drawn: Path) -> None:
    one, other = _verify(drawn / "a.jpg", drawn / "b.jpg"), _verify(drawn / "b.jpg", drawn / "a.jpg")
    assert one.similarity == pytest.approx(other.similarity, abs=1e-6)


def test_errors_name_the_photograph(drawn: Path) -> None:
    with pytest.raises(NoFaceError, match=r"nobody\.png: no face"):
        _verify(drawn / "a.jpg", drawn / "nobody.png")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg"):
        _verify(drawn / "text.jpg", drawn / "a.jpg")


def test_an_encoder_without_a_threshold_needs_one(drawn: Path) -> None:
    with pytest.raises(ConfigError, match="--threshold"):
        _verify(drawn / "a.jpg", drawn / "b.jpg", model="pixels")
    assert _verify(drawn / "a.jpg", drawn / "b.jpg", model="pixels", threshold=-1.0).same
    with pytest.raises(ModelError):
        _verify(drawn / "a.jpg", drawn / "b.jpg", model="gone")


def test_a_second_face_is_mentioned(drawn: Path, tmp_path: Path) -> None:
    a, b = cv2.imread(str(drawn / "a.jpg")), cv2.imread(str(drawn / "b.jpg"))
    height = max(len(a), len(b))
    sides = [cv2.copyMakeBorder(image, 0, height - len(image), 0, 0, cv2.BORDER_REPLICATE) for image in (a, b)]
    cv2.imwrite(str(tmp_path / "both.jpg"), np.hstack(sides))
    listener = Listener()
    run(VerifyConfig(photos=(tmp_path / "both.jpg", drawn / "a.jpg")), listener)
    [notice] = listener.events
    assert isinstance(notice, Notice)
    assert "2 faces found" in notice.text
    assert "both.jpg" in notice.text


@pytest.mark.real
def test_real_people(real_data: Path) -> None:
    photos = real_data / "photos"
    a = photos / "person_a_1.jpg"
    same, different = _verify(a, photos / "person_a_2.jpg"), _verify(a, photos / "person_b_1.jpg")
    assert same.same
    assert same.similarity > 0.5
    assert not different.same
    assert different.similarity < 0.2


def test_nothing_heavy_is_imported_for_two_photographs(drawn: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from faceclr_cli.core.configs.verify import VerifyConfig\n"
        "from faceclr_cli.core.events import Silent\n"
        "from faceclr_cli.core.evaluation.verification.verify import verify\n"
        f"verify(VerifyConfig(photos=(Path({str(drawn / 'a.jpg')!r}), Path({str(drawn / 'b.jpg')!r}))), Silent())\n"
        "print(*{'torch', 'h5py', 'sklearn', 'scipy', 'matplotlib', 'umap', 'timm'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_photograph_compared_with_itself_is_told_of(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.jpg").write_bytes((drawn / "a.jpg").read_bytes())
    assert "a.jpg: compared with itself" in _verify(drawn / "a.jpg", drawn / "a.jpg").notes[0]
    assert "is the same file as" in _verify(drawn / "a.jpg", tmp_path / "copy.jpg").notes[0]
    assert not any("same file" in note for note in _verify(drawn / "a.jpg", drawn / "b.jpg").notes)


def test_a_url_is_shown_as_it_was_typed() -> None:
    with pytest.raises(DataError, match=r"https://example\.org/a\.jpg"):
        _verify(Path("https://example.org/a.jpg"), Path("https://example.org/b.jpg"))
