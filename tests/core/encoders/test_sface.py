from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.built_in_network import load_sface_network
from faceclr_cli.core.encoders.encoder_folder import TorchEncoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.encoders.sface_description import describe_sface
from faceclr_cli.core.errors import NoFaceError
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify as run
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.weights import SFACE
from faceclr_cli.core.metrics.far_thresholds import far_thresholds
from faceclr_cli.core.metrics.roc import best_threshold


@pytest.fixture(scope="module")
def encoder() -> SFaceEncoder:
    return SFaceEncoder()


def _crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), np.uint8)


def test_it_is_what_opencv_makes_of_the_same_weights(encoder: SFaceEncoder) -> None:
    crops = _crops(3)
    reference = cv2.FaceRecognizerSF.create(str(SFACE.path()), "")
    expected = np.stack([reference.feature(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[0].copy() for crop in crops])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.embed(crops), expected, atol=1e-5)


def test_embeddings_are_unit_rows_that_don_t_depend_on_the_batch(encoder: SFaceEncoder) -> None:
    crops = _crops(3)
    together = encoder.embed(crops)
    assert together.shape == (3, encoder.dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together[1:2], encoder.embed(crops[1:2]))
    assert encoder.embed(crops[:0]).shape == (0, encoder.dim)


def test_it_says_what_it_is(encoder: SFaceEncoder) -> None:
    as_protocol: Encoder = encoder
    assert as_protocol.fingerprint.size == 112
    assert as_protocol.digest == SFACE.sha256
    assert as_protocol.calibration is not None
    assert [point.far for point in as_protocol.calibration.points] == [1e-2, 1e-3, 1e-4, 1e-5]
    assert as_protocol.calibration.default_point.far == 1e-3
    assert "pairsDevTrain.txt" in as_protocol.calibration.source


def drawn_crops(count: int) -> np.ndarray:
    """Crops with structure at scales from one color to one per pixel; embeddings of noise are all similar."""
    crops = np.empty((count, 112, 112, 3), np.uint8)
    for crop, grains in zip(crops, np.geomspace(2, 112, count).round().astype(int), strict=True):
        places = np.arange(112) * grains // 112
        crop[:] = np.random.default_rng(grains).integers(0, 256, (grains, grains, 3), np.uint8)[places[:, None], places]
    return crops


@pytest.fixture(scope="module")
def opencv(encoder: SFaceEncoder) -> np.ndarray:
    """OpenCV's embeddings of 64 crops."""
    return encoder.embed(drawn_crops(64)).astype(float)


def test_as_a_pytorch_network_it_gives_opencv_s_embeddings(opencv: np.ndarray) -> None:
    network = TorchEncoder(describe_sface(), load_sface_network(), torch.device("cpu"))
    assert np.sum(network.embed(drawn_crops(64)) * opencv, axis=1).min() >= 0.9999
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.network.modules()) == 27


def test_onnx_runtime_gives_opencv_s_embeddings_in_batches(opencv: np.ndarray) -> None:
    encoder = load_encoder("sface", "cpu")
    embeddings = encoder.embed(drawn_crops(64))
    assert isinstance(encoder.encoder, OnnxEncoder)
    assert np.sum(embeddings * opencv, axis=1).min() >= 1 - 2e-6
    np.testing.assert_allclose(encoder.embed(drawn_crops(64)[5:8]), embeddings[5:8], atol=1e-5)
    assert encoder.embed(drawn_crops(1)[:0]).shape == (0, 128)


def test_all_engines_are_one_encoder(encoder: SFaceEncoder) -> None:
    other = load_encoder("sface", "cpu")
    assert (other.name, other.dim, other.digest) == (encoder.name, encoder.dim, encoder.digest)
    assert (other.fingerprint, other.calibration) == (encoder.fingerprint, encoder.calibration)


def test_crops_of_another_size_are_refused(encoder: SFaceEncoder) -> None:
    with pytest.raises(ValueError, match="112"):
        encoder.embed(np.zeros((1, 96, 96, 3), np.uint8))


@pytest.mark.real
@pytest.mark.nightly  # Those of the thresholds below, on every push, are pairs of the same list.
def test_it_tells_listed_pairs_of_lfw_apart(encoder: SFaceEncoder, real_data: Path) -> None:
    lfw = real_data / "lfw-view1"
    every = read_pairs(lfw / "pairsDevTest.txt")
    # Genuine pairs come first in the file.
    pairs = [*every[0:500:10], *every[500::10]]
    cropper = PhotoCropper(encoder.fingerprint)
    vectors = {}
    for name in {name for pair in pairs for name in (pair.a, pair.b)}:
        try:
            vectors[name] = encoder.embed(cropper.crop_file(lfw / "images" / name).crop[None])[0]
        except NoFaceError:
            vectors[name] = np.zeros(encoder.dim, np.float32)
    scores = np.array([vectors[pair.a] @ vectors[pair.b] for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    assert np.mean((scores >= best_threshold(scores, same)) == same) >= 0.97
    threshold = encoder.calibration.default_point.threshold
    assert np.mean(scores[~same] >= threshold) <= 0.02
    assert np.mean(scores[same] >= threshold) >= 0.94


def pictures_of(listing: Path) -> dict[str, set[str]]:
    """The pictures that a list names, by their people."""
    pictures: dict[str, set[str]] = {}
    for pair in read_pairs(listing):
        for name in (pair.a, pair.b):
            pictures.setdefault(name.split("/")[0], set()).add(name)
    return pictures


@pytest.mark.real
@pytest.mark.parametrize(
    ("share", "fars"),
    [
        pytest.param(0.1, (1e-2, 1e-3), id="some people"),
        pytest.param(1.0, (1e-2, 1e-3, 1e-4), id="everybody", marks=[pytest.mark.nightly, pytest.mark.timeout(600)]),
    ],
)
def test_its_thresholds_hold_for_other_people(
    share: float, fars: tuple[float, ...], encoder: SFaceEncoder, real_data: Path
) -> None:
    lfw = real_data / "lfw-view1"
    pictures = pictures_of(lfw / "pairsDevTest.txt")
    assert pictures.keys().isdisjoint(pictures_of(lfw / "pairsDevTrain.txt"))
    people = np.random.default_rng(0).permutation(sorted(pictures))[: round(share * len(pictures))]
    cropper = PhotoCropper(encoder.fingerprint, Selection(choice="center"))
    crops, labels = [], []
    for person in people:
        for name in sorted(pictures[person]):
            try:
                crops.append(cropper.crop_file(lfw / "images" / name).crop)
            except NoFaceError:
                continue
            labels.append(person)
    for measured in far_thresholds(encoder.embed(np.stack(crops)), labels, fars):
        shipped = encoder.calibration.at(measured.far)
        assert shipped.low < shipped.threshold < shipped.high
        assert measured.low <= shipped.high
        assert shipped.low <= measured.high


@pytest.mark.real
@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_its_accuracy_on_lfw_is_that_of_a_good_encoder(real_data: Path) -> None:
    lfw = real_data / "lfw-view1"
    train, test = lfw / "pairsDevTrain.txt", lfw / "pairsDevTest.txt"
    config = VerifyConfig(protocol="lfw", root=lfw / "images", pairs=test, calibrate_on=train)
    result = run(config, Silent())
    assert isinstance(result, PairsResult)
    assert (result.genuine, result.impostor, result.judged.folds) == (500, 500, 1)
    assert result.judged.accuracy >= 0.985
