"""The task for training with labels: classification of people, with an optional center loss."""

from __future__ import annotations

import copy
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
    LossAndMetrics,
    TaskModule,
    ValidationEmbeddings,
    derive_seed,
    dropout,
    make_views,
)
from faceclr_cli.core.views.augmentation import Views

_SHARDED_ABOVE = 100_000
_FACES_PER_PERSON = 20
"""Faces whose mean is the first weight vector of a person, if training starts from an encoder."""


class CenterTask(TaskModule):
    """Softmax or margin cross-entropy over people, plus the center loss (Wen et al. 2016)."""

    command = "train-center"
    views = 1

    def __init__(self, config: CenterConfig, encoder: EncoderNetwork, faces: JoinedFaces, views: Views) -> None:
        super().__init__()
        self.config = config
        self.pictures = np.flatnonzero(faces.labels >= 0)
        people = len(faces.people)
        if people < 2:
            raise DataError("train-center needs faces of at least two people, but all faces show the same person")
        width = encoder.architecture.embedding_dim
        self.encoder = encoder
        self.classifier = Classifier(
            width,
            people,
            config.head,
            scale=config.scale,
            share=config.sample_classes,
            sharded=people > _SHARDED_ABOVE and world_size()[1] > 1,
            robust=config.robust,
        )
        self.center = CenterLoss(people, width, config.center_lr) if config.center_weight else None
        self.augment = views
        self.labels = faces.labels
        self.retain = config.retain or 0.0
        self.origin = copy.deepcopy(encoder).requires_grad_(False) if self.retain else None
        """The encoder before training, which is part of checkpoints."""
        self.frozen = config.freeze == "backbone"
        if self.frozen and config.unfreeze_after is None:
            encoder.backbone.requires_grad_(False)

    def local_names(self) -> set[str]:
        """Returns the sharded parameters of the classifier, and the centers, which are the same on all processes."""
        names = {"center.centers"} if self.center is not None else set()
        if self.classifier.sharded:
            names |= {f"classifier.{name}" for name, _ in self.classifier.named_parameters()}
        return names

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode; frozen layers stay in evaluation mode, with fixed running averages."""
        super().train(mode)
        if self.origin is not None:
            self.origin.eval()
        if self.frozen:
            self.encoder.backbone.eval()
        return self

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns all labeled pictures in random order. See `TaskModule.batches`."""
        count, config = len(self.pictures), self.config
        batches = shuffled_batches(count, config.batch_size, seed=config.seed, epoch=epoch)
        return [self.pictures[batch] for batch in batches]

    def begin_epoch(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Initializes the classifier from `--init`, and unfreezes the backbone. See `TaskModule.begin_epoch`."""
        del rows
        if epoch == 0 and self.config.starts_from_encoder:
            self._start_classifier(embed)
        after = self.config.unfreeze_after
        frozen = self.config.freeze == "backbone" and (after is None or epoch < after)
        changed, self.frozen = frozen != self.frozen, frozen
        return f"epoch {epoch + 1}: the backbone is no longer frozen" if changed else None

    def _start_classifier(self, embed: Embedder) -> None:
        """Sets the weights of each person to a mean embedding of faces (imprinting, Qi et al. 2018, arXiv 1712.07136).

        The gradients of random weight vectors would change an encoder before the classifier has learned anything.
        """
        order = self.pictures[np.argsort(self.labels[self.pictures], kind="stable")]
        labels = self.labels[order]
        chosen = np.arange(len(order)) - np.searchsorted(labels, labels) < _FACES_PER_PERSON
        self.classifier.imprint(embed(order[chosen]), torch.from_numpy(labels[chosen]))

    def get_extra_state(self) -> Tensor:
        """Returns whether the backbone is frozen; `begin_epoch` is not called if a run is resumed within an epoch."""
        return torch.tensor(self.frozen)

    def set_extra_state(self, state: Tensor) -> None:
        """Restores whether the backbone is frozen from the state dict."""
        self.frozen = bool(state)

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`. The margin is the margin of the last step."""
        del batch
        return self.classifier.collapsed_loss(self._margin())

    @torch.no_grad()
    def measure(self, new_people: ValidationEmbeddings | None, known_people: ValidationEmbeddings | None) -> Row:
        """Returns top-1, top-3 and top-5 accuracy and the cross-entropy on held-out pictures of known people."""
        del new_people
        if known_people is None:
            return {}
        places, loss = self.classifier.evaluate(known_people.embeddings, known_people.labels)
        shares = {f"val_top{count}": float((places < count).double().mean()) for count in (1, 3, 5)}
        return {"val_loss": float(loss), **shares}

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del pictures
        views = make_views(self.augment, crops, chance)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.encoder.features(views)
        features = dropout(features, self.config.dropout_rate, self.config.seed, self.step, self.batch_slice)
        embeddings = self.encoder.embedding(features)
        loss, metrics = self.classifier(embeddings, labels, self._margin(), self._generator())
        if self.origin is not None:
            with torch.no_grad():
                target = self.origin(views).float()
            retained = F.cosine_similarity(embeddings.float(), target).mean()
            loss = loss + self.retain * (1 - retained)
            metrics = {**metrics, "retained": retained.detach()}
        if self.center is None:
            return loss, metrics
        # Heads on cosines ignore the norm of an embedding, so the centers are computed from normalized embeddings.
        features = (
            embeddings
            if self.config.head == "softmax"
            else F.normalize(embeddings.to(self.center.centers.dtype), dim=1)
        )
        center_loss, center_metrics = self.center(features, labels)
        return loss + self.config.center_weight * center_loss, {**metrics, **center_metrics}

    def _margin(self) -> float:
        """Returns the margin, which rises linearly from 0: with all of it, an untrained network would not learn."""
        full = MARGINS[self.config.head] if self.config.margin is None else self.config.margin
        return full * min(1.0, self.progress / self.config.margin_warmup) if self.config.margin_warmup else full

    def _generator(self) -> torch.Generator | None:
        if self.config.sample_classes >= 1:
            return None
        return torch.Generator().manual_seed(derive_seed(self.config.seed, self.step, 3))
