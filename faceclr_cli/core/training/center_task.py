"""Learning from names: tell people apart, and keep the faces of each close together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.center import MARGINS, CenterConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.samplers import shuffled_batches
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.losses.center_loss import CenterLoss
from faceclr_cli.core.losses.classification_head import Classifier
from faceclr_cli.core.losses.global_batch import world_size
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task import (
    Embedder,
    Outcome,
    TaskModule,
    WatchedFaces,
    dropout,
    in_full_precision,
    seed_of,
)
from faceclr_cli.core.views.augmentation import Views

_SHARDED_ABOVE = 100_000


class CenterTask(TaskModule):
    """Cross-entropy over people, by cosines with a margin or plainly, and the center loss (Wen et al. 2016)."""

    command = "train-center"
    views = 1

    def __init__(self, config: CenterConfig, encoder: EncoderNetwork, faces: JoinedFaces, views: Views) -> None:
        super().__init__()
        self.config = config
        self.pictures = np.flatnonzero(faces.labels >= 0)
        people = len(faces.people)
        if people < 2:
            raise DataError("one person alone cannot be told apart: train-center needs faces of two people or more")
        width = encoder.architecture.embedding_dim
        self.encoder = encoder
        self.classifier = Classifier(
            width,
            people,
            config.head,
            scale=config.scale,
            share=config.sample_classes,
            sharded=people > _SHARDED_ABOVE and world_size()[1] > 1,
        )
        self.center = CenterLoss(people, width, config.center_lr) if config.center_weight else None
        self.augment = views
        self.frozen = config.freeze == "backbone"
        if self.frozen and config.unfreeze_after is None:
            encoder.backbone.requires_grad_(False)

    def local_names(self) -> set[str]:
        """The classifier where people are divided; and the centers, which the embeddings of all processes move."""
        names = {"center.centers"} if self.center is not None else set()
        if self.classifier.sharded:
            names |= {f"classifier.{name}" for name, _ in self.classifier.named_parameters()}
        return names

    def train(self, mode: bool = True) -> Self:
        """As every module's; the norms of a frozen backbone keep their averages."""
        super().train(mode)
        if self.frozen:
            self.encoder.backbone.eval()
        return self

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """All pictures of people with a name, in random order."""
        count, config = len(self.pictures), self.config
        batches = shuffled_batches(count, config.batch_size, seed=config.seed, epoch=epoch)
        return [self.pictures[batch] for batch in batches]

    def begin(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Sets the backbone free when its time has come. See `TaskModule.begin`."""
        del rows, embed
        after = self.config.unfreeze_after
        frozen = self.config.freeze == "backbone" and (after is None or epoch < after)
        changed, self.frozen = frozen != self.frozen, frozen
        return f"epoch {epoch + 1}: the backbone learns from here on" if changed else None

    def get_extra_state(self) -> Tensor:
        """Whether the backbone is frozen: `begin` is not called where a run is resumed within an epoch."""
        return torch.tensor(self.frozen)

    def set_extra_state(self, state: Tensor) -> None:
        """The same, from the state dict."""
        self.frozen = bool(state)

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which everybody looks the same, under the margin of the last step."""
        del batch
        return self.classifier.blind_loss(self._margin())

    @torch.no_grad()
    def measure(self, strangers: WatchedFaces | None, fellows: WatchedFaces | None) -> Row:
        """Share of held-out pictures of trained people recognized: top-1, top-3 and top-5; and the cross-entropy."""
        del strangers
        if fellows is None:
            return {}
        places, loss = self.classifier.judge(fellows.embeddings, fellows.labels)
        shares = {f"val_top{count}": float((places < count).double().mean()) for count in (1, 3, 5)}
        return {"val_loss": float(loss), **shares}

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has."""
        del pictures
        views = in_full_precision(self.augment, crops, chance)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.encoder.backbone(views)
        features = dropout(features.flatten(1), self.config.dropout, self.config.seed, self.step, self.part)
        embeddings = self.encoder.embedding(features)
        loss, metrics = self.classifier(embeddings, labels, self._margin(), self._generator())
        if self.center is None:
            return loss, metrics
        # Where people are told apart by angles, lengths mean nothing, and centers are those of directions.
        features = (
            embeddings
            if self.config.head == "softmax"
            else F.normalize(embeddings.to(self.center.centers.dtype), dim=1)
        )
        center_loss, center_metrics = self.center(features, labels)
        return loss + self.config.center_weight * center_loss, {**metrics, **center_metrics}

    def _margin(self) -> float:
        """Rises in a straight line from the start of the run: at once, it would keep young networks from learning."""
        full = MARGINS[self.config.head] if self.config.margin is None else self.config.margin
        return full * min(1.0, self.done / self.config.margin_warmup) if self.config.margin_warmup else full

    def _generator(self) -> torch.Generator | None:
        if self.config.sample_classes >= 1:
            return None
        return torch.Generator().manual_seed(seed_of(self.config.seed, self.step, 3))
