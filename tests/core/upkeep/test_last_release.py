"""Artifacts of the last release are still read, used and continued."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core import (
    CenterConfig,
    IdentifyConfig,
    InfoConfig,
    LinearEvalConfig,
    Silent,
    VerifyConfig,
    identify,
    info,
    linear_eval,
    load_encoder,
    read_store,
    train_center,
    verify,
)

SAMPLES = Path(__file__).parents[2] / "samples" / "last_release"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A copy, since some commands write into what they read."""
    return Path(shutil.copytree(SAMPLES, tmp_path / "samples"))


def crops(store_paths: tuple[str, ...], splits: Path) -> NDArray[np.uint8]:
    """The RGB crops behind rows of a store, by their place in the split."""
    found = [next(splits.glob(f"*/{path}")) for path in store_paths]
    return np.stack([cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1] for path in found])


@pytest.mark.parametrize(
    ("name", "kind", "about"),
    [
        ("run", "run", {"command": "train-center", "epochs": 2}),
        ("run/encoder", "encoder", {"exported": False}),
        ("encoder.onnx", "encoder", {"precision": "float16"}),
        ("splits", "split", {}),
        ("splits/train", "faces", {"faces": 24, "people": 4}),
        ("store.h5", "embeddings", {"dim": 8}),
        ("sface.h5", "embeddings", {"dim": 128, "encoder": "sface"}),
        ("classifier", "classifier", {"dim": 128, "people": 8}),
        ("calibration.json", "calibration", {"encoder": "sface"}),
    ],
)
def test_info_describes_it(name: str, kind: str, about: dict[str, object]) -> None:
    found = info(InfoConfig(path=SAMPLES / name), Silent())
    assert found.kind == kind
    assert {key: found.about[key] for key in about} == about


def test_info_describes_groups(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "cluster.json", tmp_path)
    found = info(InfoConfig(path=tmp_path), Silent())
    assert (found.kind, found.about["faces"], found.about["groups"]) == ("groups", 48, 1)


@pytest.mark.parametrize("model", ["run", "encoder.onnx"])
def test_an_encoder_gives_the_embeddings_that_it_gave(model: str) -> None:
    store = read_store(SAMPLES / "store.h5")
    encoder = load_encoder(str(SAMPLES / model))
    embeddings = encoder.embed(crops(store.paths, SAMPLES / "splits"))
    assert np.einsum("nd,nd->n", embeddings, store.embeddings).min() > 0.9999


def test_the_layer_of_linear_eval_learns_from_a_store() -> None:
    (row,) = linear_eval(LinearEvalConfig(stores=(SAMPLES / "sface.h5",), rounds=100), Silent()).rows
    assert row.top1 > 0.9


def test_a_classifier_and_a_store_name_faces() -> None:
    asked = SAMPLES / "sface.h5"
    for gallery in ("classifier", "sface.h5"):
        named = list(identify(IdentifyConfig(photos=asked, gallery=SAMPLES / gallery), Silent()))
        right = [face.name == Path(face.photo).parent.name for face in named if face.name]
        assert len(named) == 48
        assert len(right) > 30
        assert np.mean(right) > 0.9


def test_a_calibration_decides() -> None:
    faces = sorted((SAMPLES / "splits" / "train").glob("person-0[13]/01.jpg"))
    calibration = SAMPLES / "calibration.json"
    verdict = verify(VerifyConfig(photos=(faces[0], faces[0]), calibration=calibration), Silent())
    assert (verdict.same, verdict.far) == (True, 0.01)
    assert verdict.threshold == json.loads(calibration.read_text())["calibration"]["points"][0]["threshold"]
    assert not verify(VerifyConfig(photos=(faces[0], faces[1]), calibration=calibration), Silent()).same


def test_a_split_lists_pairs_of_its_test_part() -> None:
    rows = list(csv.DictReader((SAMPLES / "splits" / "pairs.csv").open(encoding="utf-8")))
    result = CliRunner().invoke(
        app,
        [
            "verify",
            "--embeddings",
            str(SAMPLES / "sface.h5"),
            "--pairs",
            str(SAMPLES / "splits" / "pairs.csv"),
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert measured["genuine"] + measured["impostor"] == len(rows)


def test_a_run_continues_on_faces_that_moved(samples: Path) -> None:
    config = CenterConfig(
        data=(samples / "splits" / "train",),
        out=samples / "run",
        resume="yes",
        epochs=3,
        backbone="test_efficientnet",
        pool="mean",
        embedding_dim=8,
        image_size=32,
        batch_size=4,
        optimizer="sgd",
    )
    result = train_center(config, Silent())
    assert result.epochs == 3
    before = list(csv.reader((SAMPLES / "run" / "history.csv").open(encoding="utf-8")))
    after = list(csv.reader((samples / "run" / "history.csv").open(encoding="utf-8")))
    assert [row[0] for row in after] == ["epoch", "1", "2", "3"]
    assert after[1][:2] == before[1][:2]
    assert load_encoder(str(samples / "run")).embed(np.zeros((1, 112, 112, 3), np.uint8)).shape == (1, 8)
