from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.encoders.architecture import Architecture, InputNormalization
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, save_encoder
from faceclr_cli.core.encoders.export import export
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint

IMAGENET = InputNormalization(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def save(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    given = {"backbone": "test_resnet", "embedding_dim": 12, "image_size": 112, "pool": "mean"} | changes
    network = EncoderNetwork(Architecture(**given)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    card = Card(command="pretrain", config={}, data="train", pictures=3, people={})
    save_encoder(folder, network, default_fingerprint(), card=card)
    return folder


@pytest.mark.parametrize(
    ("backbone", "normalization"),
    [("test_resnet", IMAGENET), ("test_convnext", InputNormalization()), ("test_vit", InputNormalization())],
)
def test_timm_loads_the_folder_and_gives_the_same_embeddings(
    backbone: str, normalization: InputNormalization, tmp_path: Path
) -> None:
    run = save(tmp_path / "run", backbone=backbone, normalization=normalization)
    result = export(ExportConfig(run=run, format="timm", out=tmp_path / "model"), Silent())
    assert result.cosine > 0.99999
    assert {path.name for path in result.out.iterdir()} == {"config.json", "model.safetensors"}
    # As a user of timm does, who knows nothing of faceclr.
    model = timm.create_model(f"local-dir:{result.out}", pretrained=True).eval()
    settings = timm.data.resolve_model_data_config(model)
    assert tuple(settings["input_size"]) == (3, 112, 112)
    crops = np.random.default_rng(0).integers(0, 256, (4, 7, 7, 3)).repeat(16, 1).repeat(16, 2).astype(np.uint8)
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    pictures = (torch.tensor(crops).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        embeddings = torch.nn.functional.normalize(model(pictures), dim=1).numpy()
    assert np.sum(embeddings * load_encoder_folder(run, "cpu").embed(crops), axis=1).min() > 0.99999


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pool": "none"}, "takes the whole feature map"),
        ({"backbone": "nn4_small2"}, "nn4_small2 is not a model of timm; use --format onnx"),
        ({"normalization": InputNormalization(channels="bgr")}, "takes BGR pictures"),
    ],
)
def test_what_timm_cannot_express_is_refused_by_name(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    run = save(tmp_path / "run", **changes)
    with pytest.raises(ConfigError, match=words):
        export(ExportConfig(run=run, format="timm"), Silent())
    assert not (run / "timm").exists()


def test_sface_and_halves_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="sface is not a model of timm"):
        export(ExportConfig(run=Path("sface"), format="timm"), Silent())
    with pytest.raises(ValueError, match="--half applies only to --format onnx"):
        ExportConfig(run=Path("run"), format="timm", half=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="is not a folder of a timm model"):
        export(ExportConfig(run=save(tmp_path / "run"), format="timm", out=tmp_path / "mine"), Silent())
