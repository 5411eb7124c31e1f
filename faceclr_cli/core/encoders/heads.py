"""What sits on a backbone: the embedding layer, and the projection head of contrastive learning."""

from __future__ import annotations

from torch import Tensor, nn

from faceclr_cli.core.losses.gather import gather, world


def embedding_layer(features: int, embedding_dim: int) -> nn.Linear:
    """Maps pooled features to the embedding. Shape: (B, features) -> (B, embedding_dim)."""
    return nn.Linear(features, embedding_dim)


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batch of all processes, on GPUs and CPUs (torch's SyncBatchNorm is for GPUs alone).

    N processes give the values and gradients of one. It gathers the features themselves, which for
    a projection head are few; the layers of a backbone would need SyncBatchNorm's sums.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, D) -> (B, D), B the same on all processes."""
        rank, _ = world()
        own = slice(rank * len(features), (rank + 1) * len(features))
        return super().forward(gather(features))[own] if self.training else super().forward(features)


def projection_head(embedding_dim: int, projection_dim: int, layers: int) -> nn.Sequential:
    """The MLP between the embedding and the contrastive loss, thrown away after training (SimCLR, arXiv 2002.05709).

    Each layer is followed by batch norm over the batch of all processes, as in the paper's code: with the
    statistics of its own part alone, a process would tell a picture by them which of the others is its twin.

    Args:
        embedding_dim: Length of what comes in, and of hidden layers.
        projection_dim: Length of what the loss compares.
        layers: 1 to 3; 1 is linear.

    Returns:
        A module. Shape: (B, embedding_dim) -> (B, projection_dim).
    """
    hidden: list[nn.Module] = []
    for _ in range(layers - 1):
        hidden += [nn.Linear(embedding_dim, embedding_dim, bias=False), GlobalBatchNorm(embedding_dim), nn.ReLU()]
    last = nn.Linear(embedding_dim, projection_dim, bias=False)
    return nn.Sequential(*hidden, last, GlobalBatchNorm(projection_dim, affine=False))
