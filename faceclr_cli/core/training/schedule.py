"""The schedule of a run: its length, learning rate, time budget and checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.training.optimizer import default_lr


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The schedule of a run.

    Attributes:
        epochs: Maximum number of epochs.
        batches: Batches per epoch.
        accumulate: Batches per optimizer step.
        peak: Peak learning rate.
        warmup: Optimizer steps of warmup; below 1, the share of the run.
        budget: Seconds after which the run stops; None for no limit.
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
    def of(cls, config: TrainConfig, batches: int, batch_size: int, lr_factor: float = 1.0) -> Self:
        """Builds the schedule from the options and the size of the training set.

        Args:
            config: The resolved options.
            batches: Batches per epoch.
            batch_size: Pictures per batch, over all processes.
            lr_factor: Factor of the default learning rate; see `InitialEncoder`.
        """
        peak = config.lr
        if peak is None:
            peak = lr_factor * default_lr(config.optimizer, batch_size * config.accumulate)
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

    def batches_before(self, epoch: int) -> int:
        """Returns the number of batches before an epoch, which is counted from 0."""
        return epoch * self.batches

    def progress(self, step: int, elapsed: float) -> float:
        """Returns the completed share of the run in the middle of a step: of batches or of the budget, if larger."""
        by_batches = (step + 0.5) / (self.epochs * self.batches)
        return by_batches if self.budget is None else min(1.0, max(by_batches, elapsed / self.budget))

    def updates(self, step: int) -> float:
        """Returns the number of optimizer steps up to the middle of the one that batch `step` belongs to."""
        epoch, place = divmod(step, self.batches)
        return epoch * math.ceil(self.batches / self.accumulate) + place // self.accumulate + 0.5

    def learning_rate(self, step: int, elapsed: float) -> float:
        """Returns the learning rate in the middle of a step.

        A warmup in steps has exactly the requested number of steps. The share of the run that it takes is estimated
        from the pace so far, because a time budget can make the number of steps unknown.
        """
        done, updates = self.progress(step, elapsed), self.updates(step)
        if self.warmup < 1:
            return cosine_decay(done, self.peak, self.warmup)
        if updates < self.warmup:
            return self.peak * updates / self.warmup
        return cosine_decay(done, self.peak, done * self.warmup / updates)

    def is_warm(self, steps: int) -> bool:
        """Returns True if the warmup is over after `steps` batches, regardless of time."""
        if self.warmup < 1:
            return steps / (self.epochs * self.batches) >= self.warmup
        return self.updates(steps) >= self.warmup

    def group(self, place: int) -> tuple[int, bool]:
        """Returns the accumulation group of batch `place` of an epoch; the last group of an epoch can be smaller.

        Returns:
            The number of batches in the group, and True if this batch is the last of them.
        """
        start = place - place % self.accumulate
        size = min(self.accumulate, self.batches - start)
        return size, place + 1 == start + size


class Clock:
    """The elapsed time of a run, including the time before it was resumed.

    Args:
        before: Elapsed seconds when this process started.
        closing: Initial value of the attribute.

    Attributes:
        agreed: Elapsed seconds that all processes last agreed on.
        closing: Seconds that the end of the last epoch took: validation, checkpoint and encoder.
        saved: Elapsed seconds when the last checkpoint was written.
    """

    def __init__(self, before: float, closing: float) -> None:
        self._began = time.perf_counter() - before
        self.agreed = before
        self.closing = closing
        self.saved = before

    def now(self) -> float:
        """Returns the elapsed seconds of the run."""
        return time.perf_counter() - self._began

    def is_over(self, schedule: Schedule) -> bool:
        """Returns True if the remaining budget is only enough to end the epoch."""
        return schedule.budget is not None and self.agreed + self.closing >= schedule.budget

    def is_due(self, schedule: Schedule) -> bool:
        """Returns True if a checkpoint is due."""
        return self.agreed - self.saved >= schedule.checkpoint_every


def cosine_decay(progress: float, peak: float, warmup: float) -> float:
    """Returns the learning rate: a linear warmup, then a cosine decay to zero.

    It is a function of progress alone, so a scheduler has no state to save.

    Args:
        progress: Progress, 0 to 1. The rate is 0 at both ends, so pass the middle of a step.
        peak: Peak learning rate.
        warmup: Length of the warmup as a share of the run, 0 to 1.
    """
    if progress < warmup:
        return peak * progress / warmup
    fallen = (progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return peak * (1 + math.cos(math.pi * fallen)) / 2
