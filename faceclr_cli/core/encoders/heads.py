"""Layers on top of a backbone: the embedding layer, and the projection head of contrastive learning."""

from __future__ import annotations

from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, world_size


def embedding_layer(features: int, embedding_dim: int, *, bias: bool = False) -> nn.Linear:
    """Returns a linear layer from features to embeddings, initialized as a random projection.

    The projection preserves lengths and angles: exactly if there are at most `embedding_dim` features, otherwise with
    an error that decreases with the square root of `embedding_dim` (Johnson-Lindenstrauss lemma).

    Args:
        features: Number of input features.
        embedding_dim: Length of an embedding.
        bias: Add a bias, which is 0 at first.

    Returns:
        A layer. Shape: (B, features) -> (B, embedding_dim).
    """
    layer = nn.Linear(features, embedding_dim, bias=bias)
    nn.init.orthogonal_(layer.weight, gain=max(1.0, (features / embedding_dim) ** 0.5))
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batch of all processes, on GPUs and CPUs (torch's SyncBatchNorm supports GPUs only).

    Values and gradients of N processes equal those of one. It gathers the features themselves, which are small for a
    projection head; backbone layers should use SyncBatchNorm, which gathers sums.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, D) -> (B, D), with the same B on all processes."""
        if not self.training:  # Before `len`, which would fix the batch size of an exported graph.
            return super().forward(features)
        rank, _ = world_size()
        own = slice(rank * len(features), (rank + 1) * len(features))
        return super().forward(all_gather(features))[own]


def projection_head(embedding_dim: int, projection_dim: int, layers: int, *, batch_norm: bool = True) -> nn.Module:
    """Returns the MLP between the embedding and the contrastive loss (SimCLR, arXiv 2002.05709).

    The head is discarded after training. With `batch_norm`, batch norm over the batch of all processes follows each
    layer, as in SimCLR's code: per-process statistics would leak which pictures share a process. Without it, layers
    have biases, as in MoCo v2 (arXiv 2003.04297): queries and keys are separate batches there, and batch statistics
    would leak which key belongs to a query.

    Args:
        embedding_dim: Length of the input, and width of the hidden layers.
        projection_dim: Length of the output; ignored without layers.
        layers: Number of layers, 0 to 3. With 0, the head is the identity; with 1, it is linear.
        batch_norm: Add batch norm after each layer.

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
