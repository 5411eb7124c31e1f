"""Real models on real faces, neither of which is part of the project."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.evaluation.importing.import_encoder import import_encoder
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.weights import SFACE

VARIABLE = "FACECLR_TEST_MBF"
SHA256 = "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"


@pytest.fixture(scope="module")
def mbf() -> Path:
    """insightface's w600k_mbf.onnx, for non-commercial research only, so it is neither shipped nor downloaded."""
    path = Path(os.environ.get(VARIABLE, ""))
    if not path.is_file():
        pytest.skip(f"no w600k_mbf.onnx: set {VARIABLE} to its path")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


@pytest.mark.real
@pytest.mark.nightly
def test_a_mobilefacenet_of_insightface_reaches_99_percent_on_view_1(
    mbf: Path, real_data: Path, tmp_path: Path
) -> None:
    faces = real_data / "faces-train"
    result = import_encoder(ImportConfig(source=str(mbf), out=tmp_path / "mbf", faces=faces), Silent())
    assert (result.color, result.scale, result.crop_size, result.dim) == ("rgb", "127.5", 112, 512)
    view = real_data / "lfw-view1"
    config = VerifyConfig(
        model=str(tmp_path / "mbf"),
        protocol="lfw",
        pairs=view / "pairsDevTest.txt",
        calibrate_on=view / "pairsDevTrain.txt",
        root=view / "images",
    )
    measured = verify(config, Silent())
    assert isinstance(measured, PairsResult)
    assert measured.judged.accuracy > 0.99


@pytest.mark.real
@pytest.mark.nightly
def test_the_file_of_sface_is_read_as_its_authors_do(real_data: Path, tmp_path: Path) -> None:
    """Its graph scales the pixels itself, and lists weights as inputs."""
    faces = real_data / "faces-train"
    result = import_encoder(ImportConfig(source=str(SFACE.path()), out=tmp_path / "ours", faces=faces), Silent())
    assert (result.color, result.scale) == ("rgb", "none")
    crops = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), np.uint8)
    own, theirs = load_encoder(str(tmp_path / "ours")), load_encoder("sface", one_off=True)
    assert np.sum(own.embed(crops) * theirs.embed(crops), axis=1).min() >= 0.9999
