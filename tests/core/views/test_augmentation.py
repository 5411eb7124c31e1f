from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2 as vision
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from faceclr_cli.core.encoders.network import normalize_pixels
from faceclr_cli.core.views.augmentation import FaceViews, SimCLRViews, Views
from faceclr_cli.core.views.blur import kernel_size
from faceclr_cli.core.views.head_views import HeadViews
from tests.core.views.pixels import crops, generator, pictures

OFF = SimCLRViews(size=48, crop_scale=1.0, jitter=0.0, hue=0.0, gray=0.0, blur=0.0, rotate=0.0, flip=0.0)
ALL = SimCLRViews(size=40, crop_scale=0.3, jitter=1.0, hue=0.2, gray=0.2, blur=0.5, rotate=20.0, light=0.3, erase=0.5)
HEADS = HeadViews(size=40, operations=4, magnitude=16, turn=30.0, relight=0.6, cast=0.2, occlude=0.3, degrade=0.3)
KINDS = pytest.mark.parametrize(
    "views", [ALL, replace(ALL, rotate=0.0), FaceViews(size=40), HEADS], ids=lambda v: repr(v)[:9]
)


def draw(views: Views, count: int, each: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, each, views.draws, generator=generator(seed))


def one_each(views: Views, batch: Tensor, seed: int = 0) -> Tensor:
    return views(batch, draw(views, len(batch), seed=seed))


# All kinds of views


@KINDS
@pytest.mark.parametrize("side", [30, 40, 100])
def test_views_are_float32_channels_last_and_within_minus_1_and_1(views: Views, side: int) -> None:
    result = views(crops(40, side), draw(views, 40, 2))
    assert result.shape == (80, 3, 40, 40) and result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.abs().max() <= 1 + 1e-6 and result.isfinite().all()
    assert result.std() > 0.1


@KINDS
def test_views_depend_on_what_was_drawn_alone(views: Views) -> None:
    batch = crops(8)
    torch.manual_seed(1)
    first, second = one_each(views, batch, seed=7), one_each(views, batch, seed=8)
    torch.manual_seed(2)
    assert torch.equal(first, one_each(views, batch, seed=7))
    assert not torch.equal(first, second)


@KINDS
def test_first_views_of_all_pictures_precede_second_ones(views: Views) -> None:
    batch, drawn = crops(5), draw(views, 5, 3)
    together = views(batch, drawn).unflatten(0, (3, 5))
    for view in range(3):
        torch.testing.assert_close(together[view], views(batch, drawn[:, view : view + 1]), atol=1e-5, rtol=0)


@KINDS
def test_a_view_is_the_same_in_any_batch(views: Views) -> None:
    batch, drawn = crops(70), draw(views, 70, 2)
    together = views(batch, drawn).unflatten(0, (2, 70))
    for rows in (torch.arange(0, 70, 2), torch.randperm(70, generator=generator(3)), torch.tensor([41])):
        apart = views(batch[rows], drawn[rows]).unflatten(0, (2, len(rows)))
        torch.testing.assert_close(apart, together[:, rows], atol=1e-5, rtol=0)


@KINDS
def test_each_view_has_parameters_of_its_own(views: Views) -> None:
    result = views(crops(1).expand(16, -1, -1, -1), draw(views, 16, 2))
    assert len({tuple(view.mul(1000).round().int().flatten().tolist()) for view in result}) >= 30


@KINDS
def test_an_empty_batch_has_no_views(views: Views) -> None:
    assert views(crops(3)[:0], draw(views, 0, 2)).shape == (0, 3, 40, 40)


# Those of SimCLR


def test_switched_off_it_only_normalizes() -> None:
    batch = crops(5)
    torch.testing.assert_close(one_each(OFF, batch), normalize_pixels(batch, 48), atol=1e-4, rtol=0)


@pytest.mark.parametrize("field", ["crop_scale", "jitter", "hue", "gray", "blur", "rotate", "light", "flip"])
def test_each_picture_has_parameters_of_its_own(field: str) -> None:
    strengths = {"crop_scale": 0.3, "jitter": 1.0, "hue": 0.2, "gray": 0.5, "blur": 0.5, "rotate": 30.0, "light": 0.5}
    views = one_each(replace(OFF, **{field: strengths.get(field, 0.5)}), crops(1).expand(32, -1, -1, -1))
    different = Counter(tuple(view.mul(1000).round().int().flatten().tolist()) for view in views)
    if field in ("gray", "flip"):
        assert len(different) == 2
    elif field in ("crop_scale", "rotate", "light"):
        assert len(different) == 32
    else:
        # Those that stay as they are, with a probability of 0.2 or 0.5, are alike; no two of the others are.
        ((_, alike),) = different.most_common(1)
        assert 2 <= alike <= 24
        assert len(different) == 32 - alike + 1


