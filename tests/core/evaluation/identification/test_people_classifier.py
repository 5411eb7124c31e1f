from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from scipy.special import softmax

from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.identification.people_classifier import (
    PeopleClassifier,
    is_classifier,
    read_classifier,
    write_classifier,
)
from faceclr_cli.core.faces.fingerprint import Fingerprint


def _classifier(people: int = 3, dim: int = 4) -> PeopleClassifier:
    rng = np.random.default_rng(people)
    centroids = rng.normal(size=(people, dim))
    return PeopleClassifier(
        people=tuple(f"p{number}" for number in range(people)),
        weights=rng.normal(size=(people, dim)).astype(np.float32),
        bias=rng.normal(size=people).astype(np.float32),
        centroids=(centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).astype(np.float32),
        calibration=Calibration(points=(FarPoint(far=0.1, threshold=0.3, tar=0.9),), source="test"),
        encoder="sface",
        encoder_digest="0" * 64,
        fingerprint=Fingerprint(
            detector="yunet", detector_digest="0", template="arcface", size=112, interpolation="linear", padding="black"
        ),
        flip=False,
        source={"store": "a.h5", "pictures": 10, "probe": "linear", "c": 0.1},
    )


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    made = _classifier()
    write_classifier(made, tmp_path / "kept", {"seed": 0})
    found = read_classifier(tmp_path / "kept")
    for name in ("weights", "bias", "centroids"):
        assert np.array_equal(getattr(found, name), getattr(made, name))
    for name in ("people", "calibration", "encoder", "encoder_digest", "fingerprint", "flip", "source"):
        assert getattr(found, name) == getattr(made, name)
    content = json.loads((tmp_path / "kept/classifier.json").read_text())
    assert (content["kind"], content["config"]) == ("classifier", {"seed": 0})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["classifier.json", "kept", "weights.safetensors"]


def test_probabilities_are_the_softmax_of_the_layer_and_never_overflow() -> None:
    made = _classifier()
    faces = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = softmax(faces @ made.weights.T + made.bias, axis=1)
    assert made.probabilities(faces) == pytest.approx(expected, abs=1e-6)
    huge = replace(made, weights=np.full((3, 4), 3e38, np.float32))
    assert np.isfinite(huge.probabilities(100 * faces)).all()
    with pytest.raises(ValueError, match="a layer on 4 numbers"):
        made.probabilities(faces[:, :3])


def test_one_replaces_another_and_nothing_else(tmp_path: Path) -> None:
    write_classifier(_classifier(3), tmp_path / "kept")
    write_classifier(_classifier(5), tmp_path / "kept")
    assert len(read_classifier(tmp_path / "kept").people) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    (tmp_path / "kept/mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match=r"contains files that are not part of a classifier \(mine\.txt\)"):
        write_classifier(_classifier(), tmp_path / "kept")
    assert (tmp_path / "kept/mine.txt").read_text() == "keep"
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/weights.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="not part of a classifier"):
        write_classifier(_classifier(), tmp_path / "encoder")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; a classifier is a folder"):
        write_classifier(_classifier(), tmp_path / "file")


def test_a_folder_says_whether_it_is_one(tmp_path: Path) -> None:
    write_classifier(_classifier(), tmp_path / "kept")
    assert is_classifier(tmp_path / "kept")
    assert not is_classifier(tmp_path)
    assert not is_classifier(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "encoder"},
        {"people": ["b", "a", "c"]},
        {"people": ["a", "a", "c"]},
        {"people": ["a", "b"]},
        {"people": "abc"},
        {"people": [1, 2, 3]},
        {"flip": "no"},
        {"fingerprint": {}},
        {"calibration": {"points": [], "probability": None, "source": ""}},
        {"calibration": None},
        {"source": None},
        {"weights": {"sha256": "0"}},
        {"weights": None},
    ],
)
def test_a_damaged_description_is_refused_in_one_line(tmp_path: Path, changes: dict) -> None:
    write_classifier(_classifier(), tmp_path)
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=str(tmp_path)) as raised:
        read_classifier(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": np.full((3, 4), np.nan, np.float32)},
        {"weights": np.zeros((4, 4), np.float32)},
        {"weights": np.zeros((3, 4))},
        {"bias": np.zeros((3, 1), np.float32)},
        {"bias": np.full(3, np.inf, np.float32)},
        {"centroids": np.zeros((3, 5), np.float32)},
        {"centroids": np.ones((3, 4), np.float32)},
        {"bias": None},
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, changes: dict) -> None:
    write_classifier(_classifier(), tmp_path)
    tensors = load_file(tmp_path / "weights.safetensors") | changes
    data = save({name: array for name, array in tensors.items() if array is not None})
    (tmp_path / "weights.safetensors").write_bytes(data)
    path = tmp_path / "classifier.json"
    content = json.loads(path.read_text()) | {"weights": {"sha256": hashlib.sha256(data).hexdigest()}}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=str(tmp_path)):
        read_classifier(tmp_path)


@pytest.mark.parametrize("name", ["classifier.json", "weights.safetensors"])
def test_files_that_are_cut_off_foreign_or_gone_are_refused(tmp_path: Path, name: str) -> None:
    write_classifier(_classifier(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff" * 100, b"[" * 100_000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_classifier(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match="not a classifier" if name == "classifier.json" else name):
        read_classifier(tmp_path)
