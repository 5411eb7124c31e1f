from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss

from faceclr_cli.core.losses.margins import adaface, arcface, cosface


@pytest.mark.parametrize(("ours", "theirs", "margin"), [(arcface, ArcFaceLoss, 0.5), (cosface, CosFaceLoss, 0.35)])
def test_the_loss_is_that_of_another_library(ours, theirs, margin) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(12, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, 5, (12,), generator=generator)
    scale = 16
    degrees = math.degrees(margin) if theirs is ArcFaceLoss else margin
    library = theirs(num_classes=5, embedding_size=8, margin=degrees, scale=scale).double()
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(library.W, dim=0)
    rows = torch.arange(12)
    with_margin = cosines.index_put((rows, labels), ours(cosines[rows, labels], margin))
    loss = torch.nn.functional.cross_entropy(scale * with_margin, labels)
    expected = library(embeddings, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def slow_adaface(cosine: float, margin: float, quality: float) -> float:
    angle = min(max(math.acos(cosine) - margin * quality, 1e-3), math.pi - 1e-3)
    return math.cos(angle) - (margin + margin * quality)


def test_adaface_is_the_papers_equation() -> None:
    for cosine in (-0.99, -0.4, 0.0, 0.7, 0.999):
        for quality in (-1.0, -0.3, 0.0, 1.0):
            found = adaface(torch.tensor([cosine]), 0.4, torch.tensor([quality])).item()
            assert found == pytest.approx(slow_adaface(cosine, 0.4, quality), abs=1e-5)


def test_adaface_of_the_ends_of_quality_is_arcface_of_the_other_sign_and_twice_cosface() -> None:
    cosines = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    ones = torch.ones_like(cosines)
    torch.testing.assert_close(adaface(cosines, 0.4, -ones), (cosines.acos() + 0.4).cos())
    torch.testing.assert_close(adaface(cosines, 0.4, 0 * ones), cosface(cosines, 0.4))


@pytest.mark.parametrize("cosine", [-1.0, 1.0])
def test_gradients_are_finite_at_the_ends(cosine: float) -> None:
    for head in (lambda c: cosface(c, 0.35), lambda c: arcface(c, 0.5), lambda c: adaface(c, 0.4, torch.ones(1))):
        cosines = torch.tensor([cosine], requires_grad=True)
        head(cosines).sum().backward()
        assert cosines.grad is not None and cosines.grad.isfinite().all()


def test_arcface_falls_with_the_angle_all_the_way() -> None:
    cosines = torch.linspace(1, -1, 1001, dtype=torch.float64)
    assert (arcface(cosines, 0.5).diff() < 0).all()
