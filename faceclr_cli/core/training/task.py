"""The base class of training tasks, and random numbers that do not depend on the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.datasets.samplers import process_share
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.stop_signals import StopRequest
from faceclr_cli.core.views.augmentation import Views

LossAndMetrics = tuple[Tensor, dict[str, Tensor]]
"""The loss, a scalar with gradients, and named metrics, scalars without gradients."""

Embedder = Callable[[NDArray[np.int64]], Tensor]
"""Maps indices of pictures to embeddings of the current encoder, on the device. Shape: (N,) -> (N, D)."""


class ValidationEmbeddings(NamedTuple):
    """Embeddings of pictures that are held out from training.

    Attributes:
        embeddings: Not normalized. Shape: (N, D).
        labels: The person of each picture; -1 if unknown. Shape: (N,).
    """

    embeddings: Tensor
    labels: Tensor


class BatchSlice(NamedTuple):
    """The slice of the global batch that a process works on.

    Attributes:
        start: Position of its first picture in the global batch.
        total: Number of pictures in the global batch.
    """

    start: int
    total: int


class TaskModule(nn.Module):
    """Base class of all tasks. It declares everything that the training loop uses of a task.

    A task owns the encoder, its head and its loss as one module, so that DDP wraps everything that is trained.

    Attributes:
        command: Name of the command that runs the task.
        views: Number of random views of each picture.
        measures_people: True if `measure` needs new people with two or more pictures.
        encoder: The network to train.
        augment: Makes the random views.
        pictures: Indices of the pictures to train on. Shape: (P,).
        step: Number of batches before the current one, over the whole run. Set by the loop.
        progress: Completed share of the run, 0 to 1. Set by the loop.
        batch_slice: The slice of the global batch that this process works on. Set by the loop.
        frozen: True if some parameters that are trained in other epochs get no gradients in this one.
    """

    command: ClassVar[str]
    views: ClassVar[int]
    measures_people: ClassVar[bool] = True
    encoder: EncoderNetwork
    augment: Views
    pictures: NDArray[np.int64]
    step = 0
    progress = 0.0
    batch_slice = BatchSlice(0, 0)
    frozen = False

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """Computes the loss on this process's share of a batch.

        Args:
            crops: RGB, 0-255, uint8. Shape: (B, S, S, 3).
            labels: The person of each crop; -1 if unknown. Shape: (B,).
            pictures: The index of each crop in the training set. Shape: (B,).
            chance: From `random_uniform`, the rows of these crops. Shape: (B, views, draws of a view).
        """
        raise NotImplementedError

    def collapsed_loss(self, batch: int) -> float:
        """Returns the loss of an encoder that maps all pictures to the same embedding.

        Args:
            batch: Pictures per batch, over all processes.
        """
        raise NotImplementedError

    def local_names(self) -> set[str]:
        """Returns the names of parameters and buffers that DDP must not synchronize.

        They are the parameters that are sharded over processes (see `own_rows`), and the buffers that all processes
        compute from the same values, which DDP would otherwise broadcast at every step.
        """
        return set()

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns the global batches of an epoch, as indices of pictures. They depend on the seed and the epoch only.

        Args:
            epoch: Counted from 0.

        Returns:
            Shape of each: (batch_size,).
        """
        raise NotImplementedError

    def share(self, batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
        """Returns the part of a batch that a process works on. It is contiguous and has equal length on all processes.

        Args:
            batch: Indices of pictures. Shape: (B,).
            rank: Rank of the process.
            world: Number of processes.

        Raises:
            DataError: The batch is too small for the number of processes.
        """
        return process_share(batch, rank, world)

    def compute_encoder(self, supply: BatchSupply, stop: StopRequest, reporter: Reporter) -> None:
        """Computes the weights of the encoder, if the run has no epochs.

        Args:
            supply: Loads the crops of the training set.
            stop: If a signal requests a stop, it may return early; the encoder is then not used.
            reporter: Receives the progress.
        """
        del supply, stop, reporter

    def begin_epoch(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Prepares an epoch. It is not called again if a run is resumed within the epoch.

        Args:
            epoch: Counted from 0.
            rows: The metrics of all previous epochs, the same on all processes.
            embed: Embeds pictures. All processes must call it. It does not return if a signal requested a stop.

        Returns:
            A notice for the user, or None.
        """
        del epoch, rows, embed
        return None

    @property
    def result(self) -> EncoderNetwork:
        """The encoder to validate and to write, which shares its backbone with the encoder that is trained."""
        return self.encoder

    def end_epoch(self, embed: Embedder) -> None:
        """Prepares `result` after the last batch of an epoch. All processes call it.

        Args:
            embed: Embeds pictures; see `begin_epoch`.
        """
        del embed

    def measure(self, new_people: ValidationEmbeddings | None, known_people: ValidationEmbeddings | None) -> Row:
        """Measures the encoder on held-out pictures. All processes call it, each with all pictures.

        Args:
            new_people: Pictures of people who are not in the training set; None if too few of these people have two
                or more pictures.
            known_people: Held-out pictures of people in the training set, with the labels of the training set.

        Returns:
            Metrics by name; `val_loss` is the validation loss.
        """
        del new_people, known_people
        return {}

    def epoch_metrics(self, epoch: int) -> Row:
        """Returns metrics of the current epoch for the history, in addition to the means over its batches."""
        del epoch
        return {}

    def notices(self) -> list[str]:
        """Returns notices about the training set for the user."""
        return []


_STEPS = 2**24  # Every whole number up to this limit is exact in float32.


def derive_seed(*numbers: int) -> int:
    """Derives a seed from the seed of the run, the step and further numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def random_uniform(pictures: int, views: int, draws: int, generator: torch.Generator) -> Tensor:
    """Draws random whole numbers for the views of a batch.

    They are integers because Fabric would round floating-point inputs of a task to bf16; `make_views` divides them.

    Args:
        pictures: Number of pictures in the batch.
        views: Number of views per picture.
        draws: Number of random numbers per view.
        generator: A generator on the CPU.

    Returns:
        Uniform whole numbers, int32, on the CPU. Shape: (pictures, views, draws).
    """
    return torch.randint(_STEPS, (pictures, views, draws), dtype=torch.int32, generator=generator)


def make_views(views: Views, crops: Tensor, chance: Tensor) -> Tensor:
    """Makes views in float32 even under autocast, which would round the color matrices and the affine maps.

    Args:
        views: The augmentation.
        crops: See `Views`.
        chance: From `random_uniform`, the rows of these crops.

    Returns:
        See `Views`.
    """
    with torch.autocast(crops.device.type, enabled=False):
        return views(crops, chance / _STEPS)


_STREAM = 1 << 20  # Far from the streams of the ranks; see loop.py.


def dropout(features: Tensor, share: float, seed: int, step: int, batch_slice: BatchSlice) -> Tensor:
    """Applies dropout (Srivastava et al. 2014) with the same mask for any number of processes.

    The mask is drawn for the global batch, and each process uses its slice.

    Args:
        features: Features of the pictures of this process. Shape: (B, F).
        share: Dropout probability, below 1.
        seed: Seed of the run.
        step: Number of batches before this one.
        batch_slice: The slice of the global batch that these pictures are.

    Returns:
        Shape: (B, F); `features` itself if `share` is 0.
    """
    if not share:
        return features
    generator = torch.Generator(features.device).manual_seed(derive_seed(seed, step, _STREAM))
    drawn = torch.rand(batch_slice.total, features.shape[1], generator=generator, device=features.device)
    kept = drawn[batch_slice.start : batch_slice.start + len(features)] >= share
    return features * kept / (1 - share)
