from __future__ import annotations

import logging
import socket

import huggingface_hub
import pytest
import torch

from faceclr_cli.core.encoders.backbones import build_backbone, feature_count
from faceclr_cli.core.errors import ConfigError, ModelError


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "resnet18", "convnext_atto"])
def test_pictures_become_one_vector_each(name: str) -> None:
    backbone = build_backbone(name, pretrained=False, image_size=48)
    features = backbone(torch.zeros(2, 3, 48, 48))
    assert features.shape == (2, feature_count(backbone, 48))
    assert backbone.training


def test_a_misspelt_name_brings_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"convnext_atoo.*convnext_atto"):
        build_backbone("convnext_atoo", pretrained=False, image_size=112)


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="--image-size 50"):
        build_backbone("test_vit", pretrained=False, image_size=50)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("offline")
def test_without_network_imagenet_weights_are_an_error_never_random() -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        build_backbone("test_resnet", pretrained=True, image_size=64)
    assert logging.getLogger("huggingface_hub").level != logging.ERROR


def test_a_model_without_imagenet_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="no ImageNet weights for convnextv2_small"):
        build_backbone("convnextv2_small", pretrained=True, image_size=64)


def test_weights_in_the_cache_need_no_network(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    import timm
    from safetensors.torch import save_file

    original = timm.create_model("test_resnet")
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(original.state_dict(), path)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    backbone = build_backbone("test_resnet", pretrained=True, image_size=64)
    assert torch.equal(backbone.state_dict()["conv1.0.weight"], original.state_dict()["conv1.0.weight"])
