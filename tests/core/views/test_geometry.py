from __future__ import annotations

import math

import pytest
import torch
import torchvision.transforms.v2.functional as vision
from scipy import stats
from torchvision.transforms.v2 import RandomResizedCrop

from faceclr_cli.core.views import geometry
from tests.core.views.pixels import each, generator, pictures


def test_boxes_are_distributed_like_torchvisions() -> None:
    side, count, scale = 1000, 3000, 0.2
    boxes = geometry.random_boxes(torch.rand(count, 2 * geometry.TRIES + 2, generator=generator()), scale)
    torch.manual_seed(0)
    drawn = [
        RandomResizedCrop(side, scale=(scale, 1.0)).make_params([torch.empty(3, side, side)]) for _ in range(count)
    ]
    top, left, height, width = (
        torch.tensor([float(box[name]) for box in drawn]) / side for name in ("top", "left", "height", "width")
    )
    theirs = {"area": width * height, "ratio": width / height, "x": 2 * left + width - 1, "y": 2 * top + height - 1}
    x, y, w, h = boxes.T
    ours = {"area": w * h / 4, "ratio": w / h, "x": x, "y": y}
    for name in theirs:
        assert stats.ks_2samp(ours[name], theirs[name]).pvalue > 1e-3, name
    assert ((x.abs() + w / 2) <= 1 + 1e-6).all() and ((y.abs() + h / 2) <= 1 + 1e-6).all()
    assert (w * h / 4).min() >= scale - 1e-6


def test_a_box_is_cut_out_as_by_torchvisions_resized_crop() -> None:
    batch = pictures(4)
    corners = torch.tensor([[0, 0, 48, 48], [8, 0, 24, 32], [20, 5, 28, 21], [3, 18, 40, 30]])  # left, top, w, h
    left, top, width, height = corners.T
    boxes = torch.stack([left + width / 2, top + height / 2, width, height], dim=1) / 24
    boxes[:, :2] -= 1
    views = geometry.sample(batch, geometry.affine(boxes, torch.zeros(4), torch.zeros(4, dtype=torch.bool)), 48)
    expected = each(
        lambda p, x, y, w, h: vision.resized_crop(p, int(y), int(x), int(h), int(w), [48, 48], antialias=False),
        batch, left, top, width, height,
    )  # fmt: skip
    inside = slice(3, -3)  # At the edge of a box torchvision repeats the last pixel, ours sees its neighbors.
    torch.testing.assert_close(views[:, :, inside, inside], expected[:, :, inside, inside], atol=1e-5, rtol=0)
    torch.testing.assert_close(views[0], expected[0], atol=1e-5, rtol=0)


def test_flip_and_rotation_are_torchvisions() -> None:
    batch, whole = pictures(3), torch.tensor([0.0, 0.0, 2.0, 2.0]).expand(3, 4)
    flipped = torch.tensor([True, False, True])
    views = geometry.sample(batch, geometry.affine(whole, torch.zeros(3), flipped), 48)
    torch.testing.assert_close(
        views, torch.where(flipped[:, None, None, None], batch.flip(3), batch), atol=1e-5, rtol=0
    )
    degrees = torch.tensor([-30.0, 10.0, 45.0])
    views = geometry.sample(batch, geometry.affine(whole, degrees, torch.zeros(3, dtype=torch.bool)), 48)
    bilinear = vision.InterpolationMode.BILINEAR
    expected = each(lambda p, angle: vision.rotate(p, float(angle), interpolation=bilinear), batch, degrees)
    circle = (torch.linspace(-1, 1, 48)[:, None].square() + torch.linspace(-1, 1, 48).square()) < 0.9
    torch.testing.assert_close(views[:, :, circle], expected[:, :, circle], atol=1e-4, rtol=0)


def test_a_rotated_narrow_box_is_not_sheared() -> None:
    boxes = torch.tensor([[0.1, -0.2, 0.8, 1.2]])
    matrix = geometry.affine(boxes, torch.tensor([25.0]), torch.tensor([True]))[0, :, :2]
    across, down = matrix.T
    assert float(across @ down) == pytest.approx(0, abs=1e-6)
    assert across.norm().item() == pytest.approx(0.4) and down.norm().item() == pytest.approx(0.6)


def test_large_pictures_are_reduced_without_aliasing() -> None:
    stripes = (255 * (torch.arange(480) % 2)).byte()[:, None].expand(1, 480, 480, 3).contiguous()
    source = geometry.prepare_source(stripes, 48)
    assert source.shape == (1, 3, 96, 96)
    whole = geometry.affine(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(1), torch.zeros(1, dtype=torch.bool))
    view = geometry.sample(source, whole, 48)
    torch.testing.assert_close(view, torch.full_like(view, 127.5), atol=5, rtol=0)


def test_what_is_inside_the_picture_needs_no_mirror() -> None:
    boxes = geometry.random_boxes(torch.rand(8, 2 * geometry.TRIES + 2, generator=generator()), 0.2)
    boxes[0] = torch.tensor([0.0, 0.0, 2.0, 2.0])
    batch, maps = pictures(8), geometry.affine(boxes, torch.zeros(8), torch.arange(8) % 2 == 0)
    mirrored, inside = geometry.sample(batch, maps, 64), geometry.sample(batch, maps, 64, inside=True)
    torch.testing.assert_close(mirrored, inside, atol=1e-5, rtol=0)


SLANTS = torch.tensor([-0.3, 0.1, 0.25])
INNER = slice(15, -15)  # No pixel is sampled from outside the picture.


def test_shear_is_torchvisions() -> None:
    batch = pictures(3)
    views = geometry.sample(batch, geometry.shear(SLANTS), 48)
    bilinear = vision.InterpolationMode.BILINEAR
    expected = each(
        lambda p, slope: vision.affine(
            p, 0.0, [0, 0], 1.0, [math.degrees(math.atan(float(slope))), 0.0], interpolation=bilinear
        ),
        batch,
        SLANTS,
    )
    torch.testing.assert_close(views[:, :, :, INNER], expected[:, :, :, INNER], atol=1e-4, rtol=0)


def test_shift_is_torchvisions() -> None:
    batch, pixels = pictures(3), torch.tensor([-12, 3, 15])
    views = geometry.sample(batch, geometry.shift(pixels / 48), 48)
    expected = each(lambda p, x: vision.affine(p, 0.0, [int(x), 0], 1.0, [0.0, 0.0]), batch, pixels)
    torch.testing.assert_close(views[:, :, :, INNER], expected[:, :, :, INNER], atol=1e-4, rtol=0)
    # Outside is the mirror of the inside.
    torch.testing.assert_close(views[0, :, :, -12:], views[0, :, :, -24:-12].flip(2), atol=1e-4, rtol=0)


def test_rotation_and_mirror_are_those_of_a_box_of_the_whole_picture() -> None:
    whole, degrees, flipped = torch.tensor([[0.0, 0.0, 2.0, 2.0]] * 2), torch.tensor([20.0, -5.0]), torch.tensor([1, 0])
    both = geometry.rotation(degrees) @ geometry.mirror(flipped == 1)
    torch.testing.assert_close(both[:, :2], geometry.affine(whole, degrees, flipped == 1))
