from __future__ import annotations

import torch
import torchvision.transforms.v2.functional as vision
from torch import Tensor

from faceclr_cli.core.views import tone_curves
from tests.core.views.pixels import crops, each


def whole() -> Tensor:
    """Pictures of whole numbers: smooth, darker, noise, one color, and a channel of one value."""
    batch = crops(5).permute(0, 3, 1, 2).clone()
    batch[1] = batch[1] // 3 + 20
    batch[2] = torch.randint(0, 256, batch[2].shape, generator=torch.Generator().manual_seed(2))
    batch[3] = 77
    batch[4, 1] = 200
    return batch


def test_posterizing_is_torchvisions() -> None:
    bits = torch.tensor([8, 7, 6, 5, 4])
    expected = each(lambda p, b: vision.posterize(p, int(b)), whole(), bits)
    assert torch.equal(tone_curves.posterize(whole().float(), bits), expected.float())


def test_solarizing_is_torchvisions() -> None:
    thresholds = torch.tensor([255.0, 200.0, 127.5, 77.0, 0.0])
    expected = each(lambda p, t: vision.solarize(p, float(t)), whole(), thresholds)
    assert torch.equal(tone_curves.solarize(whole().float(), thresholds), expected.float())


def test_autocontrast_is_torchvisions() -> None:
    # Where the quotient is a whole number, torchvision's may be a little less, and the value one less.
    torch.testing.assert_close(
        tone_curves.autocontrast(whole().float()), vision.autocontrast(whole()).float(), atol=1.0, rtol=0
    )


def test_equalizing_is_torchvisions() -> None:
    assert torch.equal(tone_curves.equalize(whole().float()), vision.equalize(whole()).float())
