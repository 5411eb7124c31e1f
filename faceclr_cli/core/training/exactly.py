"""Random views under autocast."""

from __future__ import annotations

import torch
from torch import Tensor

from faceclr_cli.core.datasets.augment import Views


def exactly(views: Views, crops: Tensor, chance: Tensor) -> Tensor:
    """Makes the views in float32 also under autocast, in which matrices of colours and maps would lose digits."""
    with torch.autocast(crops.device.type, enabled=False):
        return views(crops, chance)
