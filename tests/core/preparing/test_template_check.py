from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.preparing import template_check
from faceclr_cli.core.preparing.template_check import require_arcface


@pytest.mark.parametrize("distance", [0.03, 0.2])
def test_pictures_that_were_checked_are_not_checked_again(monkeypatch: pytest.MonkeyPatch, distance: float) -> None:
    """The verdict stays the same; of a container with other pictures, only these are looked at."""
    looks: list[Any] = []
    monkeypatch.setattr(template_check, "_distance", lambda _, image: looks.append(image) or distance)
    pictures = np.random.default_rng(round(100 * distance)).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    for count, expected in ((10, 10), (10, 10), (12, 12)):
        if distance < 0.06:
            require_arcface(range(count), pictures.__getitem__, "a.rec", "prepare it")
        else:
            with pytest.raises(ConfigError, match="these are not ArcFace crops"):
                require_arcface(range(count), pictures.__getitem__, "a.rec", "prepare it")
        assert len(looks) == expected
