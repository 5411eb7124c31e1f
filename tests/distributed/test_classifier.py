"""A sharded classifier learns the same as one that is not sharded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from faceclr_cli.core.losses import classification_head as classifier_module
from faceclr_cli.core.losses.classification_head import Classifier
from faceclr_cli.core.losses.global_batch import world_size
from tests.distributed import pool

BATCH, DIM, PEOPLE, STEPS = 8, 6, 21, 3
HEADS = ("softmax", "cosface", "adaface")
CASES = [
    f"{head}, {share}, {how}"
    for head in ("softmax", "cosface", "arcface", "adaface")
    for share in (1.0, 0.4)
    for how in ("whole", "sharded")
]
# Only the people of the batch, all of which belong to the first process.
CASES += [f"{head}, 0.01, {how}" for head in ("softmax", "cosface") for how in ("whole", "sharded")]
# With a cosine above which other people are left out. With random embeddings, this concerns a quarter of all scores.
CASES += [
    f"{head}-robust, {share}, {how}"
    for head, share in (("cosface", 1.0), ("arcface", 0.4))
    for how in ("whole", "sharded")
]
ROBUST = 0.3


class Task(nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = nn.Linear(DIM, DIM)
        self.classifier = classifier

    def forward(self, pictures: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> Any:
        return self.classifier(self.network(pictures), labels, 0.2, generator)


def train(case: str) -> dict[str, Any]:
    head, share, how = case.split(", ")
    head, _, robust = head.partition("-")
    torch.manual_seed(0)
    network = nn.Linear(DIM, DIM)
    rank, processes = world_size()
    classifier = Classifier(
        DIM,
        PEOPLE,
        head,  # type: ignore[arg-type]
        scale=4,
        share=float(share),
        sharded=how == "sharded" and processes > 1,
        robust=ROBUST if robust else None,
    )
    task = Task(classifier).double()
    task.network.load_state_dict(network.state_dict())
    module: nn.Module = task
    if processes > 1:
        alone = [f"classifier.{name}" for name, _ in classifier.named_parameters()] if classifier.sharded else []
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(task, alone)
        module = DistributedDataParallel(task)
    chance = torch.Generator().manual_seed(1)
    pictures = torch.randn(STEPS, BATCH, DIM, dtype=torch.float64, generator=chance)
    labels = torch.randint(0, PEOPLE if float(share) > 0.1 else PEOPLE // 3, (STEPS, BATCH), generator=chance)
    mine = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    seen: dict[str, Any] = {"losses": [], "accuracies": [], "gradients": [], "rows": []}
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        loss, metrics = module(pictures[step, mine], labels[step, mine], generator)
        task.zero_grad()
        loss.backward()
        seen["losses"].append(loss.detach())
        seen["accuracies"].append(metrics["accuracy"])
        seen["gradients"].append(torch.cat([p.grad.flatten() for p in task.network.parameters()]))
        seen["rows"].append(torch.cat([p.grad.view(len(p), -1) for p in classifier.parameters()], dim=1))
        with torch.no_grad():
            for parameter in task.parameters():
                parameter -= 0.5 * parameter.grad
    return seen


def unknown() -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(2)
    embeddings = 3 * torch.randn(40, DIM, dtype=torch.float64, generator=chance)
    return embeddings, torch.randint(0, PEOPLE, (40,), generator=chance)


def evaluate(head: str, *, sharded: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    classifier = Classifier(DIM, PEOPLE, head, scale=4, sharded=sharded).double()  # type: ignore[arg-type]
    if classifier.bias is not None:
        bias = torch.linspace(-1, 1, PEOPLE, dtype=torch.float64)
        classifier.bias.data.copy_(bias[classifier.first : classifier.first + len(classifier.weight)])
    places, loss = classifier.evaluate(*unknown())
    return {"places": places, "loss": loss, "weight": classifier.weight.detach()}


def imprint(head: str, *, sharded: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    classifier = Classifier(DIM, PEOPLE, head, scale=4, sharded=sharded).double()  # type: ignore[arg-type]
    before = classifier.weight.detach().clone()
    classifier.imprint(*unknown())
    return {"before": before, "weight": classifier.weight.detach()}


def train_and_evaluate() -> dict[str, Any]:
    # Several blocks; the last one is smaller.
    classifier_module._SCORES = 7 * PEOPLE
    evaluated = {f"evaluate {head}": evaluate(head, sharded=True) for head in HEADS}
    evaluated |= {f"imprint {head}": imprint(head, sharded=True) for head in HEADS}
    return evaluated | {case: train(case) for case in CASES}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return pool.run(train_and_evaluate, 2)


@pytest.mark.parametrize("case", CASES)
def test_processes_give_the_loss_and_gradients_of_one(ranks: list[dict[str, Any]], case: str) -> None:
    alone, found = train(case), [rank[case] for rank in ranks]
    close = {"rtol": 0, "atol": 1e-10}
    for step in range(STEPS):
        torch.testing.assert_close(sum(each["losses"][step] for each in found) / 2, alone["losses"][step], **close)
        mean = sum(each["accuracies"][step] for each in found) / 2
        torch.testing.assert_close(mean, alone["accuracies"][step], check_dtype=False)
        for each in found:
            torch.testing.assert_close(each["gradients"][step], alone["gradients"][step], **close)
        rows = [each["rows"][step] for each in found]
        whole = torch.cat(rows) if case.endswith("sharded") else rows[0]
        torch.testing.assert_close(whole, alone["rows"][step], **close)


@pytest.mark.parametrize("head", HEADS)
def test_people_are_ranked_among_those_of_all_processes(ranks: list[dict[str, Any]], head: str) -> None:
    alone, found = evaluate(head, sharded=False), [rank[f"evaluate {head}"] for rank in ranks]
    embeddings, labels = unknown()
    if head == "softmax":
        scores = F.linear(embeddings, alone["weight"], torch.linspace(-1, 1, PEOPLE, dtype=torch.float64))
    else:
        scores = 4 * F.cosine_similarity(embeddings[:, None], alone["weight"][None], dim=2)
    for each in [alone, *found]:
        torch.testing.assert_close(each["loss"], F.cross_entropy(scores, labels))
        for count in range(1, PEOPLE + 1):
            best = scores.topk(count, dim=1).indices
            assert torch.equal(each["places"] < count, (best == labels[:, None]).any(dim=1))
    assert len({len(each["weight"]) for each in found}) == 2  # The shares differ.


@pytest.mark.parametrize("head", HEADS)
def test_people_start_at_the_mean_direction_of_their_embeddings(ranks: list[dict[str, Any]], head: str) -> None:
    alone = imprint(head, sharded=False)
    embeddings, labels = unknown()
    assert len(labels.unique()) < PEOPLE
    length = 4 / embeddings.norm(dim=1).mean() if head == "softmax" else 1.0
    for person in range(PEOPLE):
        own = [
            embedding / embedding.norm() for embedding, label in zip(embeddings, labels, strict=True) if label == person
        ]
        mean = torch.stack(own).mean(0) if own else None
        expected = alone["before"][person] if mean is None else length * mean / mean.norm()
        torch.testing.assert_close(alone["weight"][person], expected)
    torch.testing.assert_close(torch.cat([rank[f"imprint {head}"]["weight"] for rank in ranks]), alone["weight"])


def slow_filtered_loss(
    embeddings: torch.Tensor, weight: torch.Tensor, labels: list[int], margin: float
) -> torch.Tensor:
    """CosFace, number by number, where a wrong class with a cosine above the limit is not in the softmax."""
    losses = []
    for embedding, label in zip(embeddings, labels, strict=True):
        cosines = [torch.dot(embedding, center) / embedding.norm() / center.norm() for center in weight]
        own = 4 * (cosines[label] - margin)
        others = [4 * cosine for j, cosine in enumerate(cosines) if j != label and cosine <= ROBUST]
        losses.append(torch.stack([own, *others]).exp().sum().log() - own)
    return torch.stack(losses).mean()


def test_classes_that_are_too_close_are_left_out_of_the_softmax() -> None:
    torch.manual_seed(3)
    filtered, whole = (Classifier(DIM, PEOPLE, "cosface", scale=4, robust=robust).double() for robust in (ROBUST, None))
    whole.load_state_dict(filtered.state_dict())
    embeddings, labels = unknown()
    embeddings.requires_grad_()
    loss, metrics = filtered(embeddings, labels, 0.2)
    expected = slow_filtered_loss(embeddings, filtered.weight, labels.tolist(), 0.2)
    torch.testing.assert_close(loss, expected)
    of = [embeddings, filtered.weight]
    torch.testing.assert_close(torch.autograd.grad(loss, of), torch.autograd.grad(expected, of))
    unfiltered, known = whole(embeddings, labels, 0.2)
    assert unfiltered > loss + 0.1
    assert metrics == known  # Accuracy counts everyone.


def test_nan_embeddings_rank_the_true_person_last() -> None:
    classifier = Classifier(DIM, PEOPLE, "cosface")
    embeddings = torch.full((2, DIM), torch.nan)
    places, loss = classifier.evaluate(embeddings, torch.tensor([0, 20]))
    assert (places >= PEOPLE).all()
    assert loss.isnan()


@pytest.mark.parametrize("head", HEADS)
def test_zero_embeddings_count_as_errors(head: str) -> None:
    classifier = Classifier(DIM, PEOPLE, head)  # type: ignore[arg-type]
    embeddings, labels = torch.zeros(3, DIM), torch.tensor([0, 7, 20])
    places, _ = classifier.evaluate(embeddings, labels)
    assert places.tolist() == [PEOPLE - 1] * 3
    assert classifier(embeddings, labels, margin=0.0)[1]["accuracy"] == 0


@pytest.mark.parametrize("head", ["softmax", "cosface", "arcface", "adaface"])
def test_the_collapsed_loss_is_the_loss_of_orthogonal_embeddings(head: str) -> None:
    classifier = Classifier(DIM, PEOPLE, head).eval()  # type: ignore[arg-type]
    if classifier.quality is not None:
        classifier.quality.mean.fill_(1e-3)  # So that a face with an unknown norm has mean quality.
    loss, _ = classifier(torch.zeros(PEOPLE, DIM), torch.arange(PEOPLE), margin=0.3)
    assert classifier.collapsed_loss(0.3) == pytest.approx(loss.item(), rel=1e-5)
