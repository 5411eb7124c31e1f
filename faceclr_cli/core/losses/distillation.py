"""The loss of a student that learns to embed as a teacher does."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels


class DistillationLoss(nn.Module):
    """Cosine distance to the teacher's embeddings, and the mean squared error of the similarities between faces.

    The second term is relational knowledge distillation (Park et al. 2019, arXiv 1904.05068) on cosines: what
    verification compares are similarities, not directions. It sees the global batch. It is the same for all rotations
    of the student's embeddings, so a large weight lets the student converge to a space that is rotated against
    the teacher's, and the first term barely reverses this rotation.

    Args:
        relation: Weight of the second term.
    """

    def __init__(self, relation: float) -> None:
        super().__init__()
        self.relation = relation

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of a batch.

        Args:
            student: Embeddings, not normalized. Shape: (B, D).
            teacher: The teacher's embeddings, L2-normalized. Shape: (B, D).

        Returns:
            The loss, and the mean cosine between student and teacher as `teacher_cosine`.
        """
        student = F.normalize(student.float(), dim=1)
        cosine = (student * teacher).sum(dim=1).mean()
        loss = 1 - cosine
        if self.relation:
            similar = student @ all_gather(student).T
            wanted = teacher @ all_gather_labels(teacher).T
            loss = loss + self.relation * (similar - wanted).square().mean()
        return loss, {"teacher_cosine": cosine.detach()}
