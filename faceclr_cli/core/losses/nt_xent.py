"""NT-Xent, the contrastive loss of SimCLR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.gather import gather, world


class NTXent(nn.Module):
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, arXiv 2002.05709, equation 1).

    Each picture of the batch has two views. For each view, the anchor, the other view of the same
    picture is the positive, and all other views in the batch, of all processes, are negatives.

    The result is the mean over the anchors of this process against the views of all processes. So the
    average over processes is what one process would compute for the global batch, and the gradients
    that DDP averages are equal too.

    Args:
        temperature: What similarities are divided by; above 0.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compares the two views of each picture with those of all others.

        Args:
            first: Projections of the first views, of any length. Shape: (N, D), the same on all processes.
            second: Projections of the second views, in the same order. Shape: (N, D).

        Returns:
            The loss, a scalar, and `top1`: the share of the local anchors for which the other view is the
            nearest in the global batch. In float32 at least, also under autocast.

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
            logits = (anchors / self.temperature) @ gather(anchors).T
            own = torch.arange(len(views), device=views.device) + world()[0] * len(views)
            positives = own.roll(len(first))
            logits.scatter_(1, own[:, None], -torch.inf)
            loss = (logits.logsumexp(dim=1) - logits.gather(1, positives[:, None]).squeeze(1)).mean()
        top1 = (logits.detach().argmax(dim=1) == positives).float().mean()
        return loss, {"top1": top1}
