from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import huggingface_hub
import pytest
import torch

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.backbones import build_backbone, feature_count
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError, ModelError

QUICK = (
    "convnext_atto convnext_femto convnext_pico convnext_nano convnextv2_atto convnextv2_femto convnextv2_pico "
    "convnextv2_nano resnet18 resnet34 resnet50 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 "
    "inception_resnet_v2 nn4_small2 mobilefacenet inception_resnet_v1 iresnet18 ir18"
)
LARGE = (
    "convnext_tiny convnext_small convnext_base convnext_large convnextv2_tiny convnextv2_small convnextv2_base "
    "convnextv2_large resnet101 resnet152 iresnet34 iresnet50 iresnet100 ir50 ir101"
)
LEAST_SIZES = {"inception_resnet_v1": 75, "inception_resnet_v2": 75}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For two pictures, threads cost more than they gain, especially if tests share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_convnext", "test_vit", "resnet18", "convnext_atto", "nn4_small2"]
)
def test_pictures_become_one_vector_each(name: str) -> None:
    backbone = build_backbone(name, pretrained=False, image_size=48, pool="mean")
    features = backbone(torch.zeros(2, 3, 48, 48))
    assert features.shape == (2, feature_count(backbone, 48))
    assert backbone.training


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", 512), ("convnext_atto", 320), ("efficientnet_b0", 1280), ("nn4_small2", 736)]
)
def test_without_pooling_every_place_of_the_map_is_kept(name: str, channels: int) -> None:
    backbone = build_backbone(name, pretrained=False, image_size=64, pool="none")
    assert backbone(torch.zeros(2, 3, 64, 64)).shape == (2, channels, 2, 2)
    assert feature_count(backbone, 64) == 4 * channels
    assert backbone.training


def test_a_model_without_a_map_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"--backbone test_vit .*--pool mean"):
        build_backbone("test_vit", pretrained=False, image_size=48, pool="none")


def makes_a_step(name: str) -> None:
    """Builds an encoder, takes one step of SGD, and asserts that all parameters took part."""
    size = LEAST_SIZES.get(name, 64)
    torch.manual_seed(0)
    network = EncoderNetwork(Architecture(backbone=name, embedding_dim=32, image_size=size)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    first = next(parameter for parameter in network.backbone.parameters() if parameter.ndim == 4)
    last = next(parameter for parameter in network.embedding.parameters() if parameter.ndim == 2)
    before = [weights.detach().clone() for weights in (first, last)]
    loss = network(torch.randn(2, 3, size, size)).square().mean()
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    for where, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, where
        assert parameter.grad.isfinite().all(), where
    for old, new in zip(before, (first, last), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


@pytest.mark.parametrize("name", QUICK.split())
def test_backbones_learn(name: str) -> None:
    makes_a_step(name)


@pytest.mark.nightly
@pytest.mark.parametrize("name", LARGE.split())
def test_larger_backbones_learn(name: str) -> None:
    makes_a_step(name)


def test_pictures_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="inception_resnet_v2 does not support --image-size 64"):
        build_backbone("inception_resnet_v2", pretrained=False, image_size=64, pool="none")


@pytest.mark.parametrize(("name", "near"), [("convnext_atoo", "convnext_atto"), ("nn4.small2", "nn4_small2")])
def test_a_misspelled_name_brings_the_near_ones(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"--backbone {name}.*{near}"):
        build_backbone(name, pretrained=False, image_size=112, pool="none")


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="--image-size 50"):
        build_backbone("test_vit", pretrained=False, image_size=50, pool="mean")


@pytest.mark.parametrize(
    ("name", "argument"),
    [("convnext_atto", ("patch_size", 2)), ("test_vit", ("patch_size", 8)), ("resnet18", ("act_layer", "silu"))],
)
def test_arguments_change_the_model(name: str, argument: tuple[str, int]) -> None:
    plain = build_backbone(name, pretrained=False, image_size=64, pool="mean").eval()
    other = build_backbone(name, pretrained=False, image_size=64, pool="mean", args=(argument,)).eval()
    assert other(torch.zeros(1, 3, 64, 64)).shape == plain(torch.zeros(1, 3, 64, 64)).shape
    shapes = [[value.shape for value in model.state_dict().values()] for model in (plain, other)]
    kinds = [[type(module) for module in model.modules()] for model in (plain, other)]
    assert shapes[0] != shapes[1] or kinds[0] != kinds[1]


@pytest.mark.parametrize(
    ("name", "argument", "takes"),
    [
        ("convnext_atto", "patch_sise", "patch_size"),
        ("efficientnet_b0", "drop", "drop_rate"),
        # These change what a model returns, or are options of their own.
        ("resnet18", "features_only", "drop_rate"),
        ("resnet18", "in_chans", "drop_rate"),
        ("nn4_small2", "patch_size", "it takes pooling"),
    ],
)
def test_a_wrong_argument_brings_those_of_the_model(name: str, argument: str, takes: str) -> None:
    with pytest.raises(ConfigError, match=rf"--backbone-args {argument}: {name} does not .*{takes}"):
        build_backbone(name, pretrained=False, image_size=64, pool="mean", args=((argument, 2),))


def test_a_value_that_an_argument_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"convnext_atto with --backbone-args patch_size=two does not"):
        build_backbone("convnext_atto", pretrained=False, image_size=64, pool="mean", args=(("patch_size", "two"),))


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
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        build_backbone("test_resnet", pretrained=True, image_size=64, pool="none")
    assert caught.value.exit_code == 4
    assert logging.getLogger("huggingface_hub").level != logging.ERROR


@pytest.mark.parametrize("name", ["convnextv2_small", "nn4_small2"])
def test_a_model_without_imagenet_weights_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no ImageNet weights for {name}"):
        build_backbone(name, pretrained=True, image_size=64, pool="none")


def test_weights_in_the_cache_need_no_network(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    import timm
    from safetensors.torch import save_file

    original = timm.create_model("test_resnet")
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(original.state_dict(), path)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    backbone = build_backbone("test_resnet", pretrained=True, image_size=64, pool="none")
    assert torch.equal(backbone.state_dict()["conv1.0.weight"], original.state_dict()["conv1.0.weight"])
