from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from faceclr_cli.core.encoders.architecture import Architecture
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


def test_weights_that_fit_one_size_alone_are_refused() -> None:
    network = EncoderNetwork(Architecture(backbone="test_vit", embedding_dim=8, image_size=48, pool="mean"))
    with pytest.raises(ConfigError, match="test_vit was trained at 48"):
        network.at_size(64)


def test_an_architecture_survives_json() -> None:
    pooled = replace(SMALL, pool="mean")
    assert Architecture.from_json(SMALL.to_json()) == SMALL
    assert Architecture.from_json(pooled.to_json()) == pooled
    with pytest.raises(KeyError):
        Architecture.from_json({**SMALL.to_json(), "pool": "gem"})


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
