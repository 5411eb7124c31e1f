"""The triplet loss, and the mining of triplets within a batch."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels, sum_over_processes, world_size

Mining = Literal["batch-hard", "semi-hard", "batch-all"]
Distance = Literal["euclidean", "cosine"]


class Triplets(NamedTuple):
    """Indices of triplets in a distance matrix: the row of the anchor and two columns. Shape of each: (T,)."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class TripletLoss(nn.Module):
    """Margin loss on triplets (Schroff et al. 2015, FaceNet, arXiv 1503.03832, equation 3).

    The loss of a triplet is max(0, margin + d(anchor, positive) - d(anchor, negative)). Distances are computed from
    L2-normalized embeddings: squared Euclidean (2 - 2 cos) or cosine (1 - cos). Without a margin, the soft margin of
    Hermans et al. 2017 (arXiv 1703.07737, section 3) is used: ln(1 + exp(d(anchor, positive) - d(anchor, negative))).

    `from_triplets` takes listed triplets. `forward` mines triplets in the batch: anchors from this process, positives
    and negatives from all processes. The mining strategies are:

    - `batch-hard` (Hermans et al., equation 5): for each anchor, the farthest positive and the closest negative.
    - `semi-hard` (FaceNet, section 3.2): for each anchor and positive, the closest negative that is farther than the
      positive. If there is none, the farthest negative.
    - `batch-all` (Hermans et al., equation 6): all triplets.

    The loss is averaged over the active triplets, whose loss is above zero; with `batch-hard` or a soft margin, over
    all selected triplets. The divisor is counted over all processes and divided by their number. The average of the
    losses over processes therefore equals the loss of one process with the global batch, even if active triplets are
    distributed unevenly, and so do the gradients that DDP averages.

    Args:
        margin: Minimum difference between the distances of a negative and a positive; None: the soft margin.
        mining: Mining strategy of `forward`.
        distance: Squared Euclidean or cosine distance.

    Examples:
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        >>> TripletLoss(margin=0.2, mining="batch-hard")(embeddings, torch.tensor([0, 0, 1, 1]))
        (tensor(2.2000), {'active': tensor(1.)})
    """

    def __init__(self, margin: float | None, mining: Mining = "semi-hard", distance: Distance = "euclidean") -> None:
        super().__init__()
        self.margin = margin
        self.mining = mining
        self.distance = distance

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mines triplets in the batch and averages their losses.

        Args:
            embeddings: Not normalized. Shape: (N, D), the same on all processes.
            labels: The person of each embedding. Shape: (N,).

        Returns:
            The loss, a scalar, which is zero with zero gradients if the batch has no triplet; and the metric
            `active`: the share of active triplets among the selected ones, over all processes. With a soft margin, a
            triplet is active if its negative is not farther than its positive.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            anchors = _normalize(embeddings)
            distances = self._distances(anchors @ all_gather(anchors).T)
            with torch.no_grad():
                same = labels[:, None] == all_gather_labels(labels)
                chosen = choose_triplets(distances, same, world_size()[0] * len(labels), self.mining)
            nearer, farther = distances[chosen.anchor, chosen.positive], distances[chosen.anchor, chosen.negative]
            return self._mean(nearer - farther, over_all=self.mining == "batch-hard")

    def from_triplets(self, embeddings: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Averages the losses of listed triplets.

        Args:
            embeddings: Anchor, positive, negative, anchor, ... Shape: (3 T, D), the same on all processes.

        Returns:
            The loss and the metric `active`; see `forward`.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            anchor, positive, negative = _normalize(embeddings).view(-1, 3, embeddings.shape[1]).unbind(dim=1)
            return self._mean(self._differences(anchor, positive, negative), over_all=False)

    def per_triplet(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Computes the loss of each triplet.

        Args:
            anchor: Embeddings of the anchors, not normalized. Shape: (T, D).
            positive: Embeddings of the positives. Shape: (T, D).
            negative: Embeddings of the negatives. Shape: (T, D).

        Returns:
            Shape: (T,).
        """
        return self._losses(self._differences(_normalize(anchor), _normalize(positive), _normalize(negative)))

    def _differences(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return self._distances((anchor * positive).sum(dim=1)) - self._distances((anchor * negative).sum(dim=1))

    def _losses(self, differences: Tensor) -> Tensor:
        return F.softplus(differences) if self.margin is None else F.relu(differences + self.margin)

    def _distances(self, cosines: Tensor) -> Tensor:
        return 1 - cosines if self.distance == "cosine" else 2 - 2 * cosines

    def _mean(self, differences: Tensor, *, over_all: bool) -> tuple[Tensor, dict[str, Tensor]]:
        losses = self._losses(differences)
        active = losses > 0 if self.margin is not None else differences >= 0
        over_all = over_all or self.margin is None
        counts = sum_over_processes(torch.stack([active.sum(), torch.tensor(losses.numel(), device=losses.device)]))
        loss = losses.sum() * (world_size()[1] / counts[int(over_all)].clamp(min=1))
        return loss, {"active": counts[0] / counts[1].clamp(min=1)}


def _normalize(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)


def choose_triplets(distances: Tensor, same: Tensor, offset: int, mining: Mining) -> Triplets:
    """Selects the triplets of a batch.

    Args:
        distances: Distance of each anchor to each embedding. Shape: (N, M).
        same: True if both show the same person. Shape: (N, M).
        offset: Column of the first anchor; the other anchors follow it.
        mining: Mining strategy; see `TripletLoss`.
    """
    positive = same.clone()
    positive.diagonal(offset).fill_(False)
    negative = ~same
    if mining == "batch-hard":
        return _batch_hard(distances, positive, negative)
    # One row for each pair of anchor and positive. In batches of P people with K pictures, an anchor has few
    # positives, so this takes less memory than the cube of all triplets.
    anchors, positives = positive.nonzero(as_tuple=True)
    if mining == "semi-hard":
        return _semi_hard(distances, anchors, positives, negative)
    pairs, negatives = negative[anchors].nonzero(as_tuple=True)
    return Triplets(anchors[pairs], positives[pairs], negatives)


def _batch_hard(distances: Tensor, positive: Tensor, negative: Tensor) -> Triplets:
    anchors = (positive.any(dim=1) & negative.any(dim=1)).nonzero().squeeze(1)
    farthest = distances.masked_fill(~positive, -torch.inf)[anchors]
    closest = distances.masked_fill(~negative, torch.inf)[anchors]
    return Triplets(anchors, farthest.argmax(dim=1), closest.argmin(dim=1))


def _semi_hard(distances: Tensor, anchors: Tensor, positives: Tensor, negative: Tensor) -> Triplets:
    complete = negative.any(dim=1)[anchors]
    anchors, positives = anchors[complete], positives[complete]
    rows = distances[anchors]
    candidate = negative[anchors]
    farther = candidate & (rows > distances[anchors, positives][:, None])
    closest_farther = rows.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = rows.masked_fill(~candidate, -torch.inf).argmax(dim=1)
    return Triplets(anchors, positives, torch.where(farther.any(dim=1), closest_farther, farthest))
