"""Chains of operations as in `FaceViews`: chosen by hand, and compared with torchvision's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as vision
from scipy import stats
from torch import Tensor

from faceclr_cli.core.views.augmentation import FaceViews
from faceclr_cli.core.views.rand_augment import NAMES, OperationChains
from tests.core.views.pixels import crops, generator

BILINEAR = vision.InterpolationMode.BILINEAR
GEOMETRIC = ("rotate", "shear", "shift")

# The meaning of magnitudes in torchvision's RandAugment; m is signed, out of 30.
THEIRS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "rotate": lambda p, m: vision.rotate(p, m, interpolation=BILINEAR),
    "shear": lambda p, m: vision.affine(
        p, 0.0, [0, 0], 1.0, [math.degrees(math.atan(m / 30 * 0.3)), 0.0], interpolation=BILINEAR
    ),
    "shift": lambda p, m: vision.affine(p, 0.0, [round(m / 30 * 150 / 331 * 48), 0], 1.0, [0.0, 0.0]),
    "brightness": lambda p, m: vision.adjust_brightness(p, 1 + 0.9 * m / 30),
    "contrast": lambda p, m: vision.adjust_contrast(p, 1 + 0.9 * m / 30),
    "saturation": lambda p, m: vision.adjust_saturation(p, 1 + 0.9 * m / 30),
    "gray": lambda p, _: vision.rgb_to_grayscale(p, num_output_channels=3),
    "sharpness": lambda p, m: vision.adjust_sharpness(p, 1 + 0.9 * m / 30),
    "posterize": lambda p, m: vision.posterize(p, 8 - round(abs(m) / 30 * 4)),
    "solarize": lambda p, m: vision.solarize(p, 255 * (1 - abs(m) / 30)),
    "autocontrast": lambda p, _: vision.autocontrast(p),
    "equalize": lambda p, _: vision.equalize(p),
    "none": lambda p, _: p,
}


def by_hand(chains: list[list[tuple[str, float]]], flips: float = 1.0) -> Tensor:
    """The random numbers that stand for operations with signed magnitudes of 30. Shape: (B, 1, draws)."""
    rows = [
        [flips] + [n for name, m in chain for n in ((NAMES.index(name) + 0.5) / 13, abs(m) / 30, 0.2 if m < 0 else 0.7)]
        for chain in chains
    ]
    return torch.tensor(rows)[:, None]


def values(views: Tensor) -> Tensor:
    return (views + 1) * 127.5


def strict(crop: Tensor, chain: list[tuple[str, float]]) -> Tensor:
    picture = crop.permute(2, 0, 1)
    for name, magnitude in chain:
        picture = THEIRS[name](picture, magnitude)
    return picture.float()


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_torchvisions(name: str) -> None:
    shifts = [(steps / 48) * 331 / 150 * 30 for steps in (-12, 4, 9)]  # Whole pixels.
    magnitudes = shifts if name == "shift" else [-15.0, 4.0, 13.0]
    chains = [[(name, magnitude)] for magnitude in magnitudes]
    batch = crops(3)
    views = values(FaceViews(size=48, operations=1, magnitude=30)(batch, by_hand(chains)))
    expected = torch.stack([strict(crop, chain) for crop, chain in zip(batch, chains, strict=True)])
    inside = slice(14, -14) if name in GEOMETRIC else slice(None)
    # Theirs is cut off to whole numbers, and so are the grays and means on the way.
    torch.testing.assert_close(views[..., inside, inside], expected[..., inside, inside], atol=2, rtol=0)
    assert (name == "none") == bool((views - batch.permute(0, 3, 1, 2)).abs().max() < 1)


def test_a_chain_is_torchvisions_one_operation_after_another() -> None:
    names = [name for name in NAMES if name not in GEOMETRIC]
    chains = []
    for row in range(60):
        chosen = torch.randint(len(names), (4,), generator=generator(row)).tolist()
        magnitudes = (torch.rand(4, generator=generator(row + 100)) * 20 - 10).tolist()
        chains.append([(names[which], magnitude) for which, magnitude in zip(chosen, magnitudes, strict=True)])
    batch = crops(60)
    views = values(FaceViews(size=48, magnitude=30)(batch, by_hand(chains)))
    expected = torch.stack([strict(crop, chain) for crop, chain in zip(batch, chains, strict=True)])
    differences = (views - expected).abs().mean(dim=(1, 2, 3))
    # Values that are cut off after every operation add up; a chain in another order differs by tens.
    assert differences.median() < 1.5 and (differences < 6).float().mean() > 0.9


def test_moves_happen_in_the_order_drawn_after_the_flip() -> None:
    shift = 8 / 48 * 331 / 150 * 30
    chains = [
        [("rotate", 20.0), ("shift", shift), ("shear", -10.0)],
        [("shear", -10.0), ("shift", -shift), ("rotate", 9)],
    ]
    batch = crops(2)
    views = values(FaceViews(size=48, operations=3, magnitude=30)(batch, by_hand(chains, flips=0.0)))
    expected = torch.stack([strict(crop.flip(1), chain) for crop, chain in zip(batch, chains, strict=True)])
    middle = slice(17, -17)
    # Theirs is sampled three times.
    assert (views - expected)[..., middle, middle].abs().mean() < 1.5


def test_operations_are_drawn_uniformly_and_with_replacement() -> None:
    uniform = torch.rand(4000, 4, 3, generator=generator())
    chains = OperationChains.from_uniform(uniform, 16, torch.device("cpu"))
    counts = torch.bincount(chains.names.flatten(), minlength=13)
    assert len(counts) == len(NAMES) == 13
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    repeated = (chains.names.sort(dim=1).values.diff(dim=1) == 0).any(dim=1).float().mean()
    assert repeated.item() == pytest.approx(1 - 12 * 11 * 10 / 13**3, abs=0.03)


def test_magnitudes_are_uniform_up_to_the_largest_with_either_sign() -> None:
    # Of a gray picture brightness changes the values, and nothing else does.
    batch, views = torch.full((2000, 4, 4, 3), 128, dtype=torch.uint8), FaceViews(size=4, operations=1, magnitude=16)
    drawn = torch.rand(2000, 1, views.draws, generator=generator())
    drawn[:, :, 1] = (NAMES.index("brightness") + 0.5) / 13
    factors = values(views(batch, drawn))[:, 0, 0, 0] / 128
    reach = 0.9 * 16 / 30
    assert stats.kstest(factors.numpy(), stats.uniform(1 - reach, 2 * reach).cdf).pvalue > 1e-3


def test_flips_have_the_probability_asked_for() -> None:
    batch = crops(1, size=24).expand(800, -1, -1, -1)
    views = FaceViews(size=24, operations=0, flip=0.3)
    result = values(views(batch, torch.rand(800, 1, views.draws, generator=generator())))
    plain = batch[0].permute(2, 0, 1).float()
    flipped = (result - plain.flip(2)).abs().amax(dim=(1, 2, 3)) < 1e-2
    same = (result - plain).abs().amax(dim=(1, 2, 3)) < 1e-2
    assert (flipped ^ same).all()
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_numbers_next_to_one_are_an_operation_too() -> None:
    views = FaceViews(size=48)
    largest = torch.full((1, 1, views.draws), torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)).item())
    torch.testing.assert_close(
        values(views(crops(1), largest)), crops(1).permute(0, 3, 1, 2).float(), atol=1e-2, rtol=0
    )