@pytest.mark.parametrize("blurred", [0.0, 1.0])
def test_blurred_or_not_views_are_channels_last(blurred: float) -> None:
    assert one_each(replace(ALL, blur=blurred), crops(3)).is_contiguous(memory_format=torch.channels_last)


def test_probabilities_are_kept() -> None:
    batch = crops(1, size=24).expand(800, -1, -1, -1)
    plain = normalize_pixels(batch[:1], 24)

    def changed(**fields: float) -> Tensor:
        views = one_each(replace(OFF, size=24, **fields), batch)
        return ((views - plain).abs().amax(dim=(1, 2, 3)) > 1e-3).float().mean()

    for name, probability in (("flip", 0.3), ("gray", 0.2)):
        assert changed(**{name: probability}).item() == pytest.approx(probability, abs=0.05)
    assert changed(jitter=0.5).item() == pytest.approx(0.8, abs=0.05)
    # A sigma below about a quarter of a pixel changes nothing that can be seen.
    assert changed(blur=0.5).item() == pytest.approx(0.5 * (2.0 - 0.25) / 1.9, abs=0.06)


def test_jitter_is_as_strong_as_it_says() -> None:
    gray = torch.full((4000, 4, 4, 3), 64, dtype=torch.uint8)
    views = one_each(replace(OFF, size=4, jitter=0.5, hue=0.1), gray)
    factors = (views[:, 0, 0, 0] + 1) * 127.5 / 64  # Of a gray picture only brightness changes.
    changed = factors[(factors - 1).abs() > 1e-4]
    assert stats.kstest(changed.numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3


def sideways(views: Tensor) -> Tensor:
    """Returns the difference in brightness of the right and the left half."""
    left, right = views.mean(dim=1).chunk(2, dim=2)
    return right.mean(dim=(1, 2)) - left.mean(dim=(1, 2))


def hue_angle(views: Tensor) -> Tensor:
    red, green, blue = views.mean(dim=(2, 3)).unbind(dim=1)
    return torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)


def chroma(views: Tensor) -> Tensor:
    return (views - views.mean(dim=1, keepdim=True)).abs().mean(dim=(1, 2, 3))


def roughness(views: Tensor) -> Tensor:
    return views.diff(dim=2).abs().mean(dim=(1, 2, 3))


THEIRS: list[tuple[dict[str, float], vision.Transform, list[Callable[[Tensor], Tensor]]]] = [
    ({"crop_scale": 0.3}, vision.RandomResizedCrop(32, scale=(0.3, 1.0), antialias=False), [sideways, roughness]),
    ({"flip": 0.5}, vision.RandomHorizontalFlip(0.5), [sideways]),
    (
        {"jitter": 0.5},
        vision.RandomApply([vision.ColorJitter(0.4, 0.4, 0.4)], p=0.8),
        [lambda views: views.mean(dim=(1, 2, 3)), chroma, roughness],
    ),
    ({"hue": 0.1}, vision.RandomApply([vision.ColorJitter(hue=0.1)], p=0.8), [hue_angle]),
    ({"gray": 0.2}, vision.RandomGrayscale(0.2), [chroma]),
    ({"blur": 0.5}, vision.RandomApply([vision.GaussianBlur(kernel_size(32), (0.1, 2.0))], p=0.5), [roughness]),
]


@pytest.mark.parametrize(("fields", "theirs", "measures"), THEIRS, ids=[next(iter(row[0])) for row in THEIRS])
def test_views_are_distributed_like_torchvisions(
    fields: dict[str, float], theirs: vision.Transform, measures: list[Callable[[Tensor], Tensor]]
) -> None:
    picture = (pictures(1, 32, low=0.35, high=0.6)[0] * 255).round()  # Bright colors would be clamped between steps.
    batch = picture.byte().permute(1, 2, 0).expand(1500, -1, -1, -1)
    ours = (one_each(replace(OFF, size=32, **fields), batch) + 1) / 2
    torch.manual_seed(0)
    expected = torch.stack([theirs(picture / 255) for _ in range(600)])
    for measure in measures:
        # Rounded, so that what is unchanged is the same number in both.
        a, b = (measure(views).mul(2000).round().numpy() for views in (ours, expected))
        assert stats.ks_2samp(a, b).pvalue > 1e-3, measure.__name__


