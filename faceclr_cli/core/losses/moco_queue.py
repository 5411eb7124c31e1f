"""The contrastive loss of MoCo, whose negatives come from a queue."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather_labels, world_size
from faceclr_cli.core.losses.nt_xent import contrastive_loss


class QueueContrast(nn.Module):
    """InfoNCE against a queue of keys (He et al. 2020, arXiv 1911.05722, equation 1 and algorithm 1).

    The loss is low if the query of a picture is nearer to the key of the same picture than to all other keys in
    the queue. Two details differ from the paper:

    - The keys of the batch enter the queue before the comparison. They are negatives of each other, and the
      first step has negatives too.
    - The queue records the picture of each key. Older keys of the same picture are not negatives, which matters
      if the queue holds more than one epoch.

    The keys of all processes enter the queue in the order of ranks, so all processes hold the same queue. The
    averages of the losses and of the gradients over processes equal those of one process with the global batch.
    The queue is part of the state dict and needs no optimizer.

    Args:
        dim: Length of a key.
        length: Number of keys in the queue.
        temperature: Divisor of the similarities; above 0.
        margin: Margin on the cosine similarity of the positive; see `NTXent`.
        decoupled: Leave the positive out of the denominator; see `NTXent`.

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
        """Enqueues the keys and compares each query with the queue.

        Call `backward` before the next call: the next call overwrites keys that the gradient needs.

        Args:
            queries: Projections of one view of each picture, not normalized. Shape: (N, D), the same on all processes.
            keys: Projections of the other view, not normalized; they get no gradient. Shape: (N, D).
            pictures: Index of the picture of each row. Shape: (N,).

        Returns:
            The loss, a scalar in float32 or higher precision even under autocast, and the metrics `top1` and `top5`:
            the shares of local queries whose key is the nearest in the queue, or among the five nearest.

        Raises:
            ValueError: The shapes are inconsistent, or the keys of all processes do not fit into the queue.
        """
        if queries.shape != keys.shape or pictures.shape != keys.shape[:1] or keys.shape[1:] != self.keys.shape[1:]:
            raise ValueError(
                f"queries of {tuple(queries.shape)}, keys of {tuple(keys.shape)} and pictures of "
                f"{tuple(pictures.shape)} do not match a queue of {tuple(self.keys.shape)}"
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
        """Overwrites the oldest keys of the queue and returns the positions of this process's keys. Shape: (N,)."""
        length, (rank, _) = len(self.keys), world_size()
        all_keys = all_gather_labels(keys)
        if len(all_keys) > length:
            raise ValueError(f"a queue of {length} cannot hold the {len(all_keys)} keys of a batch")
        # The position stays a tensor: reading it would synchronize with the GPU.
        places = (self.place + torch.arange(len(all_keys), device=keys.device)) % length
        self.keys[places] = all_keys
        self.owners[places] = all_gather_labels(pictures)
        self.place.copy_((self.place + len(all_keys)) % length)
        return places[rank * len(keys) : (rank + 1) * len(keys)]
