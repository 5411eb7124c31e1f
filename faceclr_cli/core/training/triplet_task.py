"""Learning from triplets: a face is to be nearer to another of the same person than to those of other people."""

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
from faceclr_cli.core.training.task import Embedder, Outcome, TaskModule, WatchedFaces, dropout, in_full_precision
from faceclr_cli.core.views.augmentation import Views

_PATIENCE = 2  # Epochs without a fall of the loss after which negatives become hard.
_FALL = 0.01  # Share by which a loss must fall to count as falling.
_ALL_ACTIVE = 0.95
_RANK_LOST = 0.5


class _Triplet(TaskModule):
    """What both ways to choose triplets have."""

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
        """Embeddings of random views, as training has them. Shapes: (B, S, S, 3) and (B, 1, draws) -> (B, D)."""
        features = self.encoder.backbone(in_full_precision(self.augment, crops, chance)).flatten(1)
        features = dropout(features, self.config.dropout, self.config.seed, self.step, self.part)
        embeddings: Tensor = self.encoder.embedding(features)
        return embeddings

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which everybody looks the same."""
        del batch
        return float(np.log(2)) if self.config.soft_margin else self.config.margin

    def remarks(self) -> list[str]:
        """Whom triplets cannot do justice to. See `TaskModule.remarks`."""
        counts = np.bincount(self.labels[self.pictures])
        alone, few = int((counts == 1).sum()), int(((counts > 1) & (counts < self.config.pictures)).sum())
        texts = []
        if alone:
            role = "are negatives only" if self.config.lists_triplets else "are left out"
            texts.append(f"{alone} of {len(counts)} people have a single picture: they {role}")
        if few and not self.config.lists_triplets:
            texts.append(f"{few} people have fewer than --pictures {self.config.pictures}: theirs come more than once")
        return texts

    def numbers(self, epoch: int) -> Row:
        """How often each picture is used: mean, standard deviation, how many never."""
        uses = np.bincount(np.concatenate(self.batches(epoch)), minlength=len(self.labels))[self.pictures]
        return {
            "uses_mean": float(uses.mean()),
            "uses_sd": float(uses.std()),
            "never_used": float((uses == 0).sum()),
        }

    @torch.no_grad()
    def measure(self, strangers: WatchedFaces | None, fellows: WatchedFaces | None) -> Row:
        """The mean loss of random triplets of strangers, every picture anchor once, the same each time."""
        del fellows
        if strangers is None:
            return {}
        people, generator = PicturesByPerson(strangers.labels.cpu().numpy()), np.random.default_rng(self.config.seed)
        anchors = people.anchors
        rows = np.stack([anchors, people.fellows(anchors, generator), people.strangers(anchors, 1, generator)[:, 0]])
        anchor, positive, negative = strangers.embeddings[torch.from_numpy(rows).to(strangers.embeddings.device)]
        return {"val_loss": float(self.loss.each(anchor, positive, negative).mean())}


class BatchTripletTask(_Triplet):
    """Triplets chosen within batches of P people with K pictures (FaceNet, arXiv 1503.03832)."""

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Some people with some pictures of each."""
        config = self.config
        return people_batches(self.labels, config.batch_size, config.pictures, seed=config.seed, epoch=epoch)

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has."""
        del pictures
        outcome: Outcome = self.loss(self.embed(crops, chance), labels)
        return outcome


class ListedTripletTask(_Triplet):
    """Triplets listed before each epoch, in which every picture with another of the same person is anchor once.

    Negatives are random pictures of other people, or hard ones: the closest of some random ones by the embeddings that
    the encoder gives at the start of the epoch (the embedding bank). Which of the two follows from the history
    alone, see `is_hard`. Where a file of triplets is there at the start of the run, they are the list of every epoch.

    The list itself is part of the state dict, since the encoder that chose it is gone when a run is resumed in
    mid-epoch; it is no buffer, so that DDP does not send it around at every step.

    Raises:
        DataError: There are too few people or triplets, or the file is damaged or of another data set.
    """

    from_file: Tensor

    def __init__(self, config: TripletConfig, encoder: EncoderNetwork, faces: JoinedFaces, views: Views) -> None:
        super().__init__(config, encoder, faces, views)
        self._people = PicturesByPerson(faces.labels)
        self._digest = faces.digest()
        path = config.triplets
        self._stored = read_triplets(path, faces.labels, self._digest) if path is not None and path.exists() else None
        # A run that is resumed finds the file that it wrote itself, so whether it was there at the start is kept.
        self.register_buffer("from_file", torch.tensor(int(self._stored is not None)))
        self._triplets = torch.from_numpy(self._drawn(0, None) if self._stored is None else self._stored)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The list in pieces: anchor, positive, negative, anchor, ..."""
        del epoch
        size = min(self.config.batch_size // 3, len(self._triplets))
        rows = self._triplets.numpy()
        return [rows[start : start + size].ravel() for start in range(0, len(rows) - size + 1, size)]

    def share(self, batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
        """Whole triplets. See `TaskModule.share`."""
        return share_triplets(batch, rank, world)

    def begin(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Lists the triplets of the epoch. See `TaskModule.begin`.

        Raises:
            DataError: The file of triplets that the run began with is no longer there.
        """
        if self.from_file:
            if self._stored is None:
                raise DataError(f"{self.config.triplets}: no such file, but the run that is continued trained on it")
            self._triplets = torch.from_numpy(self._generator(epoch).permutation(self._stored))
            return None
        hard = self._hard(rows)
        drawn = self._drawn(epoch, F.normalize(embed(self._people.pictures), dim=1) if hard else None)
        self._triplets = torch.from_numpy(drawn)
        if epoch == 0 and self.config.triplets is not None and world_size()[0] == 0:
            write_triplets(self.config.triplets, drawn, self._digest)
        if not rows or hard == self._hard(rows[:-1]):
            return None
        if hard:
            return f"epoch {epoch + 1}: the loss stopped falling, so negatives are hard from here on"
        return f"epoch {epoch + 1}: hard negatives made the embeddings COLLAPSE, so negatives are random again"

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has."""
        del labels, pictures
        return self.loss.listed(self.embed(crops, chance))

    def get_extra_state(self) -> Tensor:
        """The list, for the state dict."""
        return self._triplets

    def set_extra_state(self, state: Tensor) -> None:
        """The list, from the state dict."""
        self._triplets = state

    def _hard(self, rows: Sequence[Row]) -> bool:
        return self.config.mining == "bank" or (self.config.mining == "random-then-hard" and is_hard(rows))

    def _drawn(self, epoch: int, bank: Tensor | None) -> NDArray[np.int64]:
        """Triplets with random negatives, or with hard ones out of the bank. Shape: (T, 3)."""
        people, generator = self._people, self._generator(epoch)
        anchors = generator.permutation(people.anchors)
        positives = people.fellows(anchors, generator)
        if bank is None:
            negatives = people.strangers(anchors, 1, generator)[:, 0]
        else:
            negatives = people.closest_strangers(anchors, self.config.candidates, bank, generator)
        return np.stack([anchors, positives, negatives], axis=1)

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, epoch, 2])


def is_hard(rows: Sequence[Row]) -> bool:
    """Whether negatives should be hard after these epochs.

    At first they are random. They become hard once the loss on watched people, or that of training where nobody is
    watched, has not fallen for two epochs; and random again where hard ones bring the embeddings to collapse: nearly
    all triplets active, or half of the effective rank gone. And so on.

    Args:
        rows: The numbers of all epochs so far.
    """
    hard, first = False, 0
    for place, row in enumerate(rows):
        # Training averages over active triplets; as they become rare, those that are left are the hard ones.
        losses = [each.get("val_loss", each["loss"] * each["active"]) for each in rows[first : place + 1]]
        if hard:
            rank = rows[first - 1].get("val_rank", 0.0)
            changes = row["active"] > _ALL_ACTIVE or row.get("val_rank", rank) < _RANK_LOST * rank
        else:
            # A loss of 0 cannot fall.
            changes = len(losses) > _PATIENCE and min(losses[-_PATIENCE:]) >= (1 - _FALL) * min(losses[:-_PATIENCE])
        if changes:
            hard, first = not hard, place + 1
    return hard
