from __future__ import annotations

import numpy as np
import pytest
import torch

from faceclr_cli.core.encoders.nn4 import L2Pool, NN4Small2

# Side and channels behind each part, for a picture of 96x96, from OpenFace's table of nn4.small2.
TABLE = {
    "stem": (12, 192),
    "inception_3a": (12, 256),
    "inception_3b": (12, 320),
    "inception_3c": (6, 640),
    "inception_4a": (6, 640),
    "inception_4e": (3, 1024),
    "inception_5a": (3, 736),
    "inception_5b": (3, 736),
}


def test_every_part_has_the_shape_of_the_table() -> None:
    network = NN4Small2().eval()
    assert list(TABLE) == [name for name, _ in network.named_children()]
    features = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        for name, part in network.named_children():
            features = part(features)
            side, channels = TABLE[name]
            assert features.shape == (2, channels, side, side), name


def test_it_has_as_many_parameters_as_published() -> None:
    layer = 736 * 128 + 128  # To the embedding, behind the mean.
    assert sum(parameter.numel() for parameter in NN4Small2().parameters()) + layer == 3_733_968


def test_l2_pooling_is_the_norm_of_nine_places() -> None:
    features = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1))
    pooled = L2Pool()(features)[0]
    for y, x in np.ndindex(5, 5):
        nine = padded[0, :, y : y + 3, x : x + 3].flatten(1)
        torch.testing.assert_close(pooled[:, y, x], nine.norm(dim=1))
    zeros = torch.zeros(1, 1, 3, 3, requires_grad=True)
    L2Pool()(zeros).sum().backward()
    assert zeros.grad is not None and zeros.grad.isfinite().all()


@pytest.mark.parametrize("size", [64, 96, 112])
def test_it_learns_from_other_sizes_too(size: int) -> None:
    network = NN4Small2()
    features = network(torch.randn(2, 3, size, size))
    assert features.shape == (2, 736, -(-size // 32), -(-size // 32))
    features.square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
