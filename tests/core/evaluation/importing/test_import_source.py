from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.evaluation.importing.import_encoder import import_encoder
from faceclr_cli.core.events import Silent
from tests.core.evaluation.importing.foreign_files import untrained, write_model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
NAME, SIDE = "test_convnext", 64


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    made: torch.nn.Module = timm.create_model(NAME, num_classes=0).eval()
    return made


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def expected(model: torch.nn.Module, crops: NDArray[np.uint8], mean: Any, std: Any) -> NDArray[np.float32]:
    pixels = (torch.from_numpy(crops).double() / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        rows: NDArray[np.float32] = F.normalize(model(pixels.permute(0, 3, 1, 2).float()), dim=1).numpy()
    return rows


def write_folder(folder: Path, model: torch.nn.Module) -> Path:
    folder.mkdir(parents=True)
    settings = {"input_size": [3, SIDE, SIDE], "mean": MEAN, "std": STD, "num_classes": 0, "classifier": "head.fc"}
    content = {"architecture": NAME, "num_classes": 0, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(content))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def test_a_folder_of_timm_says_its_pixels(model: torch.nn.Module, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", model)
    result = import_encoder(ImportConfig(source=str(folder), out=tmp_path / "ours"), Silent())
    assert (result.color, result.evidence["scale"], result.crop_size) == ("rgb", "file", SIDE)
    encoder = load_encoder(str(tmp_path / "ours"))
    assert np.sum(encoder.embed(crops) * expected(model, crops, MEAN, STD), axis=1).min() >= 0.9999
    assert (tmp_path / "ours" / "weights.safetensors").is_file()


def in_the_cache(cache: Path, files: Path) -> None:
    """Puts files into the hub's cache, as a download does."""
    repository = cache / "models--user--model"
    commit = "c" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    files.rename(repository / "snapshots" / commit)


def test_a_model_of_the_hub_with_its_license(
    model: torch.nn.Module, crops: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "theirs", model)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    write_model(folder / "face.onnx", untrained())
    in_the_cache(tmp_path / "hub", folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    result = import_encoder(ImportConfig(source="hf-hub:user/model", out=tmp_path / "ours"), Silent())
    assert (result.source["license"], result.source["revision"]) == ("apache-2.0", "c" * 40)
    assert result.source["url"] == "https://huggingface.co/user/model"
    rows = load_encoder(str(tmp_path / "ours")).embed(crops)
    assert np.sum(rows * expected(model, crops, MEAN, STD), axis=1).min() >= 0.9999
    source = "hf-hub:user/model/face.onnx"
    graph = import_encoder(ImportConfig(source=source, out=tmp_path / "graph", color="rgb", scale="127.5"), Silent())
    assert (graph.form, graph.source["file"]) == ("ONNX graph", "user/model/face.onnx")


def test_a_checkpoint_of_a_named_backbone(model: torch.nn.Module, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "m.pt")
    config = ImportConfig(
        source=str(tmp_path / "m.pt"), out=tmp_path / "ours", backbone=NAME, size=SIDE, color="bgr", scale="255"
    )
    import_encoder(config, Silent())
    rows = load_encoder(str(tmp_path / "ours")).embed(crops)
    theirs = expected(model, np.ascontiguousarray(crops[..., ::-1]), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert np.sum(rows * theirs, axis=1).min() >= 0.9999


def test_a_checkpoint_of_another_network_is_not_guessed_at(tmp_path: Path) -> None:
    torch.save(untrained().network.state_dict(), tmp_path / "theirs.pt")
    words = ["import", str(tmp_path / "theirs.pt"), "-o", str(tmp_path / "ours"), "--color", "rgb", "--scale", "255"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4
    assert "the network is not recognized" in done.stderr
    assert not (tmp_path / "ours").exists()


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("name", ["bomb.pt", "words.pth", "missing.pt", "notes.txt", "folder"])
def test_what_is_no_model_is_exit_4_and_writes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    (tmp_path / "words.pth").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(app, ["import", str(tmp_path / name), "-o", str(tmp_path / "ours")])
    assert (done.exit_code, done.stdout) == (4, ""), done.stderr
    assert name in done.stderr
    assert not (tmp_path / "ours").exists()
    assert not (tmp_path / "boom").exists()
