from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.encoders.built_in_network import load_sface_network
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, FingerprintError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.training.trainers import train
from tests.core.training.toy import make_faces

PEOPLE, PICTURES = 4, 4


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of 112 x 112 that state the preprocessing of `sface`."""
    root = tmp_path_factory.mktemp("init") / "faces"
    for person in range(PEOPLE):
        folder = root / f"person_{person}"
        folder.mkdir(parents=True)
        for number, crop in enumerate(crops(PICTURES, person)):
            cv2.imwrite(str(folder / f"{number}.png"), crop)
    content = {"kind": "faces", "fingerprint": default_fingerprint().to_json()}
    (root / "faceclr.json").write_text(json.dumps(content))
    return root


def crops(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (1, 7, 7, 3)).repeat(count, 0) + random.integers(-30, 30, (count, 7, 7, 3))
    return coarse.clip(0, 255).astype(np.uint8).repeat(16, 1).repeat(16, 2)


@pytest.mark.parametrize("config", [PretrainConfig, TripletConfig, CenterConfig])
def test_all_trainers_start_from_the_built_in_encoder(config: type[TrainConfig], faces: Path, tmp_path: Path) -> None:
    result = train(config(data=(faces,), out=tmp_path / "run", init="sface", epochs=0, batch_size=8), Silent())
    encoder, built_in = load_encoder_folder(result.encoder, "cpu"), load_encoder("sface", "cpu")
    assert encoder.dim == 128
    assert np.sum(encoder.embed(crops(3, 9)) * built_in.embed(crops(3, 9)), axis=1).min() > 0.9999
    assert encoder.fingerprint.size == 112
    assert encoder.fingerprint.normalization == "mean 0.5 std 0.501961"
    options = json.loads((result.run / "config.json").read_text())["config"]
    assert (options["init"], options["backbone"]) == ("sface", "sface")
    assert (options["image_size"], options["embedding_dim"]) == (112, 128)


def test_a_student_of_the_built_in_encoder_starts_from_it_with_smaller_pictures(faces: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": (faces,), "batch_size": 8, "precision": "32", "hold_out": 0.0}
    run = train(DistillConfig(out=tmp_path / "run", epochs=1, **common), Silent()).run
    options = json.loads((run / "config.json").read_text())["config"]
    assert (options["init"], options["backbone"], options["image_size"]) == ("sface", "sface", 48)
    encoder = load_encoder_folder(run, "cpu")
    assert (encoder.dim, encoder.network.architecture.image_size) == (128, 48)
    # Its averages are those of small pictures, and its rate is half of that from random weights.
    start = load_sface_network().at_size(48).backbone.state_dict()
    means = {name: value for name, value in encoder.network.backbone.state_dict().items() if "running_mean" in name}
    assert not any(torch.equal(value, start[name]) for name, value in means.items())
    resumed = train(DistillConfig(out=run, epochs=2, resume="yes", **common), Silent())
    assert resumed.epochs == 2

    chosen = train(DistillConfig(out=tmp_path / "chosen", epochs=0, backbone="test_resnet", **common), Silent()).run
    options = json.loads((chosen / "config.json").read_text())["config"]
    assert (options["init"], options["backbone"], options["image_size"]) == ("random", "test_resnet", 112)


def test_the_same_run_gives_the_same_bytes(faces: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": (faces,), "batch_size": 8, "precision": "32", "epochs": 0}
    deterministic = torch.are_deterministic_algorithms_enabled()
    first = train(DistillConfig(out=tmp_path / "first", **common), Silent()).encoder
    try:
        torch.use_deterministic_algorithms(True)  # New memory is filled with large numbers instead of what was there.
        second = train(DistillConfig(out=tmp_path / "second", **common), Silent()).encoder
    finally:
        torch.use_deterministic_algorithms(deterministic)
    assert (first / "weights.safetensors").read_bytes() == (second / "weights.safetensors").read_bytes()


def test_the_rate_of_a_resized_encoder_is_half_of_that_from_random_weights(faces: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": (faces,), "batch_size": 8, "precision": "32", "epochs": 1, "hold_out": 0.0}
    starts = {"random": {"backbone": "test_resnet"}, "resized": {}, "same size": {"init": "sface"}}
    rates = {
        name: train(DistillConfig(out=tmp_path / name, **options, **common), Silent()).metrics["lr"]
        for name, options in starts.items()
    }
    assert rates["resized"] == pytest.approx(0.5 * rates["random"])
    assert rates["same size"] == pytest.approx(0.1 * rates["random"])


def test_training_changes_it_and_a_resumed_run_goes_on(faces: Path, tmp_path: Path) -> None:
    config = CenterConfig(
        data=(faces,), out=tmp_path / "run", init="sface", epochs=1, batch_size=8, embedding_dim=16, hold_out=0.0,
        precision="32",
    )  # fmt: skip
    first = train(config, Silent())
    before = load_encoder_folder(first.encoder, "cpu")
    assert before.dim == 16
    second = train(replace(config, epochs=2, resume="yes"), Silent())
    after = load_encoder_folder(second.encoder, "cpu")
    assert np.abs(after.embed(crops(3, 9)) - before.embed(crops(3, 9))).max() > 1e-4
    with pytest.raises(ConfigError, match=r"--embedding-dim: the run in .* has 16 and cannot be resumed with 32"):
        train(replace(config, epochs=3, resume="yes", embedding_dim=32), Silent())


def test_other_crops_are_refused(tmp_path: Path) -> None:
    other = make_faces(tmp_path / "other", 3, 4)
    with pytest.raises(FingerprintError, match=r"sface and .* were preprocessed differently"):
        train(PretrainConfig(data=(other,), out=tmp_path / "run", init="sface", epochs=0), Silent())


def test_an_apple_gpu_that_is_not_there_is_an_error(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device mps: torch found no Apple GPU; omit the option"):
        train(PretrainConfig(data=(faces,), out=tmp_path / "run", device="mps"), Silent())
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="--processes is for the CPU"):
        PretrainConfig(data=(faces,), device="mps", processes=2)
