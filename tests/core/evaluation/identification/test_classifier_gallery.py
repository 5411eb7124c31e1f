from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError, ModelError
from faceclr_cli.core.evaluation.identification.identify import IdentifyResult, identify
from faceclr_cli.core.evaluation.identification.people_classifier import PeopleClassifier, write_classifier
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper

PEOPLE = ("ann", "bob", "cleo")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for person, name in enumerate(PEOPLE):
        cv2.imwrite(str(folder / f"{name}.jpg"), draw_photo(invent_person(person), 7).image[..., ::-1])
    return folder


def _embeddings(photos: Path, *, flip: bool = False) -> np.ndarray:
    encoder = SFaceEncoder()
    cropper = PhotoCropper(encoder.fingerprint)
    crops = np.stack([cropper.crop_file(photos / f"{name}.jpg").crop for name in PEOPLE])
    vectors = encoder.embed(crops)
    if flip:
        vectors = vectors + encoder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _classifier(photos: Path, *, flip: bool = False) -> PeopleClassifier:
    """Centroids are the people themselves, but the layer predicts the next person for each."""
    encoder, centroids = SFaceEncoder(), _embeddings(photos, flip=flip)
    points = tuple(FarPoint(far=far, threshold=line, tar=0.9) for far, line in ((0.01, 0.2), (0.001, 0.5)))
    return PeopleClassifier(
        people=PEOPLE,
        weights=20 * np.roll(centroids, 1, axis=0),
        bias=np.zeros(3, np.float32),
        centroids=centroids,
        calibration=Calibration(points=points, source="invented people"),
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        fingerprint=encoder.fingerprint,
        flip=flip,
        source={},
    )


def _identify(photos: Path, gallery: Path, **options) -> dict[str, IdentifyResult]:
    config = IdentifyConfig(photos=photos, gallery=gallery, **options)
    return {found.photo.removesuffix(".jpg"): found for found in identify(config, Silent())}


@pytest.mark.parametrize("flip", [False, True])
def test_the_layer_says_who_and_the_centroid_whether(photos: Path, tmp_path: Path, flip: bool) -> None:
    made = _classifier(photos, flip=flip)
    write_classifier(made, tmp_path / "people")
    vectors = _embeddings(photos, flip=flip)
    found = _identify(photos, tmp_path / "people", threshold=-1.0)
    for number, name in enumerate(PEOPLE):
        likeliest = PEOPLE[(number + 1) % 3]
        best = found[name].matches[0]
        assert (found[name].name, best.name, best.picture) == (likeliest, likeliest, None)
        cosine = float(vectors[number] @ made.centroids[(number + 1) % 3])
        assert best.similarity == pytest.approx(cosine, abs=1e-4)
        assert best.probability == pytest.approx(float(made.probabilities(vectors[number][None]).max()), abs=1e-3)
        assert sum(match.probability or 0 for match in found[name].matches) == pytest.approx(1, abs=1e-5)
        # The person themselves is only third for the layer, however similar.
        own = next(match for match in found[name].matches if match.name == name)
        assert own.similarity == pytest.approx(1, abs=1e-4)
    assert all(answer.name is None for answer in _identify(photos, tmp_path / "people", threshold=0.999).values())


def test_its_own_calibration_draws_the_line(photos: Path, tmp_path: Path) -> None:
    write_classifier(_classifier(photos), tmp_path / "people")
    alike = {name: answer.matches[0].similarity for name, answer in _identify(photos, tmp_path / "people").items()}
    for far, line in ((None, 0.5), (0.01, 0.2)):
        found = _identify(photos, tmp_path / "people", far=far)
        assert {name: answer.name is not None for name, answer in found.items()} == {
            name: similarity >= line for name, similarity in alike.items()
        }
    with pytest.raises(ConfigError, match=r"--far 0\.1: not measured for .*; available: 0\.01, 0\.001"):
        _identify(photos, tmp_path / "people", far=0.1)
    with pytest.raises(ConfigError, match="has its own"):
        _identify(photos, tmp_path / "people", calibration=tmp_path / "other.json")


def test_a_classifier_of_another_encoder_is_refused(photos: Path, tmp_path: Path) -> None:
    made = _classifier(photos)
    write_classifier(replace(made, encoder="someone", encoder_digest="0" * 64), tmp_path / "other")
    with pytest.raises(ModelError, match="was trained on embeddings of someone, not of --model sface"):
        _identify(photos, tmp_path / "other")
    write_classifier(replace(made, fingerprint=replace(made.fingerprint, template="box 1.0")), tmp_path / "cut")
    with pytest.raises(FingerprintError, match="template"):
        _identify(photos, tmp_path / "cut")
    write_classifier(made, tmp_path / "damaged")
    (tmp_path / "damaged" / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged"):
        _identify(photos, tmp_path / "damaged")
