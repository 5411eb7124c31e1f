"""Training that starts from a network of another project, without an import."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
from faceclr_cli.core.errors import ConfigError, FingerprintError, ModelError, TerminatedRunError
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.training.trainers import train
from tests.core.encoders.checkpoints import foreign_modules
from tests.core.encoders.face_networks import functional
from tests.core.training.test_built_in_init import crops
from tests.core.training.test_built_in_init import faces as faces
from tests.core.training.test_resume import Stopper
from tests.core.training.toy import SIZE, Heard, make_faces, make_split, weights

BACKBONE = "test_convnext"
OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A MobileFaceNet of another project, which takes ImageNet's mean and standard deviation."""
    network = foreign_modules.draw(foreign_modules.Foamliu())
    path = tmp_path_factory.mktemp("theirs") / "mobilefacenet.pt"
    torch.save(network.state_dict(), path)
    return path, network.eval()


def write_timm_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model(BACKBONE, num_classes=0)
    settings = {
        "input_size": [3, SIZE, SIZE],
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.25, 0.3),
        "classifier": "head.fc",
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": BACKBONE, "pretrained_cfg": settings}))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("kind", [PretrainConfig, TripletConfig, CenterConfig, DistillConfig])
def test_all_trainers_start_from_a_public_checkpoint(
    kind: type[TrainConfig], faces: Path, checkpoint: tuple[Path, torch.nn.Module], tmp_path: Path
) -> None:
    path, theirs = checkpoint
    options: dict[str, Any] = {"teacher": ("pixels",)} if kind is DistillConfig else {}
    config = kind(data=(faces,), out=tmp_path / "run", init=str(path), epochs=0, batch_size=8, **options)
    heard = Heard()
    result = train(replace(config, embedding_dim=128) if options else config, heard)
    encoder, some = load_encoder_folder(result.encoder, "cpu"), crops(3, 9)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    with torch.inference_mode():
        expected = theirs(torch.from_numpy((some - mean) / std).permute(0, 3, 1, 2).float())
    functional.assert_same(torch.from_numpy(encoder.embed(some)), torch.nn.functional.normalize(expected))
    about = json.loads((result.encoder / "encoder.json").read_text())
    assert about["source"]["file"] == "mobilefacenet.pt" and about["source"]["sha256"] == digest_file(path)
    record = json.loads((result.run / "config.json").read_text())
    assert record["config"]["init"] == str(path) and record["init"]["digest"] == digest_file(path)
    assert any("recognized as mobilefacenet" in note.text for note in heard.of(Notice))


@pytest.mark.parametrize("dim", [None, 16])
def test_a_run_from_a_timm_folder_resumes_without_it(dim: int | None, tmp_path: Path) -> None:
    split, folder = make_split(tmp_path / "split"), write_timm_folder(tmp_path / "theirs")
    config = CenterConfig(data=(split,), out=tmp_path / "whole", init=str(folder), embedding_dim=dim, **OPTIONS)
    heard = Heard()
    whole = train(config, heard)
    assert any("does not say how its faces are aligned" in note.text for note in heard.of(Notice))
    parts = replace(config, out=tmp_path / "parts")
    with pytest.raises(TerminatedRunError):
        train(parts, Stopper(signal.SIGTERM, 5))
    shutil.rmtree(folder)
    resumed = train(replace(parts, resume="yes"), Silent())
    assert weights(resumed.run) == weights(whole.run)
    encoder = load_encoder_folder(resumed.encoder, "cpu")
    assert encoder.dim == (dim or timm.create_model(BACKBONE).num_features)
    # The pixels of the source, and the alignment of the faces here.
    assert encoder.fingerprint.normalization == "mean 0.5,0.4,0.3 std 0.2,0.25,0.3"
    assert encoder.fingerprint.template == "toy"
    assert json.loads((resumed.encoder / "encoder.json").read_text())["source"]["file"] == "theirs"


@pytest.mark.parametrize("kind", [TripletConfig, CenterConfig])
def test_the_last_layer_of_a_network_without_one_cannot_be_trained(kind: type[TrainConfig], tmp_path: Path) -> None:
    split, folder = make_split(tmp_path / "split"), write_timm_folder(tmp_path / "theirs")
    config = kind(data=(split,), out=tmp_path / "run", init=str(folder), tune="last", epochs=1, batch_size=16)
    with pytest.raises(ConfigError, match=r"--tune last: the encoder in --init .*theirs has no embedding layer"):
        train(config, Silent())
    assert not (tmp_path / "run").exists()
    assert train(replace(config, embedding_dim=16), Silent()).epochs == 1


def test_a_run_without_a_checkpoint_needs_the_source_again(tmp_path: Path) -> None:
    split, folder = make_split(tmp_path / "split"), write_timm_folder(tmp_path / "theirs")
    config = CenterConfig(data=(split,), out=tmp_path / "run", init=str(folder), **OPTIONS)
    train(config, Silent())
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="theirs: no such folder"):
        train(replace(config, resume="yes"), Silent())


def test_what_cannot_be_trained_is_an_error_before_anything_is_written(
    faces: Path, checkpoint: tuple[Path, torch.nn.Module], tmp_path: Path
) -> None:
    (tmp_path / "face.onnx").write_bytes(b"graph")
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "timm.pth")
    silent = functional.draw_ir((2, 2, 2, 2), side=3)
    silent |= {"output_layer.4.weight": torch.ones(512), "output_layer.4.bias": torch.zeros(512)}
    torch.save(silent, tmp_path / "silent.pth")
    (tmp_path / "empty.pth").touch()
    for name, message in {
        "face.onnx": r"face\.onnx: an ONNX graph, which cannot be trained; give the checkpoint",
        "timm.pth": r"faceclr import .*timm\.pth --backbone NAME -o ENCODER",
        "silent.pth": r"silent\.pth: does not state which pixels it takes\nMeasure them: faceclr import .* --faces DIR",
        "empty.pth": r"empty\.pth: not a PyTorch checkpoint, or damaged",
        "missing.pth": r"missing\.pth: no such folder",
    }.items():
        with pytest.raises(ModelError, match=message):
            train(CenterConfig(data=(faces,), out=tmp_path / "run", init=str(tmp_path / name)), Silent())
    other = make_faces(tmp_path / "other", 3, 4)
    with pytest.raises(FingerprintError, match=r"mobilefacenet\.pt and .* were preprocessed differently"):
        train(CenterConfig(data=(other,), out=tmp_path / "run", init=str(checkpoint[0])), Silent())
    assert not (tmp_path / "run").exists()
