"""N processes give the loss and the gradients of one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.losses import nt_xent
from faceclr_cli.core.losses.center_loss import CenterLoss
from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels, world_size
from faceclr_cli.core.losses.moco_queue import QueueContrast
from faceclr_cli.core.losses.nt_xent import NTXent, nearest_shares
from faceclr_cli.core.losses.triplet_loss import TripletLoss
from tests.distributed import pool

# With fewer dimensions, ReLUs leave several pictures with the same features, and what is nearest is up to rounding.
BATCH, INPUTS, DIM, STEPS = 16, 6, 12, 3
PEOPLE = {
    # Whole people on each process, as people_batches and share deal them.
    "dealt": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7],
    # People spread over processes, some of which have no anchor with a positive.
    "uneven": [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 2, 8, 8, 9, 9],
    "one person": [3] * 16,
    "all different": list(range(16)),
}
MINING = ("batch-hard", "semi-hard", "batch-all")
TRIPLETS = [f"{mining}, {people}" for mining in MINING for people in PEOPLE]
CONTRASTS = {
    "plain": {"margin": 0.0, "decoupled": False},
    "margin": {"margin": 0.2, "decoupled": False},
    "decoupled": {"margin": 0.0, "decoupled": True},
}
CONTRASTIVE = [f"nt-xent, {kind}, {layers}" for kind in CONTRASTS for layers in (0, 2, 3)]
CONTRASTIVE += ["nt-xent, plain, 2, groups", "nt-xent, plain, 2, attracting groups"]
CONTRASTIVE += ["queue, plain, 2", "queue, margin, 0", "queue, decoupled, 3"]
CASES = ["center", *TRIPLETS, *CONTRASTIVE]


class Task(nn.Module):
    """A small network and a loss as one module, which is what DDP wraps."""

    def __init__(self, loss: nn.Module, layers: int, attract: bool) -> None:
        super().__init__()
        self.attract = attract
        self.network = nn.Sequential(nn.Linear(INPUTS, DIM), projection_head(DIM, DIM, layers))
        self.loss = loss
        if isinstance(loss, QueueContrast):
            self.slow_network = copy.deepcopy(self.network).requires_grad_(False)

    def forward(self, pictures: Tensor, *others: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if isinstance(self.loss, NTXent):
            return self.loss(self.network(pictures), self.network(others[0]), *others[1:], attract=self.attract)
        if isinstance(self.loss, QueueContrast):
            return self.loss(self.network(pictures), self.slow_network(others[0]), others[1])
        return self.loss(self.network(pictures), others[0])

    @torch.no_grad()
    def descend(self) -> None:
        for parameter in self.network.parameters():
            parameter -= 0.3 * parameter.grad
        if isinstance(self.loss, QueueContrast):
            for slow, fast in zip(self.slow_network.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 0.5)


def make(case: str) -> tuple[nn.Module, list[Tensor]]:
    """The loss, and its further arguments for the whole batch of each step."""
    if case == "center":
        return CenterLoss(people=10, dim=DIM, lr=0.5), [torch.tensor(PEOPLE["uneven"]).repeat(STEPS, 1)]
    if case in TRIPLETS:
        mining, people = case.split(", ")
        return TripletLoss(0.3, mining), [torch.tensor(PEOPLE[people]).repeat(STEPS, 1)]
    views = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    name, kind, _, *groups = case.split(", ")
    if groups:
        return NTXent(0.2), [views, torch.tensor(PEOPLE["uneven"]).repeat(STEPS, 1) - 2]
    if name == "nt-xent":
        return NTXent(0.2, **CONTRASTS[kind]), [views]
    # A queue that batches don't divide, and pictures that come again while their older keys are in it.
    return QueueContrast(DIM, 25, 0.2, **CONTRASTS[kind]), [views, torch.arange(STEPS * BATCH).view(STEPS, -1) % 20]


def train(case: str) -> dict[str, Any]:
    """A few steps on this process's share of each batch: losses, metrics, gradients and state."""
    torch.manual_seed(0)
    loss, others = make(case)
    task = Task(loss, int(case.split(", ")[2]) if case in CONTRASTIVE else 0, "attracting" in case).double()
    pictures = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    rank, processes = world_size()
    mine = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    module = task if processes == 1 else DistributedDataParallel(task)
    seen: dict[str, Any] = {"losses": [], "gradients": [], "metrics": []}
    for step in range(STEPS):
        value, metrics = module(pictures[step, mine], *(other[step, mine] for other in others))
        task.zero_grad()
        value.backward()
        seen["losses"].append(value.detach())
        seen["gradients"].append(torch.cat([p.grad.flatten() for p in task.network.parameters()]))
        seen["metrics"].append(torch.stack([*metrics.values()]))
        task.descend()
    return seen | {"state": task.state_dict()}


def train_all() -> dict[str, Any]:
    return {case: train(case) for case in CASES} | {"gathered": exercise_gather()}


def exercise_gather() -> list[Tensor]:
    rank, _ = world_size()
    x = torch.full((2, 1), float(rank + 1), requires_grad=True)
    everyone = all_gather(x)
    weights = torch.arange(len(everyone), dtype=torch.float32)[:, None] * (rank + 1)
    (everyone * weights).sum().backward()
    return [everyone.detach(), x.grad, all_gather_labels(torch.tensor([rank]))]


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return pool.run(train_all, request.param)


@pytest.mark.parametrize("case", CASES)
def test_processes_give_the_loss_and_gradients_of_one(ranks: list[dict[str, Any]], case: str) -> None:
    alone = train(case)
    for step in range(STEPS):
        losses = torch.stack([rank[case]["losses"][step] for rank in ranks])
        torch.testing.assert_close(losses.mean(), alone["losses"][step], rtol=0, atol=1e-10)
        metrics = torch.stack([rank[case]["metrics"][step] for rank in ranks])
        torch.testing.assert_close(metrics.mean(dim=0), alone["metrics"][step], check_dtype=False)
        for rank in ranks:
            torch.testing.assert_close(rank[case]["gradients"][step], alone["gradients"][step], rtol=0, atol=1e-10)
    for rank in ranks:
        torch.testing.assert_close(rank[case]["state"], dict(alone["state"]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", CONTRASTIVE)
def test_ranks_do_not_depend_on_rounding(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors round differently, so a near tie would be decided by the machine that the test runs on."""
    gaps = []

    def looking(logits: Tensor, own: Tensor) -> dict[str, Tensor]:
        gaps.append((logits - logits.gather(1, own)).abs().scatter(1, own, torch.inf).min().item())
        return nearest_shares(logits, own)

    monkeypatch.setattr(nt_xent, "nearest_shares", looking)
    train(case)
    assert len(gaps) == STEPS and min(gaps) > 1e-6


def test_batches_are_not_trivial() -> None:
    for case in CASES:
        trivial = case.endswith(("one person", "all different"))
        assert bool((train(case)["gradients"][0] == 0).all()) == trivial, case


def test_gathered_tensors_are_in_the_order_of_ranks_with_summed_gradients(ranks: list[dict[str, Any]]) -> None:
    for rank, seen in enumerate(ranks):
        everyone, gradient, labels = seen["gathered"]
        assert everyone[:, 0].tolist() == [float(r + 1) for r in range(len(ranks)) for _ in range(2)]
        weight = sum(r + 1 for r in range(len(ranks)))
        assert gradient[:, 0].tolist() == [2 * rank * weight, (2 * rank + 1) * weight]
        assert labels.tolist() == list(range(len(ranks)))
