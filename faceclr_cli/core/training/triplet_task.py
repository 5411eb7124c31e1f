"""The tasks for training with triplets: mined within batches, or listed before each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.samplers import people_batches, share_triplets
from faceclr_cli.core.datasets.triplet_lists import PicturesByPerson, read_triplets, write_triplets
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.losses.global_batch import world_size
from faceclr_cli.core.losses.triplet_loss import Mining, TripletLoss
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task import (
    Embedder,
    LossAndMetrics,
    TaskModule,
    ValidationEmbeddings,
    dropout,
    make_views,
)
from faceclr_cli.core.views.augmentation import Views

_PATIENCE = 2  # Epochs without improvement after which negatives become hard.
_FALL = 0.01  # Minimum relative decrease of the loss that counts as an improvement.
_ALL_ACTIVE = 0.95
_RANK_LOST = 0.5


class _TripletTask(TaskModule):
    command = "train-triplet"
    views = 1

    def __init__(
        self,
        config: TripletConfig,
        encoder: EncoderNetwork,
        faces: JoinedFaces,
        views: Views,
        mining: Mining = "semi-hard",
    ) -> None:
        super().__init__()
        self.config = config
        self.loss = TripletLoss(None if config.soft_margin else config.margin, mining, config.distance)
        self.labels = faces.labels
        self.pictures = np.flatnonzero(faces.labels >= 0)
        self.encoder = encoder
        self.augment = views

    def embed(self, crops: Tensor, chance: Tensor) -> Tensor:
        """Embeds random views with dropout. Shapes: (B, S, S, 3) and (B, 1, draws) -> (B, D)."""
        features = self.encoder.features(make_views(self.augment, crops, chance))
        features = dropout(features, self.config.dropout_rate, self.config.seed, self.step, self.batch_slice)
        embeddings: Tensor = self.encoder.embedding(features)
        return embeddings

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`."""
        del batch
        return float(np.log(2)) if self.config.soft_margin else self.config.margin

    def notices(self) -> list[str]:
        """Reports people with few pictures. See `TaskModule.notices`."""
        counts = np.bincount(self.labels[self.pictures])
        alone, few = int((counts == 1).sum()), int(((counts > 1) & (counts < self.config.pictures)).sum())
        texts = []
        if alone:
            role = "are used as negatives only" if self.config.lists_triplets else "are left out"
            texts.append(f"{alone} of {len(counts)} people have a single picture: they {role}")
        if few and not self.config.lists_triplets:
            texts.append(f"{few} people have fewer than --pictures {self.config.pictures}: their pictures are repeated")
        return texts

    def epoch_metrics(self, epoch: int) -> Row:
        """Returns how often pictures are used: mean, standard deviation and number of unused pictures."""
        uses = np.bincount(np.concatenate(self.batches(epoch)), minlength=len(self.labels))[self.pictures]
        return {
            "uses_mean": float(uses.mean()),
            "uses_sd": float(uses.std()),
            "never_used": float((uses == 0).sum()),
        }

    @torch.no_grad()
    def measure(self, new_people: ValidationEmbeddings | None, known_people: ValidationEmbeddings | None) -> Row:
        """Returns the mean loss of random triplets of new people, the same triplets in every epoch.

        Every picture is the anchor of one triplet.
        """
        del known_people
        if new_people is None:
            return {}
        people, generator = PicturesByPerson(new_people.labels.cpu().numpy()), np.random.default_rng(self.config.seed)
        anchors = people.anchors
        rows = np.stack(
            [anchors, people.sample_positives(anchors, generator), people.sample_negatives(anchors, 1, generator)[:, 0]]
        )
        anchor, positive, negative = new_people.embeddings[torch.from_numpy(rows).to(new_people.embeddings.device)]
        return {"val_loss": float(self.loss.per_triplet(anchor, positive, negative).mean())}


