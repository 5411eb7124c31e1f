"""N processes give the loss and the gradients of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceclr_cli.core.encoders.heads import GlobalBatchNorm
from faceclr_cli.core.losses.center import CenterLoss
from faceclr_cli.core.losses.gather import gather, gather_labels, world
from faceclr_cli.core.losses.nt_xent import NTXent
from faceclr_cli.core.losses.triplet import TripletLoss
from tests.distributed import pool

BATCH, INPUTS, DIM, STEPS = 16, 6, 5, 2
PEOPLE = {
    # Whole people on each process, as people_batches and share deal them.
    "dealt": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7],
    # People spread over processes, some of whom have no anchor with a positive at all.
    "uneven": [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 2, 8, 8, 9, 9],
    "one person": [3] * 16,
    "all different": list(range(16)),
}
MINING = ("batch-hard", "semi-hard", "batch-all")
TRIPLETS = [f"{mining}, {people}" for mining in MINING for people in PEOPLE]
CASES = ["nt-xent", "nt-xent, batch norm", "center", *TRIPLETS]


class Task(nn.Module):
    """A linear network and a loss as one module, which is what DDP wraps."""

    def __init__(self, loss: nn.Module, *, batch_norm: bool) -> None:
        super().__init__()
        norm = GlobalBatchNorm(DIM) if batch_norm else nn.Identity()
        self.network = nn.Sequential(nn.Linear(INPUTS, DIM), norm)
        self.loss = loss

    def forward(self, pictures: Tensor, others: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if isinstance(self.loss, NTXent):
            others = self.network(others)
        return self.loss(self.network(pictures), others)


def make(case: str) -> tuple[nn.Module, Tensor]:
    """The loss, and its second argument for the whole batch."""
    if case.startswith("nt-xent"):
        return NTXent(0.2), torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    if case == "center":
        return CenterLoss(people=10, dim=DIM, lr=0.5), torch.tensor(PEOPLE["uneven"]).repeat(STEPS, 1)
    mining, people = case.split(", ")
    return TripletLoss(0.3, mining), torch.tensor(PEOPLE[people]).repeat(STEPS, 1)


def train(case: str) -> dict[str, Any]:
    """A few steps on this process's share of each batch: losses, metrics, gradients and state."""
    torch.manual_seed(0)
    loss, others = make(case)
    task = Task(loss, batch_norm=case.endswith("batch norm")).double()
    pictures = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    rank, processes = world()
    mine = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    module = task if processes == 1 else DistributedDataParallel(task)
    seen: dict[str, Any] = {"losses": [], "gradients": []}
    for step in range(STEPS):
        value, metrics = module(pictures[step, mine], others[step, mine])
        task.zero_grad()
        value.backward()
        seen["losses"].append(value.detach())
        seen["gradients"].append(task.network[0].weight.grad.clone())
        seen.setdefault("metrics", []).append(torch.stack([*metrics.values()]))
    return seen | {"state": task.state_dict()}


def train_all() -> dict[str, Any]:
    return {case: train(case) for case in CASES} | {"gathered": exercise_gather()}


def exercise_gather() -> list[Tensor]:
    rank, _ = world()
    x = torch.full((2, 1), float(rank + 1), requires_grad=True)
    everyone = gather(x)
    weights = torch.arange(len(everyone), dtype=torch.float32)[:, None] * (rank + 1)
    (everyone * weights).sum().backward()
    return [everyone.detach(), x.grad, gather_labels(torch.tensor([rank]))]


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


def test_batches_compared_are_no_trivial_ones() -> None:
    for case in CASES:
        trivial = case.endswith(("one person", "all different"))
        assert bool((train(case)["gradients"][0] == 0).all()) == trivial, case


def test_gathered_tensors_come_in_the_order_of_ranks_with_summed_gradients(ranks: list[dict[str, Any]]) -> None:
    for rank, seen in enumerate(ranks):
        everyone, gradient, labels = seen["gathered"]
        assert everyone[:, 0].tolist() == [float(r + 1) for r in range(len(ranks)) for _ in range(2)]
        weight = sum(r + 1 for r in range(len(ranks)))
        assert gradient[:, 0].tolist() == [2 * rank * weight, (2 * rank + 1) * weight]
        assert labels.tolist() == list(range(len(ranks)))
