"""Dropout that is the same however many processes share a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from faceclr_cli.core.training.exactly import seed_of
from faceclr_cli.core.training.task import Part

_STREAM = 1 << 20  # Far from those that ranks have; see loop.py.


def dropout(features: Tensor, share: float, seed: int, step: int, part: Part) -> Tensor:
    """Sets some features to zero, in each picture others, and scales up what is left (Srivastava et al. 2014).

    Which ones is drawn for the batch of all processes, of which each has its part, so that N processes leave out what
    one would.

    Args:
        features: Of the pictures of this process. Shape: (B, F).
        share: Probability that a feature is left out, below 1.
        seed: Of the run.
        step: Batches of the run before this one.
        part: Which pictures of the batch these are.

    Returns:
        Shape: (B, F); `features` themselves where nothing is to be left out.
    """
    if not share:
        return features
    generator = torch.Generator(features.device).manual_seed(seed_of(seed, step, _STREAM))
    drawn = torch.rand(part.batch, features.shape[1], generator=generator, device=features.device)
    kept = drawn[part.first : part.first + len(features)] >= share
    return features * kept / (1 - share)
