"""The numbers of an epoch, collected on the device."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from faceclr_cli.core.training.checkpoint import State


class Sums:
    """Sums of the metrics of an epoch, on the device, so that no step waits for them.

    Args:
        state: Where it goes on, and where `settle` writes.
        device: Of the metrics.
    """

    def __init__(self, state: State, device: torch.device) -> None:
        self._state = state
        self._names = list(state.sums)
        self._sums = torch.tensor(list(state.sums.values()), dtype=torch.float64, device=device)
        self._bad = torch.zeros((), dtype=torch.int64, device=device)
        self._began = time.perf_counter() - state.seconds

    def add(self, step: int, norm: Tensor, metrics: dict[str, Tensor]) -> None:
        """Adds the metrics of a step, and notes the first step with a loss or gradient that is not finite."""
        values = torch.stack([value.detach().double() for value in metrics.values()])
        if not self._names:
            self._names, self._sums = list(metrics), torch.zeros_like(values)
        self._sums += values
        is_bad = ~(norm.isfinite() & values[0].isfinite())
        self._bad = torch.where(is_bad & (self._bad == 0), step + 1, self._bad)

    def bad(self) -> int:
        """The first bad step, counted from 1, or 0."""
        return int(self._bad)

    def settle(self) -> None:
        """Writes the sums, averaged over the processes, and the time that they took into the state."""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            self._sums /= torch.distributed.get_world_size()
        self._state.sums = dict(zip(self._names, self._sums.tolist(), strict=True))
        self._state.seconds = time.perf_counter() - self._began
