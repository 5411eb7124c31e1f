from __future__ import annotations

import math

import torch

from faceclr_cli.core.losses.distillation import DistillationLoss


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def test_the_loss_is_that_of_the_paper_term_by_term() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 3, generator=generator), unit(torch.randn(5, 3, generator=generator))
    loss, metrics = DistillationLoss(relation=0.5)(student, teacher)
    rows = unit(student).tolist()
    wanted = teacher.tolist()
    direct = (
        sum(sum(a * b for a, b in zip(one, other, strict=True)) for one, other in zip(rows, wanted, strict=True)) / 5
    )
    relation = 0.0
    for i in range(5):
        for j in range(5):
            own = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            theirs = sum(a * b for a, b in zip(wanted[i], wanted[j], strict=True))
            relation += (own - theirs) ** 2
    assert math.isclose(float(loss), 1 - direct + 0.5 * relation / 25, rel_tol=1e-5)
    assert math.isclose(float(metrics["teacher_cosine"]), direct, rel_tol=1e-5)


def test_a_student_that_agrees_has_no_loss_whatever_its_norm() -> None:
    teacher = unit(torch.randn(4, 6, generator=torch.Generator().manual_seed(1)))
    loss, _ = DistillationLoss(relation=2.0)(7 * teacher, teacher)
    assert abs(float(loss)) < 1e-5
