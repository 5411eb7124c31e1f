from __future__ import annotations

import pytest
import torch
from torch import nn

from faceclr_cli.core.encoders.heads import GlobalBatchNorm, embedding_layer, projection_head


@pytest.mark.parametrize(("features", "tolerance"), [(64, 1e-5), (256, 1e-5), (4096, 0.15)])
def test_embeddings_lie_to_each_other_as_features_do(features: int, tolerance: float) -> None:
    torch.manual_seed(0)
    pictures = torch.rand(20, features)
    embeddings = embedding_layer(features, 256)(pictures)
    torch.testing.assert_close(
        torch.cdist(embeddings, embeddings), torch.cdist(pictures, pictures), rtol=tolerance, atol=0.01
    )


def test_without_layers_the_embedding_itself_is_compared() -> None:
    embeddings = torch.randn(3, 24)
    head = projection_head(24, 8, 0)
    assert head(embeddings) is embeddings
    assert not list(head.parameters())


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_without_batch_norm_a_projection_is_independent_of_the_rest_of_its_batch(layers: int) -> None:
    head = projection_head(24, 8, layers, batch_norm=False).train()
    embeddings = torch.randn(6, 24)
    assert head(embeddings).shape == (6, 8)
    torch.testing.assert_close(head(embeddings[:2]), head(embeddings)[:2])
    assert not list(head.buffers())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_layers_have_biases_where_no_norm_would_undo_them(layers: int, batch_norm: bool) -> None:
    linear = [m for m in projection_head(24, 8, layers, batch_norm=batch_norm).modules() if isinstance(m, nn.Linear)]
    assert len(linear) == layers
    assert all((layer.bias is None) == batch_norm for layer in linear)


def test_batch_norm_can_be_exported_for_batches_of_any_size() -> None:
    exported = torch.export.export(
        GlobalBatchNorm(4).eval(),
        (torch.zeros(2, 4),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        strict=False,
    )
    assert exported.module()(torch.zeros(5, 4)).shape == (5, 4)