def test_large_pictures_are_reduced_before_views_are_drawn() -> None:
    stripes = (255 * (torch.arange(480) % 2)).byte()[:, None].expand(2, 480, 480, 3).contiguous()
    views = SimCLRViews(size=40, crop_scale=0.8, jitter=0.0, hue=0.0, gray=0.0, blur=0.0, rotate=0.0)
    assert views(stripes, draw(views, 2, 2)).abs().max() < 0.05


def test_normalize_is_torchvisions_antialiased_resize() -> None:
    batch = crops(3, size=64)
    for size in (64, 40, 96):
        resized = resize(batch.permute(0, 3, 1, 2).float(), [size, size], antialias=True)
        result = normalize_pixels(batch, size)
        torch.testing.assert_close(result, resized / 127.5 - 1, atol=1e-5, rtol=0)
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_views_are_lit_from_all_sides_with_up_to_the_strength_asked_for() -> None:
    batch = torch.full((400, 16, 16, 3), 100, dtype=torch.uint8)
    views = one_each(replace(OFF, size=16, light=0.5), batch).mean(dim=1) + 1
    slopes = torch.stack([(views[:, 8, -1] / views[:, 8, 0]).log(), (views[:, -1, 8] / views[:, 0, 8]).log()], dim=1)
    strengths = slopes.norm(dim=1) / (2 * 15 / 16)
    assert 0.45 < strengths.max() < 0.51
    assert strengths.mean().item() == pytest.approx(0.25, abs=0.03)
    assert (slopes.mean(dim=0).abs() < 0.05).all()


def test_a_square_is_erased_anywhere_of_as_many_views_as_asked_for() -> None:
    batch = torch.full((1000, 40, 40, 3), 255, dtype=torch.uint8)
    views = one_each(replace(OFF, size=40, erase=0.3), batch)
    gray = (views == 0).all(dim=1)
    erased = gray[gray.any(dim=(1, 2))]
    assert len(erased) == pytest.approx(300, abs=50)
    assert (views[~gray[:, None].expand_as(views)] == 1).all()
    rows, columns = erased.any(dim=2), erased.any(dim=1)
    for lines in (rows, columns):
        assert (lines.sum(dim=1) == 14).all()  # 0.35 of 40
        first = lines.int().argmax(dim=1)
        assert set(first.tolist()) == set(range(27))  # all places at which it lies within the view
    assert torch.equal(erased, rows[:, :, None] & columns[:, None, :])


# Those of heads

STILL = replace(HEADS, size=48, turn=0.0, relight=0.0, cast=0.0, occlude=0.0, degrade=0.0)


def test_without_head_and_camera_they_are_the_views_of_faces() -> None:
    batch, drawn = crops(16), draw(STILL, 16, 2)
    faces = FaceViews(size=48)
    torch.testing.assert_close(STILL(batch, drawn), faces(batch, drawn[..., : faces.draws]))


@pytest.mark.parametrize(
    ("field", "strength", "least", "most"),
    [
        ("turn", 30.0, 32, 32),
        ("relight", 0.6, 32, 32),
        ("cast", 0.3, 32, 32),
        ("occlude", 0.5, 8, 24),
        ("degrade", 0.3, 8, 24),  # About half: 1 - 0.7 * 0.7.
    ],
)
def test_each_change_has_its_own_strength_and_probability(field: str, strength: float, least: int, most: int) -> None:
    batch, drawn = crops(1).expand(32, -1, -1, -1), draw(STILL, 32)
    plain = replace(STILL, operations=4, magnitude=0.0, flip=0.0)
    drawn[..., 1:13] = 0.99  # Twelve numbers of the chain: the last operation, which does nothing.
    changed = replace(plain, **{field: strength})(batch, drawn)
    different = (changed - plain(batch, drawn)).abs().amax(dim=(1, 2, 3)) > 0.02
    assert least <= int(different.sum()) <= most


def test_a_color_cast_changes_the_ratio_of_channels_alone() -> None:
    gray = torch.full((8, 48, 48, 3), 100, dtype=torch.uint8)
    drawn = draw(STILL, 8)
    drawn[..., 1:13] = 0.99
    views = (replace(STILL, cast=0.2)(gray, drawn) + 1) * 127.5
    assert (views.amax(dim=(2, 3)) - views.amin(dim=(2, 3))).max() < 1e-2
    gains = views[:, :, 0, 0] / 100
    assert gains.min() > 0.81 and gains.max() < 1.23
    assert len({tuple(each) for each in gains.mul(1000).round().int().tolist()}) == 8


def test_a_head_is_not_turned_further_than_its_tables_reach() -> None:
    with pytest.raises(ValueError, match="at most 45 degrees"):
        replace(STILL, turn=50.0)
