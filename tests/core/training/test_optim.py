from __future__ import annotations

import pytest
import torch
from torch import nn

from faceclr_cli.core.training.optim import adamw, learning_rate


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    rates = [learning_rate(step, 100, 2.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[99] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.0), (1, 1.0), (3, 0.1), (10, 1.0)])
def test_short_runs_have_rates_too(total: int, warmup: float) -> None:
    rates = [learning_rate(step, total, 1.0, warmup) for step in range(total)]
    assert max(rates) == 1.0
    assert min(rates) > 0


def test_norms_and_biases_do_not_decay() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    optimiser = adamw(module, lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimiser.step()
    changed = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
    assert changed == [True, False, False, False]
