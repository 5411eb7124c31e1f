"""How long a run is, and how far it is: what learning rates, checkpoints and the end follow from."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.training.optimizer import default_lr, learning_rate


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The shape of a run.

    Attributes:
        epochs: Passes over the data, at most.
        batches: In an epoch.
        accumulate: Batches for each step of the optimizer.
        peak: Highest learning rate.
        warmup: Steps of the optimizer during which the rate rises; below 1: their share of the run.
        budget: Seconds after which the run ends, whatever the epochs; None: no matter how long it takes.
        checkpoint_every: Seconds between checkpoints within an epoch.
    """

    epochs: int
    batches: int
    accumulate: int
    peak: float
    warmup: float
    budget: float | None
    checkpoint_every: float

    @classmethod
    def of(cls, config: TrainConfig, batches: int, batch_size: int) -> Self:
        """The plan that follows from the options and the size of the data."""
        peak = default_lr(config.optimizer, batch_size * config.accumulate) if config.lr is None else config.lr
        updates = math.ceil(batches / config.accumulate)
        return cls(
            epochs=config.epochs,
            batches=batches,
            accumulate=config.accumulate,
            peak=peak,
            warmup=config.warmup if config.warmup < 1 else min(config.warmup, config.epochs * updates),
            budget=None if config.time_budget is None else seconds(config.time_budget),
            checkpoint_every=seconds(config.checkpoint_every),
        )

    def before(self, epoch: int) -> int:
        """Batches before an epoch, counted from 0."""
        return epoch * self.batches

    def done(self, step: int, elapsed: float) -> float:
        """Share of the run that is over in the middle of a step: of its batches, or of its time if that is more."""
        by_batches = (step + 0.5) / (self.epochs * self.batches)
        return by_batches if self.budget is None else min(1.0, max(by_batches, elapsed / self.budget))

    def updates(self, step: int) -> float:
        """Steps of the optimizer before the middle of the one that a batch belongs to."""
        epoch, place = divmod(step, self.batches)
        return epoch * math.ceil(self.batches / self.accumulate) + place // self.accumulate + 0.5

    def learning_rate(self, step: int, elapsed: float) -> float:
        """The rate in the middle of a step, from the place in the run alone: nothing has to be saved.

        Where the warmup is counted in steps, the rate rises for as many as were asked for, however fast they are; the
        share of the run at which that ends follows from the pace so far.
        """
        done, updates = self.done(step, elapsed), self.updates(step)
        if self.warmup < 1:
            return learning_rate(done, self.peak, self.warmup)
        if updates < self.warmup:
            return self.peak * updates / self.warmup
        return learning_rate(done, self.peak, done * self.warmup / updates)

    def is_warm(self, steps: int) -> bool:
        """Whether the rate has risen to its peak after so many batches, by these alone."""
        if self.warmup < 1:
            return steps / (self.epochs * self.batches) >= self.warmup
        return self.updates(steps) >= self.warmup

    def group(self, place: int) -> tuple[int, bool]:
        """The step of the optimizer that batch `place` of an epoch is part of; the last of an epoch may be smaller.

        Returns:
            How many batches share it, and whether this is the last of them.
        """
        start = place - place % self.accumulate
        size = min(self.accumulate, self.batches - start)
        return size, place + 1 == start + size


class Clock:
    """The time of a run, over all processes that worked on it.

    Attributes:
        agreed: Seconds of the run that all processes last agreed on.
        closing: Seconds that it took to close the last epoch: watching, checkpoint, encoder.
        saved: When the last checkpoint was written.
    """

    def __init__(self, before: float, closing: float) -> None:
        self._began = time.perf_counter() - before
        self.agreed = before
        self.closing = closing
        self.saved = before

    def now(self) -> float:
        """Seconds of the run so far."""
        return time.perf_counter() - self._began

    def is_over(self, plan: Schedule) -> bool:
        """Whether the budget holds no more than what it takes to close the epoch."""
        return plan.budget is not None and self.agreed + self.closing >= plan.budget

    def is_due(self, plan: Schedule) -> bool:
        """Whether it is time for a checkpoint."""
        return self.agreed - self.saved >= plan.checkpoint_every
