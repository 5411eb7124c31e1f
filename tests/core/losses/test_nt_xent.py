from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from faceclr_cli.core.losses.nt_xent import NTXent


def similarity(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def slow(
    first: Tensor,
    second: Tensor,
    temperature: float,
    *,
    margin: float = 0.0,
    decoupled: bool = False,
    groups: list[int] | None = None,
) -> Tensor:
    """SimCLR's algorithm 1, number by number: z_2k-1 and z_2k are the views of picture k.

    With the margin of USynthFace, equation 2, on the positive; or with DCL's equation 6, where the positive is not
    in the denominator. Other pictures of a group are not in the denominator either.
    """
    z = [view for pair in zip(first, second, strict=True) for view in pair]

    def exponential(i: int, j: int) -> Tensor:
        is_positive = i // 2 == j // 2
        return ((similarity(z[i], z[j]) - (margin if is_positive else 0)) / temperature).exp()

    def is_alike(i: int, k: int) -> bool:
        return groups is not None and groups[i // 2] == groups[k // 2] >= 0

    def loss(i: int, j: int) -> Tensor:
        chosen = [k for k in range(len(z)) if k != i and (k == j or not is_alike(i, k))]
        others = [exponential(i, k) for k in chosen if not (decoupled and k == j)]
        return -(exponential(i, j) / sum(others)).log()

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
    pictures = torch.arange(len(first)).repeat(2)
    library = SupConLoss(temperature=temperature)(torch.cat([first, second]), pictures)
    ours = torch.autograd.grad(loss, (first, second))
    for other in (slow(first, second, temperature), library):
        torch.testing.assert_close(loss, other)
        torch.testing.assert_close(ours, torch.autograd.grad(other, (first, second)))


@pytest.mark.parametrize("decoupled", [False, True])
def test_pictures_of_a_group_are_not_negatives_of_each_other(decoupled: bool) -> None:
    first, second = views()
    groups = [0, -1, 4, 0, -1, 4, 0]
    loss, metrics = NTXent(0.2, decoupled=decoupled)(first, second, torch.tensor(groups))
    other = slow(first, second, 0.2, decoupled=decoupled, groups=groups)
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(torch.autograd.grad(loss, (first, second)), torch.autograd.grad(other, (first, second)))
    plain, before = NTXent(0.2, decoupled=decoupled)(first, second)
    assert loss < plain and metrics["top1"] >= before["top1"]


def slow_groups(
    first: Tensor, second: Tensor, temperature: float, groups: list[int], margin: float, decoupled: bool
) -> Tensor:
    """SupCon, equation 2, number by number; the denominator of a positive holds it and the negatives."""
    z, owners = torch.cat([first, second]), [*range(len(first))] * 2
    anchors = []
    for i in range(len(z)):
        alike = [k for k in range(len(z)) if owners[k] == owners[i] or groups[owners[k]] == groups[owners[i]] >= 0]
        negatives = [(similarity(z[i], z[k]) / temperature).exp() for k in range(len(z)) if k not in alike]
        terms = []
        for k in alike:
            if k != i:
                own = ((similarity(z[i], z[k]) - margin) / temperature).exp()
                terms.append(-(own / (sum(negatives) + (0 if decoupled else own))).log())
        anchors.append(sum(terms) / len(terms))
    return sum(anchors[1:], anchors[0]) / len(anchors)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_pictures_of_a_group_may_be_positives_of_each_other(margin: float, decoupled: bool) -> None:
    first, second = views()
    groups = [0, -1, 4, 0, -1, 4, 0]
    module = NTXent(0.2, margin=margin, decoupled=decoupled)
    loss, metrics = module(first, second, torch.tensor(groups), attract=True)
    other = slow_groups(first, second, 0.2, groups, margin, decoupled)
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(torch.autograd.grad(loss, (first, second)), torch.autograd.grad(other, (first, second)))
    assert metrics == NTXent(0.2)(first, second, torch.tensor(groups))[1]


def test_without_groups_to_attract_the_loss_is_that_of_the_views() -> None:
    first, second = views()
    alone = torch.full((len(first),), -1)
    torch.testing.assert_close(NTXent(0.2)(first, second, alone, attract=True)[0], NTXent(0.2)(first, second)[0])


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.35])
def test_margin_and_decoupling_are_those_of_their_papers(margin: float, decoupled: bool) -> None:
    first, second = views()
    loss, _ = NTXent(0.2, margin=margin, decoupled=decoupled)(first, second)
    expected = slow(first, second, 0.2, margin=margin, decoupled=decoupled)
    torch.testing.assert_close(loss, expected)
    inputs = (first, second)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("decoupled", [False, True])
def test_gradients_are_those_of_small_differences(decoupled: bool) -> None:
    module = NTXent(0.3, margin=0.1, decoupled=decoupled)
    assert torch.autograd.gradcheck(lambda *pair: module(*pair)[0], views(3, 4))


def test_decoupled_gradients_do_not_vanish_for_similar_views() -> None:
    first, _ = (view.detach() for view in views(2, 16))
    strengths = {}
    for decoupled in (False, True):
        query = (first + 0.01 * first.roll(1, dims=0)).requires_grad_()
        loss, _ = NTXent(0.1, decoupled=decoupled)(query, first)
        strengths[decoupled] = float(torch.autograd.grad(loss, query)[0].norm())
    assert strengths[True] > 100 * strengths[False]


def test_a_collapsed_network_has_the_loss_of_guessing() -> None:
    same = torch.ones(8, 4)
    loss, metrics = NTXent(0.1)(same, same)
    assert loss.item() == pytest.approx(math.log(15), abs=1e-5)
    assert metrics["top1"] <= 1 / 8
    assert metrics["top5"] <= 5 / 8
    assert NTXent(0.1, decoupled=True)(same, same)[0].item() == pytest.approx(math.log(14), abs=1e-5)


def test_top1_is_the_share_of_views_whose_nearest_is_the_other_view() -> None:
    corners = torch.eye(4)
    assert NTXent(0.1)(corners, corners)[1]["top1"] == 1
    # Pictures 0 and 1 have each other's second view; 2 and 3 are right.
    assert NTXent(0.1)(corners, corners[[1, 0, 2, 3]])[1]["top1"] == 0.5


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_shares_of_nearest_views_are_counted_without_the_margin(margin: float, decoupled: bool) -> None:
    first, second = views(20, 5)
    metrics = NTXent(0.1, margin=margin, decoupled=decoupled)(first, second)[1]
    z, places = [*first.detach(), *second.detach()], []
    for i, anchor in enumerate(z):
        nearest = sorted((j for j in range(40) if j != i), key=lambda j, a=anchor: -float(similarity(a, z[j])))
        places.append(nearest.index((i + 20) % 40))
    assert 0 < sum(place < 1 for place in places) < sum(place < 5 for place in places) < 40
    assert metrics["top1"].item() == pytest.approx(sum(place < 1 for place in places) / 40)
    assert metrics["top5"].item() == pytest.approx(sum(place < 5 for place in places) / 40)


def test_among_five_candidates_the_other_view_is_always_one_of_the_five_nearest() -> None:
    first, second = views(3)
    assert NTXent(0.1)(first, -second)[1] == {"top1": 0, "top5": 1}


def test_autocast_does_not_lower_the_precision() -> None:
    first, second = (view.detach().bfloat16().float() for view in views(32, 16))
    expected, _ = NTXent(0.05, margin=0.1)(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = NTXent(0.05, margin=0.1)(first.bfloat16(), second.bfloat16())
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
