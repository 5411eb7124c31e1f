from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from faceclr_cli.core.losses.moco_queue import QueueContrast
from faceclr_cli.core.losses.nt_xent import NTXent


class SlowQueue:
    """MoCo's algorithm 1 with plain lists: a queue of (picture, key), the newest last."""

    def __init__(self, length: int, temperature: float, margin: float, decoupled: bool) -> None:
        self.length, self.temperature, self.margin, self.decoupled = length, temperature, margin, decoupled
        self.queue: list[tuple[int, Tensor]] = []

    def loss(self, queries: Tensor, keys: Tensor, pictures: list[int]) -> tuple[Tensor, float, float]:
        keys = torch.stack([key / key.norm() for key in keys.detach()])
        self.queue = (self.queue + list(zip(pictures, keys, strict=True)))[-self.length :]
        terms, places = [], []
        for query, key, picture in zip(queries, keys, pictures, strict=True):
            query = query / query.norm()
            positive = (query @ key - self.margin) / self.temperature
            negatives = [query @ other / self.temperature for owner, other in self.queue if owner != picture]
            candidates = negatives if self.decoupled else [positive, *negatives]
            terms.append(-(positive.exp() / sum(candidate.exp() for candidate in candidates)).log())
            places.append(sum(bool(negative > query @ key / self.temperature) for negative in negatives))
        top1, top5 = (sum(place < k for place in places) / len(places) for k in (1, 5))
        return sum(terms[1:], terms[0]) / len(terms), top1, top5


def batch(seed: int, n: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(n, dim, dtype=torch.float64, generator=generator)
    keys = queries + torch.randn(n, dim, dtype=torch.float64, generator=generator)
    return queries.requires_grad_(), keys.requires_grad_()


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_loss_and_gradients_are_those_of_the_paper_step_by_step(margin: float, decoupled: bool) -> None:
    module = QueueContrast(4, 16, 0.2, margin=margin, decoupled=decoupled).double()
    paper = SlowQueue(16, 0.2, margin, decoupled)
    # Nine pictures in batches of six: they come again while their older keys are still in a queue of 16, which
    # the batches don't divide.
    for step in range(7):
        pictures = [(6 * step + place) % 9 for place in range(6)]
        queries, keys = batch(step)
        loss, metrics = module(queries, keys, torch.tensor(pictures))
        expected, top1, top5 = paper.loss(queries, keys, pictures)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, queries), torch.autograd.grad(expected, queries))
        assert [metrics["top1"].item(), metrics["top5"].item()] == pytest.approx([top1, top5])


def test_the_queue_forgets_its_oldest_keys_first() -> None:
    module = QueueContrast(2, 5, 0.1)
    assert module.owners.tolist() == [-1] * 5
    directions = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    for step, (owners, place) in enumerate([([0, 1, -1, -1, -1], 2), ([0, 1, 2, 3, -1], 4), ([5, 1, 2, 3, 4], 1)]):
        module(directions, directions, torch.tensor([2 * step, 2 * step + 1]))
        assert (module.owners.tolist(), module.place.item()) == (owners, place)
    torch.testing.assert_close(module.keys, torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0], [1.0, 0], [0, 1.0]]))


def test_other_keys_of_a_picture_are_not_negatives() -> None:
    module = QueueContrast(3, 8, 0.1)
    away, here = torch.eye(3)[:1], torch.eye(3)[1:2]
    module(away, away, torch.tensor([0]))
    loss, metrics = module(here, here, torch.tensor([0]))  # The queue holds two keys, both of picture 0.
    assert (loss, metrics["top1"]) == (0, 1)
    loss, _ = module(here, here, torch.tensor([1]))  # Now they are of another, and one is as near as the own key.
    assert loss.item() == pytest.approx(math.log(2 + math.exp(-10)))


def test_with_a_new_queue_it_is_nt_xent_with_the_keys_of_the_batch_alone() -> None:
    # Queries are compared with keys alone, so these are given orthogonal queries and NT-Xent's other half is known.
    queries, keys = torch.eye(4), torch.eye(4)
    loss, _ = QueueContrast(4, 32, 0.5)(queries, keys, torch.arange(4))
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))
    assert NTXent(0.5)(queries, keys)[0].item() == pytest.approx(math.log(1 + 6 * math.exp(-2)))


def test_keys_get_no_gradient() -> None:
    queries, keys = batch(0)
    loss, _ = QueueContrast(4, 16, 0.2)(queries, keys, torch.arange(6))
    loss.backward()
    assert queries.grad is not None and queries.grad.abs().sum() > 0
    assert keys.grad is None


@pytest.mark.parametrize("decoupled", [False, True])
def test_gradients_are_those_of_small_differences(decoupled: bool) -> None:
    queries, keys = batch(1, 3)

    def loss(queries: Tensor) -> Tensor:
        module = QueueContrast(4, 5, 0.3, margin=0.1, decoupled=decoupled).double()
        value: Tensor = module(queries, keys, torch.arange(3))[0]
        return value

    assert torch.autograd.gradcheck(loss, queries)


def test_autocast_does_not_lower_the_precision() -> None:
    queries, keys = (view.detach().bfloat16().float() for view in batch(0, 32, 16))
    expected, _ = QueueContrast(16, 64, 0.05)(queries, keys, torch.arange(32))
    module = QueueContrast(16, 64, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = module(queries.bfloat16(), keys.bfloat16(), torch.arange(32))
    assert loss.dtype == module.keys.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


def test_a_restored_queue_continues() -> None:
    module, other = QueueContrast(4, 8, 0.2).double(), QueueContrast(4, 8, 0.2).double()
    module(*batch(0), torch.arange(6))
    other.load_state_dict(module.state_dict())
    pictures = torch.arange(6, 12)
    assert module(*batch(1), pictures)[0] == other(*batch(1), pictures)[0]


def test_a_batch_longer_than_the_queue_is_refused_and_so_are_shapes_that_differ() -> None:
    module = QueueContrast(4, 5, 0.2)
    with pytest.raises(ValueError, match="a queue of 5 cannot hold the 6 keys"):
        module(torch.ones(6, 4), torch.ones(6, 4), torch.arange(6))
    for queries, keys, pictures in ((3, 2, 3), (3, 3, 2)):
        with pytest.raises(ValueError, match="do not match"):
            module(torch.ones(queries, 4), torch.ones(keys, 4), torch.arange(pictures))
    with pytest.raises(ValueError, match="do not match"):
        module(torch.ones(3, 2), torch.ones(3, 2), torch.arange(3))