class BatchTripletTask(_TripletTask):
    """Triplets mined within batches of P people with K pictures (FaceNet, arXiv 1503.03832)."""

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns batches of P people with K pictures each. See `TaskModule.batches`."""
        config = self.config
        return people_batches(self.labels, config.batch_size, config.pictures, seed=config.seed, epoch=epoch)

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del pictures
        outcome: LossAndMetrics = self.loss(self.embed(crops, chance), labels)
        return outcome


class ListedTripletTask(_TripletTask):
    """Triplets listed before each epoch. Every picture of a person with several pictures is the anchor of one triplet.

    Negatives are random or hard. A hard negative is the closest of some random pictures of other people, by the
    embeddings at the start of the epoch (the embedding bank). `should_use_hard_negatives` decides between the two from
    the history alone. If a file of triplets exists at the start of the run, its triplets are used in every epoch.

    The list is part of the state dict, because the encoder that it was made with is no longer available if a run is
    resumed within an epoch. It is not a buffer, because DDP would broadcast it at every step.

    Raises:
        DataError: There are too few people or triplets, or the file is damaged or belongs to other faces.
    """

    from_file: Tensor

    def __init__(self, config: TripletConfig, encoder: EncoderNetwork, faces: JoinedFaces, views: Views) -> None:
        super().__init__(config, encoder, faces, views)
        self._people = PicturesByPerson(faces.labels)
        self._digest = faces.digest()
        path = config.triplets
        self._stored = read_triplets(path, faces.labels, self._digest) if path is not None and path.exists() else None
        # A resumed run finds the file that it wrote itself, so the state dict records whether the file existed before.
        self.register_buffer("from_file", torch.tensor(int(self._stored is not None)))
        self._triplets = torch.from_numpy(self._draw_triplets(0, None) if self._stored is None else self._stored)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns the list in batches: anchor, positive, negative, anchor, ... See `TaskModule.batches`."""
        del epoch
        size = min(self.config.batch_size // 3, len(self._triplets))
        rows = self._triplets.numpy()
        return [rows[start : start + size].ravel() for start in range(0, len(rows) - size + 1, size)]

    def share(self, batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
        """Returns a share of whole triplets. See `TaskModule.share`."""
        return share_triplets(batch, rank, world)

    def begin_epoch(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Lists the triplets of the epoch. See `TaskModule.begin_epoch`.

        Raises:
            DataError: The run started with a file of triplets, which no longer exists.
        """
        if self.from_file:
            if self._stored is None:
                raise DataError(f"{self.config.triplets}: no such file, but the resumed run was trained on it")
            self._triplets = torch.from_numpy(self._generator(epoch).permutation(self._stored))
            return None
        hard = self._uses_hard_negatives(rows)
        drawn = self._draw_triplets(epoch, F.normalize(embed(self._people.pictures), dim=1) if hard else None)
        self._triplets = torch.from_numpy(drawn)
        if epoch == 0 and self.config.triplets is not None and world_size()[0] == 0:
            write_triplets(self.config.triplets, drawn, self._digest)
        if not rows or hard == self._uses_hard_negatives(rows[:-1]):
            return None
        if hard:
            return f"epoch {epoch + 1}: the loss stopped falling; switching to hard negatives"
        return f"epoch {epoch + 1}: the embeddings collapsed; switching back to random negatives"

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del labels, pictures
        return self.loss.from_triplets(self.embed(crops, chance))

    def get_extra_state(self) -> Tensor:
        """Returns the list of triplets for the state dict."""
        return self._triplets

    def set_extra_state(self, state: Tensor) -> None:
        """Restores the list of triplets from the state dict."""
        self._triplets = state

    def _uses_hard_negatives(self, rows: Sequence[Row]) -> bool:
        return self.config.mining == "bank" or (
            self.config.mining == "random-then-hard" and should_use_hard_negatives(rows)
        )

    def _draw_triplets(self, epoch: int, bank: Tensor | None) -> NDArray[np.int64]:
        """Draws triplets with hard negatives from the bank, or with random negatives without a bank. Shape: (T, 3)."""
        people, generator = self._people, self._generator(epoch)
        anchors = generator.permutation(people.anchors)
        positives = people.sample_positives(anchors, generator)
        if bank is None:
            negatives = people.sample_negatives(anchors, 1, generator)[:, 0]
        else:
            negatives = people.sample_hard_negatives(anchors, self.config.candidates, bank, generator)
        return np.stack([anchors, positives, negatives], axis=1)

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, epoch, 2])


def should_use_hard_negatives(rows: Sequence[Row]) -> bool:
    """Decides whether the next epoch uses hard negatives.

    Training starts with random negatives. They become hard when the validation loss has not fallen for two epochs; the
    training loss is used if there are no validation faces. They become random again when the embeddings collapse:
    nearly all triplets are active, or the effective rank has halved. The two can alternate several times.

    Args:
        rows: The metrics of all epochs so far.
    """
    hard, first = False, 0
    for place, row in enumerate(rows):
        # The training loss is the mean over active triplets, which rises as only hard triplets remain active.
        losses = [each.get("val_loss", each["loss"] * each["active"]) for each in rows[first : place + 1]]
        if hard:
            rank = rows[first - 1].get("val_rank", 0.0)
            changes = row["active"] > _ALL_ACTIVE or row.get("val_rank", rank) < _RANK_LOST * rank
        else:
            # ">=", because a loss of 0 cannot fall.
            changes = len(losses) > _PATIENCE and min(losses[-_PATIENCE:]) >= (1 - _FALL) * min(losses[:-_PATIENCE])
        if changes:
            hard, first = not hard, place + 1
    return hard
