from __future__ import annotations

import torch
import torchvision.transforms.v2.functional as vision

from faceclr_cli.core.views import color
from tests.core.views.pixels import each, generator, pictures

# Values between 0.4 and 0.6, so that torchvision's clamping between operations does nothing.
MILD = pictures(6, low=0.4, high=0.6)
FACTORS = torch.tensor([0.6, 0.8, 1.0, 1.1, 1.3, 1.5])


def test_brightness_contrast_saturation_and_gray_are_torchvisions() -> None:
    pairs = [
        (color.brightness(FACTORS), vision.adjust_brightness),
        (color.contrast(FACTORS), vision.adjust_contrast),
        (color.saturation(FACTORS), vision.adjust_saturation),
    ]
    for matrices, function in pairs:
        expected = each(lambda p, f, function=function: function(p, float(f)), MILD, FACTORS)
        torch.testing.assert_close(color.apply_matrices(matrices, MILD), expected, atol=5e-4, rtol=0)
    gray = color.apply_matrices(color.saturation(torch.zeros(6)), MILD)
    torch.testing.assert_close(gray, vision.rgb_to_grayscale(MILD, num_output_channels=3), atol=5e-4, rtol=0)


def test_hue_turns_like_torchvisions_and_keeps_means_and_grays() -> None:
    turns = torch.tensor([-0.2, -0.1, -0.05, 0.05, 0.1, 0.2])
    ours = color.apply_matrices(color.hue(turns), MILD)
    theirs = each(lambda p, t: vision.adjust_hue(p, float(t)), MILD, turns)
    # Chroma vectors are compared: how far each operation moved the colors, and in which direction.
    luma = torch.tensor(color.LUMA)[:, None, None]
    difference = (ours - (ours * luma).sum(1, keepdim=True)) - (theirs - (theirs * luma).sum(1, keepdim=True))
    chroma = MILD - (MILD * luma).sum(1, keepdim=True)
    assert difference.norm() < 0.35 * chroma.norm()
    torch.testing.assert_close(ours.mean(1), MILD.mean(1), atol=1e-5, rtol=0)
    gray = torch.full((6, 3, 2, 2), 0.3)
    torch.testing.assert_close(color.apply_matrices(color.hue(turns), gray), gray)


def test_a_chain_in_any_order_is_torchvisions() -> None:
    # Without hue, whose formula differs: its place in the chain is kept, its turn is 0.
    factors = torch.stack([FACTORS.clamp(0.8, 1.2), FACTORS, FACTORS.flip(0), torch.zeros(6)], dim=1)
    orders = torch.stack([torch.randperm(4, generator=generator(i)) for i in range(6)])
    ours = color.apply_matrices(color.jitter(factors, orders), MILD)
    functions = [vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue]
    for picture, own, order, result in zip(MILD, factors, orders, ours, strict=True):
        for which in order.tolist():
            picture = functions[which](picture, float(own[which]))
        torch.testing.assert_close(result, picture, atol=1e-3, rtol=0)


def test_the_result_can_be_scaled_and_moved() -> None:
    matrices = color.contrast(FACTORS) @ color.saturation(FACTORS)
    expected = color.apply_matrices(matrices, MILD) * 0.3 - 1
    torch.testing.assert_close(color.apply_matrices(matrices, MILD, scale=0.3, offset=-1), expected, atol=1e-5, rtol=0)


def test_nothing_is_changed_by_the_identity() -> None:
    torch.testing.assert_close(color.apply_matrices(color.identity(MILD), MILD), MILD)
