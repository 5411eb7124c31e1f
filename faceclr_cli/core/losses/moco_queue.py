"""The contrastive loss of MoCo: negatives come from a queue, so there can be more of them than a batch holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather_labels, world_size
from faceclr_cli.core.losses.nt_xent import contrastive_loss


class QueueContrast(nn.Module):
    """InfoNCE against a queue of keys (He et al. 2020, arXiv 1911.05722, equation 1 and algorithm 1).

    The query of a picture is to be nearer to the picture's own key than to all other keys in the queue.
    Two things differ from the paper. The keys of the batch enter the queue before the comparison, so that they
    are negatives of each other and the first step has negatives too. And the queue knows which picture
    each key is of: older keys of a picture are no negatives of it, which matters where the queue holds more
    than an epoch.

    The keys of all processes enter the queue in the order of ranks, so all processes hold the same queue, and
    the average of their losses, and the gradients that DDP averages, are those of one process with the
    global batch. The queue needs no optimizer and is part of the state dict.

    Args:
        dim: Length of a key.
        length: How many keys the queue holds.
        temperature: What similarities are divided by; above 0.
        margin: By how much more similar the own key must be, in cosine; see `NTXent`.
        decoupled: Compare the own key with the negatives alone; see `NTXent`.

    Examples:
        >>> contrast = QueueContrast(dim=2, length=4, temperature=0.5)
        >>> loss, metrics = contrast(torch.eye(2), torch.eye(2), torch.tensor([0, 1]))
        >>> loss, metrics["top1"]
        (tensor(0.1269), tensor(1.))
    """

    keys: Tensor
    owners: Tensor
    place: Tensor

    def __init__(
        self, dim: int, length: int, temperature: float, *, margin: float = 0.0, decoupled: bool = False
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.margin = margin
        self.decoupled = decoupled
        self.register_buffer("keys", torch.zeros(length, dim))
        self.register_buffer("owners", torch.full((length,), -1))  # the picture of each key; -1: no key yet
        self.register_buffer("place", torch.tensor(0))  # where the next key goes

    def forward(self, queries: Tensor, keys: Tensor, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Puts the keys into the queue, and compares each query with it.

        Gradients need the queue as it is now: go backward before the next call, which changes it.

        Args:
            queries: Projections of one view of each picture, of any length. Shape: (N, D), the same on all processes.
            keys: Projections of the other view; no gradient reaches them. Shape: (N, D).
            pictures: Which picture each shows, from 0. Shape: (N,).

        Returns:
            The loss, a scalar, in float32 at least, also under autocast; and `top1` and `top5`: the shares of the
            local queries for which the own key is the nearest in the queue, or among the five nearest.

        Raises:
            ValueError: The shapes don't go together, or the keys of all processes are more than the queue holds.
        """
        if queries.shape != keys.shape or pictures.shape != keys.shape[:1] or keys.shape[1:] != self.keys.shape[1:]:
            raise ValueError(
                f"queries of {tuple(queries.shape)}, keys of {tuple(keys.shape)} and pictures of "
                f"{tuple(pictures.shape)} don't go together in a queue of {tuple(self.keys.shape)}"
            )
        with torch.autocast(queries.device.type, enabled=False):
            own = self._enqueue(F.normalize(keys.detach().to(self.keys.dtype), dim=1), pictures)
            queries = F.normalize(queries.to(self.keys.dtype), dim=1)
            logits = (queries / self.temperature) @ self.keys.T
            ignored = (self.owners == pictures[:, None]) | (self.owners < 0)
            ignored.scatter_(1, own[:, None], False)
            logits.masked_fill_(ignored, -torch.inf)
            return contrastive_loss(logits, own, margin=self.margin / self.temperature, decoupled=self.decoupled)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, pictures: Tensor) -> Tensor:
        """Overwrites the oldest keys of the queue. Returns where this process's keys now are. Shape: (N,)."""
        length, (rank, _) = len(self.keys), world_size()
        everyone = all_gather_labels(keys)
        if len(everyone) > length:
            raise ValueError(f"a queue of {length} cannot hold the {len(everyone)} keys of a batch")
        # The place stays a tensor: to read it would be to wait for the GPU.
        places = (self.place + torch.arange(len(everyone), device=keys.device)) % length
        self.keys[places] = everyone
        self.owners[places] = all_gather_labels(pictures)
        self.place.copy_((self.place + len(everyone)) % length)
        return places[rank * len(keys) : (rank + 1) * len(keys)]
