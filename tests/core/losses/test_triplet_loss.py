from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer
from torch import Tensor

from faceclr_cli.core.losses.triplet_loss import Distance, Mining, TripletLoss, choose_triplets

MINING: list[Mining] = ["batch-hard", "semi-hard", "batch-all"]
SQUARED = LpDistance(normalize_embeddings=True, p=2, power=2)


def batch(seed: int = 0, people: int = 6, pictures: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(people).repeat_interleave(pictures)
    centers = torch.randn(people, 3, dtype=torch.float64, generator=generator)
    noise = torch.randn(len(labels), 3, dtype=torch.float64, generator=generator)
    return (centers[labels] + 0.5 * noise).requires_grad_(), labels


def slow_triplets(embeddings: Tensor, labels: Tensor, mining: Mining) -> set[tuple[int, int, int]]:
    """The definitions of the docstring, in plain Python."""
    x = [e / e.norm() for e in embeddings.detach()]
    d = [[float((a - b).square().sum()) for b in x] for a in x]
    found = set()
    for a in range(len(x)):
        positives = [i for i in range(len(x)) if labels[i] == labels[a] and i != a]
        negatives = [i for i in range(len(x)) if labels[i] != labels[a]]
        if not positives or not negatives:
            continue
        if mining == "batch-hard":
            found.add((a, max(positives, key=lambda i: d[a][i]), min(negatives, key=lambda i: d[a][i])))
            continue
        for p in positives:
            farther = [n for n in negatives if d[a][n] > d[a][p]]
            if mining == "batch-all":
                found |= {(a, p, n) for n in negatives}
            elif farther:
                found.add((a, p, min(farther, key=lambda i: d[a][i])))
            else:
                found.add((a, p, max(negatives, key=lambda i: d[a][i])))
    return found


def ours(embeddings: Tensor, labels: Tensor, mining: Mining) -> tuple[Tensor, Tensor, Tensor]:
    distances = SQUARED(embeddings.detach())
    return choose_triplets(distances, labels[:, None] == labels, 0, mining)


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_triplets_are_those_of_the_definition(mining: Mining, seed: int) -> None:
    embeddings, labels = batch(seed)
    labels[5] = 17  # A person with a single picture.
    chosen = list(zip(*(column.tolist() for column in ours(embeddings, labels, mining)), strict=True))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) == slow_triplets(embeddings, labels, mining)


@pytest.mark.parametrize("mining", MINING)
def test_loss_and_gradients_are_those_of_another_library(mining: Mining) -> None:
    embeddings, labels = batch()
    loss, metrics = TripletLoss(0.2, mining)(embeddings, labels)
    reducer = MeanReducer() if mining == "batch-hard" else AvgNonZeroReducer()
    library = TripletMarginLoss(margin=0.2, distance=SQUARED, reducer=reducer)
    triplets = ours(embeddings, labels, mining)
    if mining == "batch-hard":
        triplets = BatchHardMiner(distance=SQUARED)(embeddings, labels)
    expected = library(embeddings, labels, None if mining == "batch-all" else triplets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, embeddings), torch.autograd.grad(expected, embeddings))
    assert 0 < metrics["active"] < 1


def test_semi_hard_is_the_hardest_of_the_other_librarys_semi_hard_triplets() -> None:
    embeddings, labels = batch(4)
    margin = 0.4
    distances = SQUARED(embeddings.detach())
    theirs: dict[tuple[int, int], int] = {}
    miner = TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=SQUARED)
    for a, p, n in zip(*(column.tolist() for column in miner(embeddings, labels)), strict=True):
        best = theirs.get((a, p))
        if best is None or distances[a, n] < distances[a, best]:
            theirs[a, p] = n
    chosen = {(a, p): n for a, p, n in zip(*(c.tolist() for c in ours(embeddings, labels, "semi-hard")), strict=True)}
    assert len(theirs) > 10
    assert {pair: chosen[pair] for pair in theirs} == theirs


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("labels", [[1, 1, 1], [1, 2, 3]])
def test_a_batch_without_triplets_has_zero_loss_and_zero_gradients(mining: Mining, labels: list[int]) -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    loss, metrics = TripletLoss(0.2, mining)(embeddings, torch.tensor(labels))
    loss.backward()
    assert loss == 0 and metrics["active"] == 0
    assert embeddings.grad is not None and (embeddings.grad == 0).all()


@pytest.mark.parametrize("mining", MINING)
def test_equal_embeddings_cost_the_margin_and_give_finite_gradients(mining: Mining) -> None:
    embeddings = torch.ones(8, 4, requires_grad=True)
    loss, metrics = TripletLoss(0.2, mining)(embeddings, torch.arange(4).repeat_interleave(2))
    loss.backward()
    assert loss.item() == pytest.approx(0.2, abs=1e-5)
    assert metrics["active"] == 1
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision() -> None:
    embeddings, labels = batch()
    half = embeddings.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = TripletLoss(0.2, "batch-all")(half, labels)
    torch.testing.assert_close(loss, TripletLoss(0.2, "batch-all")(half.float(), labels)[0])


@pytest.mark.parametrize("margin", [0.2, None])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_listed_triplets_cost_what_another_library_says(distance: Distance, margin: float | None) -> None:
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(21, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    loss, metrics = TripletLoss(margin, distance=distance).from_triplets(embeddings)
    places = torch.arange(21).view(7, 3)
    library = TripletMarginLoss(
        margin=margin or 0.0,
        distance=SQUARED if distance == "euclidean" else CosineSimilarity(),
        reducer=AvgNonZeroReducer() if margin else MeanReducer(),
        smooth_loss=margin is None,
    )
    expected = library(embeddings, torch.arange(21), tuple(places.unbind(dim=1)))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, embeddings), torch.autograd.grad(expected, embeddings))
    assert 0 < metrics["active"] < 1


@pytest.mark.parametrize("mining", MINING)
def test_a_soft_margin_counts_every_triplet(mining: Mining) -> None:
    embeddings, labels = batch()
    loss, _ = TripletLoss(None, mining)(embeddings, labels)
    library = TripletMarginLoss(margin=0.0, distance=SQUARED, reducer=MeanReducer(), smooth_loss=True)
    expected = library(embeddings, labels, ours(embeddings, labels, mining))
    torch.testing.assert_close(loss, expected)
