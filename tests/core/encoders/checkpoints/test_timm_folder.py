"""Models of timm as folders and on the hub."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from timm.models import save_for_hf

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.checkpoints.foreign_network import ForeignNetwork
from faceclr_cli.core.encoders.checkpoints.timm_folder import load_timm_folder
from faceclr_cli.core.encoders.network import normalize_pixels
from faceclr_cli.core.errors import ModelError
from tests.core.encoders.checkpoints import foreign_modules
from tests.core.encoders.face_networks import functional

PIXELS = {"input_size": (3, 64, 64), "mean": (0.4, 0.5, 0.6), "std": (0.25, 0.5, 0.5)}


def save(folder: Path, name: str, *, safe: bool = True, config: dict[str, Any] | None = None, **options: Any) -> Path:
    """Saves a model as timm does for the hub."""
    model = foreign_modules.draw(timm.create_model(name, **options))
    args = {key: value for key, value in options.items() if key != "num_classes"}
    save_for_hf(
        model,
        str(folder),
        model_config={"pretrained_cfg": PIXELS, **(config or {})},
        model_args=args,
        safe_serialization=safe,
    )
    return folder


def embed(foreign: ForeignNetwork, crops: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return foreign.network(normalize_pixels(crops, crops.shape[1]))


def expected(folder: Path, crops: torch.Tensor, *, classifier: bool = True) -> torch.Tensor:
    """Returns the output of timm's own model of the folder."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    if not classifier:
        model.reset_classifier(0)  # After loading: earlier releases of timm then expect the weights that are left out.
    pixels = (crops.double() / 255 - torch.tensor(PIXELS["mean"])) / torch.tensor(PIXELS["std"])
    with torch.inference_mode():
        return model(pixels.permute(0, 3, 1, 2).float())


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {"num_classes": 128}),
        ("test_convnext", {"num_classes": 128, "patch_size": 2}),
        ("test_vit", {"num_classes": 64, "img_size": 64, "patch_size": 8}),
        ("test_vit", {"num_classes": 0, "img_size": 64, "global_pool": "avg"}),
    ],
)
def test_a_folder_of_timm_gives_its_embeddings(
    name: str, options: dict[str, Any], safe: bool, tmp_path: Path, crops: torch.Tensor
) -> None:
    folder = save(tmp_path / "model", name, safe=safe, **options)
    foreign = load_timm_folder(str(folder))
    functional.assert_same(embed(foreign, crops), expected(folder, crops))
    assert foreign.network.architecture.image_size == 64
    assert foreign.normalization == InputNormalization(mean=(102.0, 127.5, 153.0), std=(63.75, 127.5, 127.5))
    assert foreign.template is None


@pytest.mark.parametrize(
    ("classes", "config"), [(1000, {}), (10, {}), (64, {"label_names": [str(number) for number in range(64)]})]
)
def test_a_classifier_is_left_out(classes: int, config: dict[str, Any], tmp_path: Path, crops: torch.Tensor) -> None:
    folder = save(tmp_path / "model", "test_resnet", config=config, num_classes=classes)
    foreign = load_timm_folder(str(folder))
    functional.assert_same(embed(foreign, crops), expected(folder, crops, classifier=False))
    assert any("left out" in text and "fc.weight" in text for text in foreign.notices)
    assert any("pooled features" in text for text in foreign.notices)


@pytest.fixture
def offline_hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one model, and no network."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    commit = "0" * 39 + "1"
    repository = cache / "models--user--face"
    save(repository / "snapshots" / commit, "test_resnet", num_classes=128)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


@pytest.mark.parametrize("source", ["hf-hub:user/face", "hf_hub:user/face", f"hf-hub:user/face@{'0' * 39}1"])
def test_a_model_of_the_hub_comes_from_the_cache(source: str, offline_hub: Path, crops: torch.Tensor) -> None:
    functional.assert_same(embed(load_timm_folder(source), crops), expected(offline_hub, crops))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf-hub:user/absent", r"hf-hub:user/absent: config.json is not in the cache, and huggingface.co cannot be"),
        ("hf-hub:a/b/c", "hf-hub:a/b/c: not a repository of the hub"),
        ("no-such-folder", r"no-such-folder: not a model of timm"),
    ],
)
@pytest.mark.usefixtures("offline_hub")
def test_a_model_that_is_not_there_is_an_error(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_timm_folder(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "resnet_of_nobody"}, "the installed timm has no model resnet_of_nobody"),
        ({"architecture": None}, "no model None"),
        ({"pretrained_cfg": {"input_size": [3, 64, 48]}}, "3 channels and 64x48 pixels are not supported"),
        ({"pretrained_cfg": {"input_size": [1, 64, 64]}}, "1 channels and 64x64 pixels are not supported"),
        ({"pretrained_cfg": {}}, "does not describe a model of timm"),
        ({"pretrained_cfg": {**PIXELS, "std": [0, 1, 1]}}, "a standard deviation is not positive"),
        ({"model_args": {"features_only": True}}, "test_resnet does not have this argument"),
        ({"model_args": {"layers": [1, 1]}}, "its argument layers is not a number or a word"),
        ({"architecture": "test_convnext"}, "not the weights of test_convnext"),
    ],
)
def test_a_bad_config_is_an_error(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "test_resnet", num_classes=0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError, match=message):
        load_timm_folder(str(folder))


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "test_resnet", num_classes=0)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model.safetensors or pytorch_model.bin"):
        load_timm_folder(str(folder))
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="not a model of timm"):
        load_timm_folder(str(folder))


def test_pixels_that_are_not_stated_are_unknown(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "test_resnet", num_classes=0)
    config = json.loads((folder / "config.json").read_text())
    del config["pretrained_cfg"]["mean"]
    (folder / "config.json").write_text(json.dumps(config))
    foreign = load_timm_folder(str(folder))
    assert foreign.normalization is None
    assert any("states no mean" in text for text in foreign.notices)
