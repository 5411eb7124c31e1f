"""NT-Xent, the contrastive loss of SimCLR, and what all contrastive losses here make of similarities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, world_size


def contrastive_loss(
    logits: Tensor, positives: Tensor, *, margin: float, decoupled: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of finding the positive among all candidates, averaged over the anchors.

    Args:
        logits: Similarity of each anchor to each candidate, over the temperature; -inf where a candidate
            does not count. Overwritten where there is a margin. Shape: (N, M).
        positives: The column of each anchor's positive. Shape: (N,).
        margin: Subtracted from the logit of the positive, also where it stands among the candidates.
        decoupled: Whether the positive is left out of the candidates that it is compared with, of which
            there must then be another.

    Returns:
        The loss, a scalar, and the shares of anchors whose positive is the nearest candidate (`top1`) or among
        the five nearest (`top5`), before the margin. A tie counts against: a network that maps all
        pictures to one point knows nothing.
    """
    columns = positives[:, None]
    with torch.no_grad():
        places = (logits >= logits.gather(1, columns)).sum(dim=1, dtype=torch.int32)
    if margin:
        logits.scatter_add_(1, columns, torch.full_like(columns, -margin, dtype=logits.dtype))
    if decoupled:
        negatives = logits.scatter(1, columns, -torch.inf)
        loss = (negatives.logsumexp(dim=1) - logits.gather(1, columns).squeeze(1)).mean()
    else:
        loss = F.cross_entropy(logits, positives)
    return loss, {"top1": (places <= 1).float().mean(), "top5": (places <= 5).float().mean()}


class NTXent(nn.Module):
    """Normalized temperature-scaled cross-entropy (Chen et al. 2020, arXiv 2002.05709, equation 1).

    Each picture of the batch has two views. For each view, the anchor, the other view of the same
    picture is the positive, and all other views in the batch, of all processes, are negatives.

    The result is the mean over the anchors of this process against the views of all processes. So the
    average over processes is what one process would compute for the global batch, and the gradients
    that DDP averages are equal too.

    Args:
        temperature: What similarities are divided by; above 0.
        margin: By how much more similar a positive must be, in cosine: it is subtracted from the positive's
            similarity (as USynthFace has it, Boutros et al. 2022, arXiv 2211.07371).
        decoupled: Compare the positive with the negatives alone (Yeh et al. 2021, arXiv 2110.06848, L_DC).
            With the positive among them, as in SimCLR, pictures whose views are already alike teach little, the
            more so the smaller the batch.

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

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compares the two views of each picture with those of all others.

        Args:
            first: Projections of the first views, of any length. Shape: (N, D), the same on all processes.
            second: Projections of the second views, in the same order. Shape: (N, D).

        Returns:
            The loss, a scalar, in float32 at least, also under autocast; and `top1` and `top5`: the shares of the
            local anchors for which the other view is the nearest in the global batch, or among the five nearest.

        Raises:
            ValueError: The views differ in shape.
        """
        if first.shape != second.shape:
            raise ValueError(f"two views of the same pictures expected, not {first.shape} and {second.shape}")
        # Half precision cannot tell similarities of 0.99 and 0.992 apart, and division by a temperature
        # of 0.1 would magnify the error.
        with torch.autocast(first.device.type, enabled=False):
            views = torch.cat([first, second])
            anchors = F.normalize(views.to(torch.promote_types(views.dtype, torch.float32)), dim=1)
            # One gather for both views: columns come as (first, second) of rank 0, of rank 1, ...
            logits = (anchors / self.temperature) @ all_gather(anchors).T
            own = torch.arange(len(views), device=views.device) + world_size()[0] * len(views)
            logits.scatter_(1, own[:, None], -torch.inf)
            positives = own.roll(len(first))
            return contrastive_loss(logits, positives, margin=self.margin / self.temperature, decoupled=self.decoupled)
