from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from faceclr_cli.core.encoders.architecture import Architecture, Channels, Head, InputNormalization
from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.views.augmentation import SimCLRViews

SMALL = Architecture(backbone="test_convnext", embedding_dim=24, image_size=40)


def test_pictures_become_embeddings() -> None:
    embeddings = EncoderNetwork(SMALL)(torch.randn(3, 3, 40, 40))
    assert embeddings.shape == (3, 24)
    assert not torch.allclose(embeddings.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("pool", ["none", "mean"])
def test_a_network_accepts_another_input_size(pool: str) -> None:
    network = EncoderNetwork(replace(SMALL, pool=pool)).eval()
    larger = network.at_size(72).eval()
    assert larger.architecture == replace(SMALL, pool=pool, image_size=72)
    pictures = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(larger.backbone(pictures), network.backbone(pictures))
    assert larger(torch.randn(2, 3, 72, 72)).shape == (2, 24)
    # Without a place for each feature, the embedding layer is the same too.
    assert (larger.embedding.weight.shape == network.embedding.weight.shape) == (pool == "mean")
    assert network.at_size(40) is network
    if pool == "mean":
        torch.testing.assert_close(larger(pictures), network(pictures))


@pytest.mark.parametrize("size", [40, 96])
@pytest.mark.parametrize("head", ["default", "linear"])
@pytest.mark.parametrize("backbone", ["test_convnext", "iresnet18"])
def test_at_another_size_the_head_takes_the_feature_map_resized(size: int, head: Head, backbone: str) -> None:
    network = EncoderNetwork(Architecture(backbone=backbone, embedding_dim=24, image_size=64, head=head)).eval()
    other = network.at_size(size).eval()
    pictures = torch.randn(2, 3, size, size)
    features = other.backbone(pictures)
    side = network.backbone(torch.zeros(1, 3, 64, 64)).shape[-1]
    assert features.shape[-1] != side
    resized = torch.nn.functional.interpolate(features, (side, side), mode="bilinear", antialias=True)
    torch.testing.assert_close(other(pictures), network.embedding(resized.flatten(1)), rtol=1e-3, atol=1e-4)
    assert other(pictures).shape == (2, 24)


def test_weights_that_fit_one_size_alone_are_refused() -> None:
    network = EncoderNetwork(Architecture(backbone="test_vit", embedding_dim=8, image_size=48, pool="mean"))
    with pytest.raises(ConfigError, match="test_vit was trained at 48"):
        network.at_size(64)


def test_an_architecture_survives_json() -> None:
    pooled = replace(SMALL, pool="mean")
    foreign = replace(
        pooled,
        backbone_args=(("drop_rate", 0.1), ("patch_size", 2)),
        normalization=InputNormalization(channels="bgr", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        head="linear",
    )
    for architecture in (SMALL, pooled, foreign):
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    # Releases that knew only one normalization did not state it.
    earlier = {name: SMALL.to_json()[name] for name in ("backbone", "embedding_dim", "image_size", "pool")}
    assert Architecture.from_json(earlier) == SMALL
    for name, value in (("std", [1, 0, 1]), ("mean", [1, 2]), ("channels", "gbr")):
        with pytest.raises((KeyError, ValueError)):
            Architecture.from_json(
                {**foreign.to_json(), "normalization": {**foreign.normalization.to_json(), name: value}}
            )
    with pytest.raises(KeyError):
        Architecture.from_json({**SMALL.to_json(), "pool": "gem"})


def test_the_head_may_be_a_layer_with_bias_or_none() -> None:
    pictures = torch.randn(2, 3, 40, 40)
    pooled = replace(SMALL, pool="mean")
    biased = EncoderNetwork(replace(pooled, head="linear")).eval()
    torch.nn.init.constant_(biased.embedding.bias, 3.0)
    weight = biased.embedding.weight
    torch.testing.assert_close(biased(pictures), biased.features(pictures) @ weight.T + 3.0)
    bare = EncoderNetwork(replace(pooled, head="none", embedding_dim=weight.shape[1])).eval()
    assert torch.equal(bare(pictures), bare.features(pictures))
    with pytest.raises(ConfigError, match=f"has {weight.shape[1]} features"):
        EncoderNetwork(replace(pooled, head="none"))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_a_network_gets_the_pixels_that_it_was_trained_on(channels: Channels) -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    own = InputNormalization(channels=channels, mean=mean, std=std)
    assert own.text == "mean 0.485,0.456,0.406 std 0.229,0.224,0.225"
    network = EncoderNetwork(replace(SMALL, normalization=own)).eval()
    crops = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    pixels = ((crops.double() - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2).float()
    expected = network.embedding(network.backbone(pixels if channels == "rgb" else pixels[:, [2, 1, 0]]).flatten(1))
    torch.testing.assert_close(network(normalize_pixels(crops, 40)), expected)


def test_unchanged_views_of_training_are_the_pictures_of_use() -> None:
    crops = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    unchanged = SimCLRViews(size=40, crop_scale=1.0, jitter=0.0, hue=0.0, gray=0.0, blur=0.0, rotate=0.0, flip=0.0)
    torch.testing.assert_close(
        unchanged(crops, torch.rand(2, 1, unchanged.draws)), normalize_pixels(crops, 40), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_projections_of_a_batch_are_standardized(layers: int) -> None:
    head = projection_head(24, 8, layers).train()
    features = torch.randn(5, 24)
    torch.testing.assert_close(head(features).mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(head(features).square().mean(dim=0), torch.ones(8), atol=1e-2, rtol=0)
    assert head(features).shape == (5, 8)
    assert sum(isinstance(module, torch.nn.Linear) for module in head) == layers
