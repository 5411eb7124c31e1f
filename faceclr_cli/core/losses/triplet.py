"""The triplet loss, and the choice of triplets inside a batch."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.gather import gather, gather_labels, total, world

Mining = Literal["batch-hard", "semi-hard", "batch-all"]


class Triplets(NamedTuple):
    """Indices of triplets: rows and columns of the distance matrix. Shape of each: (T,)."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class TripletLoss(nn.Module):
    """Margin loss on triplets (Schroff et al. 2015, FaceNet, arXiv 1503.03832, equation 3).

    max(0, margin + d(anchor, positive) - d(anchor, negative)), with squared Euclidean distances of
    L2-normalised embeddings. Anchors are those of this process, positives and negatives those of all
    processes. Which triplets count:

    - `batch-hard` (Hermans et al. 2017, arXiv 1703.07737, equation 5): for each anchor, the farthest
      positive and the closest negative. The mean over all anchors that have both.
    - `semi-hard` (FaceNet, section 3.2): for each anchor and positive, the closest of the negatives that
      are farther than the positive; where none is, the farthest negative, which is the one least closer
      than the positive. The mean over the active triplets.
    - `batch-all` (Hermans et al., equation 6): all triplets. The mean over the active ones.

    A triplet is active if its loss is above zero. The divisor is counted over all processes and divided
    by their number, so that the average of the losses over processes is that of one process with the
    global batch, however unevenly active triplets fall, and so are the gradients that DDP averages.

    Args:
        margin: By how much a negative must be farther than a positive, in squared distance (0 to 4).
        mining: Which triplets count.
    """

    def __init__(self, margin: float, mining: Mining) -> None:
        super().__init__()
        self.margin = margin
        self.mining = mining

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Chooses the triplets of the batch and averages their losses.

        Args:
            embeddings: Of any length; they are normalised here. Shape: (N, D), the same on all processes.
            labels: The person of each. Shape: (N,).

        Returns:
            The loss, a scalar, zero with zero gradients where the batch has no triplet; and `active`: the
            share of active triplets among those chosen, over all processes.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            anchors = F.normalize(embeddings, dim=1)
            distances = 2 - 2 * anchors @ gather(anchors).T
            with torch.no_grad():
                same = labels[:, None] == gather_labels(labels)
                chosen = choose(distances, same, world()[0] * len(labels), self.mining)
            nearer, farther = distances[chosen.anchor, chosen.positive], distances[chosen.anchor, chosen.negative]
            losses = F.relu(self.margin + nearer - farther)
        counts = total(torch.stack([(losses > 0).sum(), torch.tensor(losses.numel(), device=losses.device)]))
        divisor = counts[1] if self.mining == "batch-hard" else counts[0]
        loss = losses.sum() * (world()[1] / divisor.clamp(min=1))
        return loss, {"active": counts[0] / counts[1].clamp(min=1)}


def choose(distances: Tensor, same: Tensor, offset: int, mining: Mining) -> Triplets:
    """The triplets of a batch.

    Args:
        distances: From each anchor to each embedding. Shape: (N, M).
        same: Whether they show the same person. Shape: (N, M).
        offset: The column of the first anchor itself, the others following it.
        mining: Which triplets.
    """
    positive = same.clone()
    positive.diagonal(offset).fill_(False)
    negative = ~same
    if mining == "batch-hard":
        return _batch_hard(distances, positive, negative)
    # One row per anchor and positive. In batches of P people with K pictures these are few per anchor,
    # so a row of negatives for each costs less than the cube of all triplets.
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
