from __future__ import annotations

import math

import torch

from faceclr_cli.core.views import head_shape
from faceclr_cli.core.views.relighting import irradiance_of, relighting


def test_irradiance_is_close_to_that_of_one_lamp() -> None:
    cosines = torch.linspace(-1, 1, 201)
    error = irradiance_of(cosines) - cosines.clamp(min=0)
    assert error.abs().max() < 0.1 and error.square().mean().sqrt() < 0.05


def test_factors_are_lambert_shading_of_the_normals() -> None:
    """One pixel at a time, with the cosine of the angle to the lamp."""
    tilt, direction = torch.tensor([0.6, 1.2]), torch.tensor([0.0, 2.0])
    factors = relighting(torch.tensor([1.0, 0.5]), tilt, direction, 40)
    normals, weights = head_shape.normals(40, torch.device("cpu"))
    for number, strength in enumerate((1.0, 0.5)):
        a, b = float(tilt[number]), float(direction[number])
        lamp = (math.sin(a) * math.cos(b), math.sin(a) * math.sin(b), math.cos(a))
        shading = [
            max(0.0, sum(float(n) * part for n, part in zip(normals[:, y, x], lamp, strict=True)))
            for y in range(40)
            for x in range(40)
        ]
        mean = sum(s * float(w) for s, w in zip(shading, weights.flatten(), strict=True)) / float(weights.sum())
        expected = 1 + strength * weights * (torch.tensor(shading).view(40, 40) / mean - 1)
        assert (factors[number, 0] - expected).abs().max() < 0.4 * strength
        assert (factors[number, 0] - expected).abs().mean() < 0.1 * strength


def test_the_head_keeps_its_mean_brightness_and_the_background_its_own() -> None:
    factors = relighting(torch.tensor([0.9, 0.0]), torch.tensor([1.3, 1.3]), torch.tensor([0.5, 0.5]), 64)[:, 0]
    _, weights = head_shape.normals(64, torch.device("cpu"))
    torch.testing.assert_close((factors[0] * weights).sum() / weights.sum(), torch.tensor(1.0), atol=0.25, rtol=0)
    assert (factors[0][weights == 0] == 1).all() and (factors[1] == 1).all()
    assert factors[0, 32, 45] > 1.3 > 0.6 > factors[0, 32, 18]
