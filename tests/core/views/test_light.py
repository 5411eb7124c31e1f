from __future__ import annotations

import torch

from faceclr_cli.core.views import light


def test_light_from_a_side_is_a_slope_of_brightness() -> None:
    factors = light.side_light(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, torch.pi / 2, 1.0]), 100)
    across, down, none = factors.squeeze(1)
    torch.testing.assert_close(across[0], torch.exp(torch.linspace(-0.495, 0.495, 100)))
    torch.testing.assert_close(down, across.T)
    assert (none == 1).all()
