"""What sits on a backbone: the embedding layer, and the projection head of contrastive learning."""

from __future__ import annotations

from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, world_size


def embedding_layer(features: int, embedding_dim: int) -> nn.Linear:
    """Maps features to the embedding; at first a random projection, which keeps lengths and angles.

    It keeps them exactly where there are at most as many features as dimensions, and else about, with an error that
    falls with the root of `embedding_dim` (the lemma of Johnson and Lindenstrauss).

    Args:
        features: How many come in.
        embedding_dim: How many go out.

    Returns:
        A layer without bias. Shape: (B, features) -> (B, embedding_dim).
    """
    layer = nn.Linear(features, embedding_dim, bias=False)
    nn.init.orthogonal_(layer.weight, gain=max(1.0, (features / embedding_dim) ** 0.5))
    return layer


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batch of all processes, on GPUs and CPUs (torch's SyncBatchNorm is for GPUs alone).

    N processes give the values and gradients of one. It gathers the features themselves, which for
    a projection head are few; the layers of a backbone would need SyncBatchNorm's sums.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, D) -> (B, D), B the same on all processes."""
        rank, _ = world_size()
        own = slice(rank * len(features), (rank + 1) * len(features))
        return super().forward(all_gather(features))[own] if self.training else super().forward(features)


def projection_head(embedding_dim: int, projection_dim: int, layers: int, *, batch_norm: bool = True) -> nn.Module:
    """The MLP between the embedding and the contrastive loss, thrown away after training (SimCLR, arXiv 2002.05709).

    With `batch_norm`, each layer is followed by batch norm over the batch of all processes, as in SimCLR's code:
    with the statistics of its own part alone, a process would tell a picture by them which of the others is its
    twin. Without, layers have biases instead, as in MoCo v2 (arXiv 2003.04297): where queries and keys make two
    batches, a query could tell its key by the statistics of the batch that it was in.

    Args:
        embedding_dim: Length of what comes in, and of hidden layers.
        projection_dim: Length of what the loss compares; without layers that is `embedding_dim`.
        layers: 0 to 3. 1 is linear; with 0 the loss compares the embedding itself.
        batch_norm: Whether batch norm follows each layer.

    Returns:
        A module. Shape: (B, embedding_dim) -> (B, projection_dim).
    """
    if layers == 0:
        return nn.Identity()
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules.append(nn.Linear(embedding_dim, embedding_dim, bias=not batch_norm))
        if batch_norm:
            modules.append(GlobalBatchNorm(embedding_dim))
        modules.append(nn.ReLU())
    modules.append(nn.Linear(embedding_dim, projection_dim, bias=not batch_norm))
    if batch_norm:
        modules.append(GlobalBatchNorm(projection_dim, affine=False))
    return nn.Sequential(*modules)
