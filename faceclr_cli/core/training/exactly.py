"""Random views, in full precision whatever that of the network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from faceclr_cli.core.datasets.augment import Views

_STEPS = 2**24  # All of them are float32 numbers.


def seed_of(*numbers: int) -> int:
    """A seed that is another one for all other numbers: the run's seed, the step, what is drawn with it."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def chances(pictures: int, views: int, draws: int, generator: torch.Generator) -> Tensor:
    """Random whole numbers for the views of a batch. Fabric would round fractions to bf16 on their way to a task.

    Args:
        pictures: In the batch.
        views: Of each picture.
        draws: Random numbers for each view.
        generator: On the CPU.

    Returns:
        Shape: (pictures, views, draws), int32, on the CPU.
    """
    return torch.randint(_STEPS, (pictures, views, draws), dtype=torch.int32, generator=generator)


def exactly(views: Views, crops: Tensor, chance: Tensor) -> Tensor:
    """Makes the views in float32 also under autocast, in which matrices of colours and maps would lose digits.

    Args:
        views: Of which kind.
        crops: See `Views`.
        chance: From `chances`, those of these crops.
    """
    with torch.autocast(crops.device.type, enabled=False):
        return views(crops, chance / _STEPS)
