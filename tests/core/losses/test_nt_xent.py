from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from faceclr_cli.core.losses.nt_xent import NTXent


def equation_1(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """The paper's algorithm 1, number by number: z_2k-1 and z_2k are the views of picture k."""
    z = [view for pair in zip(first, second, strict=True) for view in pair]

    def similarity(i: int, j: int) -> Tensor:
        return z[i] @ z[j] / (z[i].norm() * z[j].norm())

    def loss(i: int, j: int) -> Tensor:
        others = [(similarity(i, k) / temperature).exp() for k in range(len(z)) if k != i]
        return -((similarity(i, j) / temperature).exp() / sum(others)).log()

    terms = [loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(len(first))]
    return sum(terms[1:], terms[0]) / len(z)


def views(n: int = 7, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(n, dim, dtype=torch.float64, generator=generator)
    second = first + torch.randn(n, dim, dtype=torch.float64, generator=generator)
    return first.requires_grad_(), second.requires_grad_()


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5, 1.0])
def test_loss_and_gradients_are_those_of_the_paper_and_of_another_library(temperature: float) -> None:
    first, second = views()
    loss, _ = NTXent(temperature)(first, second)
    slow = equation_1(first, second, temperature)
    pictures = torch.arange(len(first)).repeat(2)
    library = SupConLoss(temperature=temperature)(torch.cat([first, second]), pictures)
    ours = torch.autograd.grad(loss, (first, second))
    for other in (slow, library):
        torch.testing.assert_close(loss, other)
        torch.testing.assert_close(ours, torch.autograd.grad(other, (first, second)))


def test_a_collapsed_network_has_the_loss_of_guessing() -> None:
    same = torch.ones(8, 4)
    loss, metrics = NTXent(0.1)(same, same)
    assert loss.item() == pytest.approx(math.log(15), abs=1e-5)
    assert metrics["top1"] <= 1 / 8


def test_top1_is_the_share_of_views_whose_nearest_is_the_other_view() -> None:
    corners = torch.eye(4)
    assert NTXent(0.1)(corners, corners)[1]["top1"] == 1
    # Pictures 0 and 1 have each other's second view; 2 and 3 are right.
    assert NTXent(0.1)(corners, corners[[1, 0, 2, 3]])[1]["top1"] == 0.5


def test_autocast_does_not_lower_the_precision() -> None:
    first, second = (view.detach().bfloat16().float() for view in views(32, 16))
    expected, _ = NTXent(0.05)(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = NTXent(0.05)(first.bfloat16(), second.bfloat16())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


def test_length_of_embeddings_does_not_matter_even_where_it_is_zero() -> None:
    first, second = views()
    torch.testing.assert_close(NTXent(0.1)(first * 1000, second / 1000)[0], NTXent(0.1)(first, second)[0])
    nothing = torch.zeros(3, 4, requires_grad=True)
    loss, _ = NTXent(0.1)(nothing, nothing)
    loss.backward()
    assert nothing.grad is not None and nothing.grad.isfinite().all()


def test_views_that_differ_in_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="two views"):
        NTXent(0.1)(torch.zeros(3, 4), torch.zeros(2, 4))
