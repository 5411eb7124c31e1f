"""Views like pictures of a security camera."""

from __future__ import annotations

import torch

from faceclr_cli.core.views.augmentation import FaceViews
from faceclr_cli.core.views.camera import CameraViews

SIZE = 56


def made(share: float, pictures: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of each picture, with and without the camera, from the same random numbers."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (pictures, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    plain = FaceViews(size=SIZE)
    camera = CameraViews(views=plain, size=SIZE, share=share)
    drawn = torch.rand(pictures, 2, camera.draws, generator=generator)
    return plain(crops, drawn[..., camera.draws - plain.draws :]), camera(crops, drawn)


def detail(views: torch.Tensor) -> torch.Tensor:
    return (views[..., 1:] - views[..., :-1]).abs().mean(dim=(1, 2, 3))


def test_a_share_of_the_views_is_gray_and_blurred_and_the_others_stay_as_they_are() -> None:
    plain, camera = made(0.4)
    is_changed = (plain != camera).flatten(1).any(dim=1)
    assert 0.25 < is_changed.float().mean() < 0.55
    changed = camera[is_changed]
    torch.testing.assert_close(changed[:, 0], changed[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(changed[:, 0], changed[:, 2], atol=1e-5, rtol=0)
    assert (detail(changed) < detail(plain[is_changed])).float().mean() > 0.95
    assert changed.min() >= -1.01 and changed.max() <= 1.01
    assert camera.is_contiguous(memory_format=torch.channels_last)


def test_brightness_is_kept() -> None:
    plain, camera = made(1.0)
    weights = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    before = (plain * weights).sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(camera[:, 0].mean(dim=(1, 2)), before, atol=0.06, rtol=0)


def test_a_share_of_zero_changes_nothing() -> None:
    plain, camera = made(0.0)
    assert torch.equal(plain, camera)
