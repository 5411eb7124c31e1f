"""The center loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather_labels


class CenterLoss(nn.Module):
    """The center loss: half the squared distance of a feature to the center of its person, averaged over the batch.

    Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition", equations 2 to 4.
    The gradient treats the centers as constants. In training mode, each call computes the loss and then moves
    the centers of the people in the batch: c_j -= lr * sum_i (c_j - x_i) / (1 + n_j). The sum runs over the
    features of all processes, so all processes hold the same centers. The centers start at zero, are part of
    the state dict and need no optimizer.

    Features are not normalized. The cross-entropy that is used beside this loss determines their length, and
    normalization would change the meaning of `lr` and of the loss weight in the paper.

    Args:
        people: Number of centers.
        dim: Length of a feature.
        lr: Step size of the centers, alpha in the paper; 0 to 1.

    Examples:
        >>> pull = CenterLoss(people=2, dim=2, lr=0.5)
        >>> pull(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 1]))
        (tensor(5.), {'center': tensor(5.)})
        >>> pull.centers
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """

    centers: Tensor

    def __init__(self, people: int, dim: int, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.register_buffer("centers", torch.zeros(people, dim))

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss and, in training mode, moves the centers.

        Args:
            features: Shape: (N, D), the same on all processes.
            labels: The person of each, 0 to `people` - 1. Shape: (N,).

        Returns:
            The loss, a scalar averaged over the features of this process, and the metric `center` with the same value.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.centers.dtype)
            loss = (features - self.centers[labels]).square().sum(dim=1).mean() / 2
        if self.training:
            self._update_centers(all_gather_labels(features), all_gather_labels(labels))
        return loss, {"center": loss.detach()}

    @torch.no_grad()
    def _update_centers(self, features: Tensor, labels: Tensor) -> None:
        # A matrix product, because index_add is not deterministic on a GPU.
        same = (labels[:, None] == labels).to(features.dtype)
        steps = same @ (features.detach() - self.centers[labels]) / (1 + same.sum(dim=1, keepdim=True))
        self.centers[labels] += self.lr * steps
