from __future__ import annotations

import torch
from torch import Tensor

from faceclr_cli.core.losses.center_loss import CenterLoss


def algorithm_1(x: Tensor, y: list[int], centers: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """Wen et al., equations 2 to 4, number by number: the loss (averaged over the batch) and the new centers."""
    m = len(x)
    loss = sum((x[i] - centers[y[i]]).norm() ** 2 for i in range(m)) / 2 / m
    moved = centers.clone()
    for j in range(len(centers)):
        above = sum((centers[j] - x[i].detach() for i in range(m) if y[i] == j), torch.zeros_like(centers[j]))
        below = 1 + sum(1 for i in range(m) if y[i] == j)
        moved[j] = centers[j] - lr * above / below
    return loss, moved


def test_loss_gradients_and_centers_are_those_of_the_paper_step_by_step() -> None:
    generator = torch.Generator().manual_seed(0)
    loss = CenterLoss(people=5, dim=3, lr=0.5).double()
    centers = torch.zeros(5, 3, dtype=torch.float64)
    for _ in range(4):
        x = torch.randn(7, 3, dtype=torch.float64, generator=generator).requires_grad_()
        y = torch.randint(0, 4, (7,), generator=generator)  # The last person has no picture.
        value, metrics = loss(x, y)
        expected, centers = algorithm_1(x, y.tolist(), centers, 0.5)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(expected, x))
        torch.testing.assert_close(loss.state_dict()["centers"], centers)
        assert metrics["center"] == value


def test_centers_are_buffers_and_fixed_in_evaluation_mode() -> None:
    loss = CenterLoss(people=2, dim=3, lr=0.5).eval()
    loss(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))
    assert (loss.centers == 0).all()
    assert not list(loss.parameters())


def test_centers_approach_the_means_of_their_people() -> None:
    loss = CenterLoss(people=2, dim=2, lr=0.5)
    x, y = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, -4.0]]), torch.tensor([0, 0, 1])
    for _ in range(60):
        loss(x, y)
    torch.testing.assert_close(loss.centers, torch.tensor([[2.0, 0.0], [0.0, -4.0]]), atol=1e-3, rtol=0)


def test_half_precision_features_are_measured_in_single_precision() -> None:
    loss = CenterLoss(people=1, dim=64, lr=0.5)
    x = torch.full((8, 64), 3.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = loss(x, torch.zeros(8, dtype=torch.int64))
    assert value.dtype == torch.float32 and value == 288
