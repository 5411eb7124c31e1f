"""What every task is, for the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.datasets.samplers import process_share
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.views.augmentation import Views

Outcome = tuple[Tensor, dict[str, Tensor]]
"""The loss, a scalar with gradients, and named scalars without."""

Embedder = Callable[[NDArray[np.int64]], Tensor]
"""From indices of pictures to their embeddings by the encoder as it is, on the device. Shape: (N, D)."""


class WatchedFaces(NamedTuple):
    """Pictures that are not trained on.

    Attributes:
        embeddings: As the encoder gives them. Shape: (N, D).
        labels: Their people, -1 where nobody knows. Shape: (N,).
    """

    embeddings: Tensor
    labels: Tensor


class Part(NamedTuple):
    """Which pictures of the batch of all processes a process has.

    Attributes:
        first: The place of the first of them in the batch; the others follow it.
        batch: Pictures in the whole batch.
    """

    first: int
    batch: int


class TaskModule(nn.Module):
    """Base class of all tasks. It declares everything that the training loop uses of a task.

    A task owns the encoder, its head and its loss as one module, so that DDP wraps everything that is trained.

    Attributes:
        command: Name of the command that runs the task.
        views: Number of random views of each picture.
        encoder: The network to train.
        augment: Makes the random views.
        pictures: Indices of the pictures to train on. Shape: (P,).
        step: Batches of the run before the present one; the loop sets it.
        done: Share of the run that is over, 0 to 1; the loop sets it.
        part: Which pictures of the batch this process has; the loop sets it.
        frozen: Whether some parameters that learn in other epochs get no gradients now.
    """

    command: ClassVar[str]
    views: ClassVar[int]
    encoder: EncoderNetwork
    augment: Views
    pictures: NDArray[np.int64]
    step = 0
    done = 0.0
    part = Part(0, 0)
    frozen = False

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """Computes the loss on this process's share of a batch.

        Args:
            crops: RGB, 0-255, uint8. Shape: (B, S, S, 3).
            labels: The person of each crop; -1 if unknown. Shape: (B,).
            pictures: The index of each crop in the training set. Shape: (B,).
            chance: From `random_uniform`, the rows of these crops. Shape: (B, views, draws of a view).
        """
        raise NotImplementedError

    def blind_loss(self, batch: int) -> float:
        """Returns the loss of an encoder that maps all pictures to the same embedding.

        Args:
            batch: Pictures per batch, over all processes.
        """
        raise NotImplementedError

    def local_names(self) -> set[str]:
        """Names of what processes don't exchange as they do all else.

        They are the parameters of which each process has its share of the rows, as `own_rows` divides them, and the
        buffers that all processes compute from the same numbers: to broadcast these at every step would be in vain.
        """
        return set()

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Which pictures make the batches of an epoch, counted from 0, by the seed alone: those of all processes."""
        raise NotImplementedError

    def share(self, batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
        """The part of a batch that one of several processes works on: a stretch of it, of equal length for all.

        Raises:
            DataError: The batch is too small for so many processes.
        """
        return process_share(batch, rank, world)

    def begin(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Gets ready for an epoch. Not called again where a run is resumed within it.

        Args:
            epoch: Counted from 0.
            rows: The numbers of all epochs before, the same on all processes.
            embed: Embeds pictures, all processes together. It does not return if a signal asked the run to stop.

        Returns:
            What there is to say about it.
        """
        del epoch, rows, embed
        return None

    def measure(self, strangers: WatchedFaces | None, fellows: WatchedFaces | None) -> Row:
        """Measures the encoder on pictures that are not trained on; `val_loss` is what training lessens.

        All processes do it together, each with all pictures.

        Args:
            strangers: Of people who are not trained on, if two pictures are known of two of them.
            fellows: Of people who are, with the labels of training.
        """
        del strangers, fellows
        return {}

    def numbers(self, epoch: int) -> Row:
        """What the history should have of the open epoch, counted from 0, beside the means over its batches."""
        del epoch
        return {}

    def remarks(self) -> list[str]:
        """What there is to say of the pictures before the first step."""
        return []


_STEPS = 2**24  # All of them are float32 numbers.


def seed_of(*numbers: int) -> int:
    """A seed that is another one for all other numbers: the run's seed, the step, what is drawn with it."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def random_uniform(pictures: int, views: int, draws: int, generator: torch.Generator) -> Tensor:
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


def in_full_precision(views: Views, crops: Tensor, chance: Tensor) -> Tensor:
    """Makes the views in float32 also under autocast, in which matrices of colors and maps would lose digits.

    Args:
        views: Of which kind.
        crops: See `Views`.
        chance: From `chances`, those of these crops.
    """
    with torch.autocast(crops.device.type, enabled=False):
        return views(crops, chance / _STEPS)


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
