"""The task for training without labels in rounds: embed, cluster with high precision, learn to tell clusters apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.samplers import paired_batches
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.linkage import NONE
from faceclr_cli.core.grouping.pseudo_people import (
    LEAST_SILHOUETTE,
    LEAST_WHITENED_SILHOUETTE,
    PseudoPeople,
    find_pseudo_people,
    should_stop,
)
from faceclr_cli.core.losses.classification_head import Classifier
from faceclr_cli.core.losses.global_batch import sum_over_processes, world_size
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.training.contrastive_task import SimCLRTask
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task import Embedder, LossAndMetrics, make_views
from faceclr_cli.core.wording import count

SHARES = (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
"""Shares of the faces to cluster, the largest first. Early encoders cluster only a few faces precisely."""

_MOST_CLUSTERS = 100_000
_UNKNOWN = -2.0  # Stands for a missing number; outside the range of all numbers.


@dataclass(frozen=True)
class RoundState:
    """The current round and its clusters, in numbers.

    Attributes:
        round: Number of the round; 0 before the first.
        stopped: 1 if a later round kept the clusters, otherwise 0.
        clusters: Number of clusters.
        target: The share of faces that decided the threshold.
        threshold: Minimum mean similarity of two clusters to merge.
        clustered: Share of the faces that are in a cluster.
        joined: Share of the pairs of faces of one photograph that fall into one cluster if nothing prevents it.
        precision: Share of the pairs of faces in one cluster that show one person, estimated from those pairs.
        silhouette: Mean silhouette of the faces in clusters.
        purity: Share of the other faces of a cluster that show the same person, as a mean over faces (B-cubed
            precision), if people are known.
    """

    round: float = 0.0
    stopped: float = 0.0
    clusters: float = 0.0
    target: float = 0.0
    threshold: float = _UNKNOWN
    clustered: float = 0.0
    joined: float = _UNKNOWN
    precision: float = _UNKNOWN
    silhouette: float = _UNKNOWN
    purity: float = _UNKNOWN

    @property
    def values(self) -> list[float]:
        """The numbers in the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)]


