"""NT-Xent, the contrastive loss of SimCLR, and the cross-entropy that all contrastive losses share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels, world_size


def contrastive_loss(
    logits: Tensor, positives: Tensor, *, margin: float, decoupled: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes the cross-entropy of the positive among all candidates, averaged over the anchors.

    Args:
        logits: Similarity of each anchor to each candidate, divided by the temperature; -inf for candidates
            to ignore. Modified in place if `margin` is not 0. Shape: (N, M).
        positives: Column of the positive of each anchor. Shape: (N,).
        margin: Subtracted from the logit of the positive, in the numerator and in the denominator.
        decoupled: Leave the positive out of the denominator. Each anchor then needs at least one negative.

    Returns:
        The loss, a scalar, and the shares of anchors whose positive is the nearest candidate (`top1`) or among
        the five nearest (`top5`), before the margin. Ties count as errors, so a network that maps all
        pictures to one point scores 0.
    """
    columns = positives[:, None]
    metrics = nearest_shares(logits, columns)
    if margin:
        logits.scatter_add_(1, columns, torch.full_like(columns, -margin, dtype=logits.dtype))
    if decoupled:
        negatives = logits.scatter(1, columns, -torch.inf)
        loss = (negatives.logsumexp(dim=1) - logits.gather(1, columns).squeeze(1)).mean()
    else:
        loss = F.cross_entropy(logits, positives)
    return loss, metrics


@torch.no_grad()
def nearest_shares(logits: Tensor, columns: Tensor) -> dict[str, Tensor]:
    """Computes `top1` and `top5` of `contrastive_loss`.

    Args:
        logits: Similarities of each anchor to the candidates. Shape: (N, M).
        columns: Column of the positive of each anchor. Shape: (N, 1).
    """
    places = (logits >= logits.gather(1, columns)).sum(dim=1, dtype=torch.int32)
    return {"top1": (places <= 1).float().mean(), "top5": (places <= 5).float().mean()}


def group_loss(logits: Tensor, positives: Tensor, *, margin: float, decoupled: bool) -> Tensor:
    """Computes the cross-entropy of each positive among the negatives and itself, averaged over positives and anchors.

    That is the loss of Khosla et al. 2020 (arXiv 2004.11362, equation 2), except that the denominator of a positive
    does not contain the other positives, which would push the most similar ones apart.

    Args:
        logits: Similarity of each anchor to each candidate, divided by the temperature; -inf for candidates to ignore.
            Shape: (N, M).
        positives: True for the positives of each anchor, one or more. Shape: (N, M).
        margin: Subtracted from the logits of the positives.
        decoupled: Leave the positives out of the denominator. Each anchor then needs at least one negative.

    Returns:
        A scalar.
    """
    negatives = logits.masked_fill(positives, -torch.inf).logsumexp(dim=1, keepdim=True)
    wanted = logits.masked_fill(~positives, 0.0) - margin
    losses = (negatives if decoupled else torch.logaddexp(wanted, negatives)) - wanted
    return (losses.masked_fill(~positives, 0.0).sum(dim=1) / positives.sum(dim=1)).mean()


class NTXent(nn.Module):
    """Normalized temperature-scaled cross-entropy (Chen et al. 2020, arXiv 2002.05709, equation 1).

    Each picture of the batch has two views. Each view is an anchor. Its positive is the other view of the same
    picture; its negatives are all other views in the batch, of all processes.

    The loss is the mean over the anchors of this process against the views of all processes. The average over
    processes equals the loss of one process with the global batch, and so do the gradients that DDP averages.

    Args:
        temperature: Divisor of the similarities; above 0.
        margin: Subtracted from the cosine similarity of the positive, as in USynthFace (Boutros et al. 2022,
            arXiv 2211.07371).
        decoupled: Leave the positive out of the denominator (Yeh et al. 2021, arXiv 2110.06848, L_DC). If it is
            included, as in SimCLR, pictures with similar views contribute small gradients, above all in small
            batches.

    Examples:
        >>> loss, metrics = NTXent(temperature=0.5)(torch.eye(2), torch.eye(2))
        >>> loss, metrics["top1"]
        (tensor(0.2395), tensor(1.))
    """

    def __init__(self, temperature: float, *, margin: float = 0.0, decoupled: bool = False) -> None:
        super().__init__()
        self.temperature = temperature
        self.margin = margin
        self.decoupled = decoupled

    def forward(
        self, first: Tensor, second: Tensor, groups: Tensor | None = None, *, attract: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compares the two views of each picture with those of all others.

        Args:
            first: Projections of the first views, not normalized. Shape: (N, D), the same on all processes.
            second: Projections of the second views, in the same order. Shape: (N, D).
            groups: The group of each picture, below 0 for none. Pictures of a group are not negatives of each other.
                Shape: (N,).
            attract: Pictures of a group are positives of each other, by `group_loss`.

        Returns:
            The loss, a scalar in float32 or higher precision even under autocast, and the metrics `top1` and `top5`:
            the shares of local anchors whose other view is the nearest in the global batch, or among the five nearest.

        Raises:
            ValueError: The views differ in shape.
        """
        if first.shape != second.shape:
            raise ValueError(f"two views of the same pictures expected, not {first.shape} and {second.shape}")
        # Half precision cannot distinguish similarities of 0.99 and 0.992, and the division by a temperature
        # of 0.1 magnifies the error.
        with torch.autocast(first.device.type, enabled=False):
            views = torch.cat([first, second])
            anchors = F.normalize(views.to(torch.promote_types(views.dtype, torch.float32)), dim=1)
            # One gather for both views: the columns are (first, second) of rank 0, (first, second) of rank 1, ...
            logits = (anchors / self.temperature) @ all_gather(anchors).T
            own = torch.arange(len(views), device=views.device) + world_size()[0] * len(views)
            positives = own.roll(len(first))
            if groups is not None:
                rows = groups.repeat(2)[:, None]
                alike = (rows == all_gather_labels(rows[:, 0])) & (rows >= 0)
                if attract:
                    return self._group_loss(logits, alike, own, positives)
                logits = logits.masked_fill(alike.scatter(1, positives[:, None], False), -torch.inf)
            logits.scatter_(1, own[:, None], -torch.inf)
            return contrastive_loss(logits, positives, margin=self.margin / self.temperature, decoupled=self.decoupled)

    def _group_loss(
        self, logits: Tensor, alike: Tensor, own: Tensor, positives: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss with the pictures of a group as positives, and the metrics of the other view."""
        alike = alike.scatter(1, positives[:, None], True).scatter(1, own[:, None], False)
        logits = logits.scatter(1, own[:, None], -torch.inf)
        loss = group_loss(logits, alike, margin=self.margin / self.temperature, decoupled=self.decoupled)
        others = logits.masked_fill(alike.scatter(1, positives[:, None], False), -torch.inf)
        return loss, nearest_shares(others, positives[:, None])
