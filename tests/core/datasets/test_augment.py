from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as vision
from scipy import stats
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from faceclr_cli.core.datasets import colour, warp
from faceclr_cli.core.datasets.augment import Augmentation
from faceclr_cli.core.datasets.blur import blur, gaussian_matrices, kernel_size
from faceclr_cli.core.encoders.network import normalise

OFF = Augmentation(size=48, crop_scale=1.0, jitter=0.0, hue=0.0, grey=0.0, blur=0.0, rotate=0.0, flip=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, size: int = 48, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Smooth colours. Shape: (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 6, 6, generator=generator(1))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return low + (high - low) * smooth


def crops(count: int, size: int = 48) -> Tensor:
    return (pictures(count, size) * 255).byte().permute(0, 2, 3, 1).contiguous()


def each(function: object, batch: Tensor, *parameters: object) -> Tensor:
    """One of torchvision's functions on each picture with its own parameters."""
    return torch.stack([function(p, *own) for p, *own in zip(batch, *parameters, strict=True)])  # type: ignore[operator]


# What views look like


def test_switched_off_it_only_normalises() -> None:
    batch = crops(5)
    torch.testing.assert_close(OFF(batch, generator()), normalise(batch, 48), atol=1e-4, rtol=0)


def test_views_are_float32_channels_last_and_within_minus_1_and_1() -> None:
    augmentation = Augmentation(size=40, crop_scale=0.3, jitter=1.0, hue=0.2, grey=0.2, blur=0.5, rotate=20.0)
    views = augmentation(crops(64), generator())
    assert views.shape == (64, 3, 40, 40) and views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert views.abs().max() <= 1 + 1e-6 and views.isfinite().all()
    for blurred in (0.0, 1.0):
        views = Augmentation(size=40, crop_scale=0.3, jitter=1.0, hue=0.2, grey=0.2, blur=blurred, rotate=0.0)(
            crops(3), generator()
        )
        assert views.is_contiguous(memory_format=torch.channels_last)


def test_views_depend_on_the_generator_alone() -> None:
    augmentation = Augmentation(size=48, crop_scale=0.3, jitter=0.5, hue=0.1, grey=0.2, blur=0.5, rotate=10.0)
    batch, source = crops(8), generator(7)
    torch.manual_seed(1)
    first, second = augmentation(batch, source), augmentation(batch, source)
    torch.manual_seed(2)
    assert torch.equal(first, augmentation(batch, generator(7)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("field", ["crop_scale", "jitter", "hue", "grey", "blur", "rotate", "light", "flip"])
def test_each_picture_has_parameters_of_its_own(field: str) -> None:
    strengths = {"crop_scale": 0.3, "jitter": 1.0, "hue": 0.2, "grey": 0.5, "blur": 0.5, "rotate": 30.0, "light": 0.5}
    views = replace(OFF, **{field: strengths.get(field, 0.5)})(crops(1).expand(32, -1, -1, -1), generator())
    different = {tuple(view.mul(1000).round().int().flatten().tolist()) for view in views}
    assert len(different) == (2 if field in ("grey", "flip") else len(different))
    assert len(different) >= 2
    if field in ("crop_scale", "rotate", "light"):
        assert len(different) == 32


def test_probabilities_are_kept() -> None:
    batch = crops(1, size=24).expand(800, -1, -1, -1)
    plain = normalise(batch[:1], 24)

    def changed(**fields: float) -> Tensor:
        views = replace(OFF, size=24, **fields)(batch, generator())
        return ((views - plain).abs().amax(dim=(1, 2, 3)) > 1e-3).float().mean()

    for name, probability in (("flip", 0.3), ("grey", 0.2)):
        assert changed(**{name: probability}).item() == pytest.approx(probability, abs=0.05)
    assert changed(jitter=0.5).item() == pytest.approx(0.8, abs=0.05)
    # A sigma below about a quarter of a pixel changes nothing that can be seen.
    assert changed(blur=0.5).item() == pytest.approx(0.5 * (2.0 - 0.25) / 1.9, abs=0.06)


def test_normalise_is_torchvisions_antialiased_resize() -> None:
    batch = crops(3, size=64)
    for size in (64, 40, 96):
        resized = vision.resize(batch.permute(0, 3, 1, 2).float(), [size, size], antialias=True)
        result = normalise(batch, size)
        torch.testing.assert_close(result, resized / 127.5 - 1, atol=1e-5, rtol=0)
        assert result.is_contiguous(memory_format=torch.channels_last)


# Geometry


def test_boxes_are_distributed_like_torchvisions() -> None:
    side, count, scale = 1000, 3000, 0.2
    boxes = warp.random_boxes(torch.rand(count, 2 * warp.TRIES + 2, generator=generator()), scale)
    torch.manual_seed(0)
    drawn = [
        RandomResizedCrop.get_params(torch.empty(3, side, side), [scale, 1.0], [3 / 4, 4 / 3]) for _ in range(count)
    ]
    top, left, height, width = torch.tensor(drawn, dtype=torch.float32).T / side
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
    views = warp.sample(batch, warp.affine(boxes, torch.zeros(4), torch.zeros(4, dtype=torch.bool)), 48)
    expected = each(
        lambda p, x, y, w, h: vision.resized_crop(p, int(y), int(x), int(h), int(w), [48, 48], antialias=False),
        batch, left, top, width, height,
    )  # fmt: skip
    inside = slice(3, -3)  # At the edge of a box torchvision repeats the last pixel, ours sees its neighbours.
    torch.testing.assert_close(views[:, :, inside, inside], expected[:, :, inside, inside], atol=1e-5, rtol=0)
    torch.testing.assert_close(views[0], expected[0], atol=1e-5, rtol=0)


def test_flip_and_rotation_are_torchvisions() -> None:
    batch, whole = pictures(3), torch.tensor([0.0, 0.0, 2.0, 2.0]).expand(3, 4)
    flipped = torch.tensor([True, False, True])
    views = warp.sample(batch, warp.affine(whole, torch.zeros(3), flipped), 48)
    torch.testing.assert_close(
        views, torch.where(flipped[:, None, None, None], batch.flip(3), batch), atol=1e-5, rtol=0
    )
    degrees = torch.tensor([-30.0, 10.0, 45.0])
    views = warp.sample(batch, warp.affine(whole, degrees, torch.zeros(3, dtype=torch.bool)), 48)
    bilinear = vision.InterpolationMode.BILINEAR
    expected = each(lambda p, angle: vision.rotate(p, float(angle), interpolation=bilinear), batch, degrees)
    circle = (torch.linspace(-1, 1, 48)[:, None].square() + torch.linspace(-1, 1, 48).square()) < 0.9
    torch.testing.assert_close(views[:, :, circle], expected[:, :, circle], atol=1e-4, rtol=0)


def test_a_rotated_narrow_box_is_not_sheared() -> None:
    boxes = torch.tensor([[0.1, -0.2, 0.8, 1.2]])
    matrix = warp.affine(boxes, torch.tensor([25.0]), torch.tensor([True]))[0, :, :2]
    across, down = matrix.T
    assert float(across @ down) == pytest.approx(0, abs=1e-6)
    assert across.norm().item() == pytest.approx(0.4) and down.norm().item() == pytest.approx(0.6)


def test_large_pictures_are_reduced_without_aliasing() -> None:
    stripes = (torch.arange(480) % 2).float().expand(1, 3, 480, 480).contiguous()
    whole = warp.affine(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(1), torch.zeros(1, dtype=torch.bool))
    view = warp.sample(stripes, whole, 48)
    torch.testing.assert_close(view, torch.full_like(view, 0.5), atol=0.02, rtol=0)


# Colours. Values between 0.4 and 0.6, so that torchvision's clamping between operations does nothing.

MILD = pictures(6, low=0.4, high=0.6)
FACTORS = torch.tensor([0.6, 0.8, 1.0, 1.1, 1.3, 1.5])


def test_brightness_contrast_saturation_and_grey_are_torchvisions() -> None:
    means = MILD.mean(dim=(2, 3))
    pairs = [
        (colour.brightness(FACTORS), vision.adjust_brightness),
        (colour.contrast(FACTORS, means), vision.adjust_contrast),
        (colour.saturation(FACTORS), vision.adjust_saturation),
    ]
    for matrices, function in pairs:
        expected = each(lambda p, f, function=function: function(p, float(f)), MILD, FACTORS)
        torch.testing.assert_close(colour.apply(matrices, MILD), expected, atol=5e-4, rtol=0)
    grey = colour.apply(colour.saturation(torch.zeros(6)), MILD)
    torch.testing.assert_close(grey, vision.rgb_to_grayscale(MILD, num_output_channels=3), atol=5e-4, rtol=0)


def test_hue_turns_like_torchvisions_and_keeps_means_and_greys() -> None:
    turns = torch.tensor([-0.2, -0.1, -0.05, 0.05, 0.1, 0.2])
    ours = colour.apply(colour.hue(turns), MILD)
    theirs = each(lambda p, t: vision.adjust_hue(p, float(t)), MILD, turns)
    # Chroma vectors are compared: how far each operation moved the colours, and in which direction.
    luma = torch.tensor(colour.LUMA)[:, None, None]
    difference = (ours - (ours * luma).sum(1, keepdim=True)) - (theirs - (theirs * luma).sum(1, keepdim=True))
    chroma = MILD - (MILD * luma).sum(1, keepdim=True)
    assert difference.norm() < 0.35 * chroma.norm()
    torch.testing.assert_close(ours.mean(1), MILD.mean(1), atol=1e-5, rtol=0)
    grey = torch.full((6, 3, 2, 2), 0.3)
    torch.testing.assert_close(colour.apply(colour.hue(turns), grey), grey)


def test_a_chain_in_any_order_is_torchvisions() -> None:
    # Without hue, whose formula differs: its place in the chain is kept, its turn is 0.
    factors = torch.stack([FACTORS.clamp(0.8, 1.2), FACTORS, FACTORS.flip(0), torch.zeros(6)], dim=1)
    orders = torch.stack([torch.randperm(4, generator=generator(i)) for i in range(6)])
    ours = colour.apply(colour.jitter(factors, orders, MILD.mean(dim=(2, 3))), MILD)
    functions = [vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue]
    for picture, own, order, result in zip(MILD, factors, orders, ours, strict=True):
        for which in order.tolist():
            picture = functions[which](picture, float(own[which]))
        torch.testing.assert_close(result, picture, atol=1e-3, rtol=0)


def test_jitter_is_as_strong_as_it_says() -> None:
    grey = torch.full((4000, 4, 4, 3), 64, dtype=torch.uint8)
    views = Augmentation(size=4, crop_scale=1.0, jitter=0.5, hue=0.1, grey=0.0, blur=0.0, rotate=0.0)(grey, generator())
    factors = (views[:, 0, 0, 0] + 1) * 127.5 / 64  # Of a grey picture only brightness changes.
    changed = factors[(factors - 1).abs() > 1e-4]
    assert stats.kstest(changed.numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3


# Blur


def test_blur_is_torchvisions_with_a_sigma_of_each_pictures_own() -> None:
    batch, sigmas = pictures(4, size=56), torch.tensor([0.2, 0.7, 1.3, 2.0])
    kernel = kernel_size(56)
    which = torch.tensor([3, 0, 2])
    expected = batch.clone()
    for index in which.tolist():
        expected[index] = vision.gaussian_blur(batch[index], [kernel, kernel], [float(sigmas[index])] * 2)
    torch.testing.assert_close(blur(batch.clone(), which, sigmas[which]), expected, atol=1e-5, rtol=0)


def test_blur_keeps_the_mean_of_a_line_of_one_colour() -> None:
    for size in (32, 80, 112, 224):
        assert kernel_size(size) % 2 == 1 and math.isclose(kernel_size(size), size / 10, rel_tol=0.1, abs_tol=1.0)
        matrices = gaussian_matrices(torch.tensor([0.1, 2.0]), size)
        torch.testing.assert_close(matrices.sum(dim=2), torch.ones(2, size))


# Light


def test_light_from_a_side_is_a_slope_of_brightness() -> None:
    factors = colour.side_light(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, torch.pi / 2, 1.0]), 100)
    across, down, none = factors.squeeze(1)
    torch.testing.assert_close(across[0], torch.exp(torch.linspace(-0.495, 0.495, 100)))
    torch.testing.assert_close(down, across.T)
    assert (none == 1).all()


def test_views_are_lit_from_all_sides_with_up_to_the_strength_asked_for() -> None:
    batch = torch.full((400, 16, 16, 3), 100, dtype=torch.uint8)
    views = replace(OFF, size=16, light=0.5)(batch, generator()).mean(dim=1) + 1
    slopes = torch.stack([(views[:, 8, -1] / views[:, 8, 0]).log(), (views[:, -1, 8] / views[:, 0, 8]).log()], dim=1)
    strengths = slopes.norm(dim=1) / (2 * 15 / 16)
    assert 0.45 < strengths.max() < 0.51
    assert strengths.mean().item() == pytest.approx(0.25, abs=0.03)
    assert (slopes.mean(dim=0).abs() < 0.05).all()
