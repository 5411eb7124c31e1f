"""Gradients that DDP does not average: three processes have different shares of a parameter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from faceclr_cli.core.losses.global_batch import world_size
from faceclr_cli.core.losses.parameter_shards import gather_rows, own_rows
from faceclr_cli.core.training.optimizer import average_gradients, clip_gradient
from tests.distributed import pool

PEOPLE, LENGTHS = 7, (0.5, 1e3)


class Model(nn.Module):
    """Three parameters: one that all have, one that is divided, one that does not learn."""

    def __init__(self, rows: slice) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(3, 2))
        self.divided = nn.Parameter(torch.zeros(rows.stop - rows.start, 4))
        self.frozen = nn.Parameter(torch.zeros(5))
        chance = torch.Generator().manual_seed(0)
        self.shared.grad = torch.randn(3, 2, generator=chance)
        self.divided.grad = torch.randn(PEOPLE, 4, generator=chance)[rows].clone()

    def gradients(self) -> list[torch.Tensor]:
        assert self.frozen.grad is None
        return [gradient for gradient in (self.shared.grad, self.divided.grad) if gradient is not None]


def clipped() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for longest in LENGTHS:
        model = Model(own_rows(PEOPLE))
        norm = clip_gradient(model, {"divided"}, longest)
        found[str(longest)] = [norm, *model.gradients()]
    model = Model(own_rows(PEOPLE))
    shared, divided = model.gradients()
    before = divided.clone()
    shared *= world_size()[0]
    average_gradients(model, {"divided"})
    found["average"], found["own"] = shared, torch.equal(before, divided)
    vector, matrix = torch.arange(PEOPLE), torch.arange(4 * PEOPLE).view(PEOPLE, 4).float()
    found["whole"] = [gather_rows(vector[own_rows(PEOPLE)]), gather_rows(matrix[own_rows(PEOPLE)])]
    return found


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return pool.run(clipped, 3)


@pytest.mark.parametrize("longest", LENGTHS)
def test_the_gradient_is_as_long_as_that_of_one_process_with_all_rows(
    ranks: list[dict[str, Any]], longest: float
) -> None:
    model = Model(slice(0, PEOPLE))
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
    shared, divided = model.gradients()
    found = [each[str(longest)] for each in ranks]
    torch.testing.assert_close(found[0][0], norm)
    torch.testing.assert_close(found[0][1], shared)
    torch.testing.assert_close(torch.cat([each[2] for each in found]), divided)
    # If they differed in a single bit, the processes would diverge.
    assert all(torch.equal(each[place], found[0][place]) for each in found for place in (0, 1))


def test_alone_it_is_torch_that_clips() -> None:
    here, there = Model(slice(0, PEOPLE)), Model(slice(0, PEOPLE))
    norm = clip_gradient(here, set(), 0.5)
    assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(there.parameters(), 0.5))
    assert all(torch.equal(a, b) for a, b in zip(here.gradients(), there.gradients(), strict=True))


def test_gradients_are_averaged_but_for_rows_that_one_process_has(ranks: list[dict[str, Any]]) -> None:
    shared, _ = Model(slice(0, PEOPLE)).gradients()
    for each in ranks:
        torch.testing.assert_close(each["average"], shared)  # Of 0, 1 and 2 times as much.
        assert each["own"]


def test_the_first_process_gets_all_rows_in_order(ranks: list[dict[str, Any]]) -> None:
    vector, matrix = ranks[0]["whole"]
    assert torch.equal(vector, torch.arange(PEOPLE))
    assert torch.equal(matrix.flatten(), torch.arange(4 * PEOPLE).float())