class RoundsTask(SimCLRTask):
    """SimCLR; after the first round also a margin head (CosFace) on clusters of the most similar faces.

    Faces of one cluster are not negatives of each other, and the head attracts them to the same weight vector.

    The run is divided into parts of equal length. Each part but the first begins with a round: all faces are embedded
    and clustered (`find_pseudo_people`), and the weights of the head start at the means of the clusters. If
    `should_stop` returns a reason, the clusters of the previous round are kept until the end of the run.

    The clusters are part of the state dict, because the encoder that they were made with is no longer available if a
    run is resumed within an epoch.

    Args:
        config: The options.
        encoder: The network to train.
        faces: The training faces. Names are used to report the purity of clusters, and for nothing else.
        photographs: Index of the photograph of each face. Shape: (N,).
        tracks: The constraints on the faces that follow from the tracks of films.
    """

    def __init__(
        self,
        config: PretrainConfig,
        encoder: EncoderNetwork,
        faces: JoinedFaces,
        photographs: NDArray[np.int64],
        tracks: Constraints,
    ) -> None:
        super().__init__(config, encoder, faces.sources)
        self.labels, self.photographs, self.tracks = faces.labels, photographs, tracks
        self.now = RoundState()
        self.clusters = torch.full((len(faces),), NONE)
        most = max(2, min(_MOST_CLUSTERS, len(faces) // 2))
        self.classifier = Classifier(encoder.architecture.embedding_dim, most, "cosface")
        self.frozen = True  # The head gets no gradients before the first round.

    def begin_epoch(self, epoch: int, rows: Sequence[Row], embed: Embedder) -> str | None:
        """Starts the next round if it is due. See `TaskModule.begin_epoch`."""
        del epoch, rows
        due = int(self.progress * (self.config.rounds + 1))
        if due <= self.now.round or self.now.stopped:
            return None
        found = embed(self.pictures).float()
        embeddings, compared = F.normalize(found, dim=1), F.normalize(self.whiten(found), dim=1)
        before = self._pseudo_people()
        box = [self._cluster(compared.cpu().numpy(), before, due) if world_size()[0] == 0 else None]
        if world_size()[1] > 1:
            # Processes on different machines may round differently, but must use the same values.
            dist.broadcast_object_list(box)
        if box[0] is None:
            raise ValueError("the first process has sent no clusters")
        self.now, clusters, note = box[0]
        if clusters is not None:
            self.clusters = torch.from_numpy(clusters)
            self._restart_head(embeddings)
        self.frozen = not self.now.clusters
        return note

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns all pictures in random order; those of a cluster in pairs if they are positives of each other."""
        config = self.config
        if config.positives == "views" or not self.now.clusters:
            return super().batches(epoch)
        return paired_batches(self.clusters.numpy(), config.batch_size, seed=config.seed, epoch=epoch)

    def get_extra_state(self) -> Tensor:
        """Returns the round and the clusters; numbers as the bits of float64, since all states are whole numbers."""
        return torch.cat([torch.tensor(self.now.values, dtype=torch.float64).view(torch.int64), self.clusters])

    def set_extra_state(self, state: Tensor) -> None:
        """Restores the round and the clusters from the state dict."""
        size = len(fields(RoundState))
        self.now = RoundState(*state[:size].cpu().clone().view(torch.float64).tolist())
        self.clusters = state[size:].cpu().clone()
        self.frozen = not self.now.clusters
        self.classifier.people = max(2, int(self.now.clusters))

    def epoch_metrics(self, epoch: int) -> Row:
        """Returns the round, and the size and the quality of its clusters."""
        del epoch
        now = self.now
        row: Row = {"round": int(now.round), "clusters": int(now.clusters), "clustered": now.clustered}
        for name in ("threshold", "silhouette", "joined", "precision", "purity"):
            if getattr(now, name) != _UNKNOWN:
                row[f"cluster_{name}"] = getattr(now, name)
        return row

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`."""
        config = self.config
        of_clusters = self.classifier.collapsed_loss(config.cluster_margin) if self.now.clusters else 0.0
        return super().collapsed_loss(batch) + config.cluster_weight * of_clusters

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del labels
        embeddings = self.encoder(make_views(self.augment, crops, chance))
        first, second = self.head(embeddings).chunk(2)
        if not self.now.clusters:
            outcome: LossAndMetrics = self.loss(first, second)
            return outcome
        clusters = self.clusters.to(pictures.device)[pictures]
        loss, metrics = self.loss(first, second, clusters, attract=self.config.positives == "clusters")
        of_clusters = self._cluster_loss(embeddings, clusters.repeat(2))
        return loss + self.config.cluster_weight * of_clusters, {**metrics, "cluster_loss": of_clusters.detach()}

    def _cluster_loss(self, embeddings: Tensor, clusters: Tensor) -> Tensor:
        """Computes the mean loss of the views in clusters; its average over processes is that of the global batch."""
        chosen = (clusters != NONE).nonzero()[:, 0]
        total = sum_over_processes(torch.tensor(len(chosen), device=clusters.device))
        if not len(chosen):
            # DDP needs a gradient of every parameter.
            return 0.0 * self.classifier.weight.sum()
        loss, _ = self.classifier(embeddings[chosen], clusters[chosen], self.config.cluster_margin)
        weighted: Tensor = loss * len(chosen) * world_size()[1] / total
        return weighted

    def _cluster(
        self, embeddings: NDArray[np.float32], before: PseudoPeople | None, due: int
    ) -> tuple[RoundState, NDArray[np.int64] | None, str]:
        """Clusters the faces. Returns the new state, the new clusters, if any, and a notice."""
        shares = [share for share in SHARES if share >= self.now.target]
        least = LEAST_WHITENED_SILHOUETTE if self.whitens else LEAST_SILHOUETTE
        now = find_pseudo_people(embeddings, self.photographs, shares, self.tracks, least)
        if before is None and now is None:
            return RoundState(round=due), None, f"round {due}: no clusters are pure enough"
        reason = None if before is None else should_stop(before, now)
        if reason is not None or now is None:
            return (
                replace(self.now, stopped=1.0),
                None,
                f"round {due}: {reason}; the clusters of round {self.now.round:.0f} are kept",
            )
        clusters = np.where(now.groups < len(self.classifier.weight), now.groups, NONE)
        state = RoundState(
            round=due,
            clusters=int(clusters.max()) + 1,
            target=now.target,
            threshold=now.threshold,
            clustered=now.share,
            joined=_UNKNOWN if now.joined is None else now.joined,
            precision=_UNKNOWN if now.precision is None else now.precision,
            silhouette=now.silhouette,
            purity=self._purity(clusters),
        )
        return state, clusters, f"round {due}: {_describe(state)}"

    def _purity(self, clusters: NDArray[np.int64]) -> float:
        known = (clusters != NONE) & (self.labels >= 0)
        return cluster_scores(self.labels[known], clusters[known]).bcubed.precision if known.any() else _UNKNOWN

    def _pseudo_people(self) -> PseudoPeople | None:
        """Returns the clusters of the last round."""
        now = self.now
        if not now.clusters:
            return None
        return PseudoPeople(
            groups=self.clusters.numpy(),
            target=now.target,
            threshold=now.threshold,
            share=now.clustered,
            joined=None if now.joined == _UNKNOWN else now.joined,
            precision=None if now.precision == _UNKNOWN else now.precision,
            silhouette=now.silhouette,
        )

    def _restart_head(self, embeddings: Tensor) -> None:
        """Sets the weights of the head to the means of the clusters, the same on all processes."""
        clusters = self.clusters.numpy()
        chosen = clusters != NONE
        sums = np.zeros((int(clusters.max()) + 1, embeddings.shape[1]))
        np.add.at(sums, clusters[chosen], embeddings.cpu().numpy()[chosen].astype(np.float64))
        self.classifier.restart(torch.from_numpy(normalize_rows(sums)).float())


def _describe(now: RoundState) -> str:
    text = f"{count(int(now.clusters), 'cluster')} with {now.clustered:.0%} of the faces, "
    text += f"at a similarity of {now.threshold:.2f}"
    if now.purity != _UNKNOWN:
        text += f", purity {now.purity:.0%}"
    if now.joined != _UNKNOWN:
        text += f"; {now.joined:.1%} of the pairs of faces of one photograph would share a cluster"
    return text
