from __future__ import annotations

import pytest
import torch

from faceclr_cli.core.training import dropout as module
from faceclr_cli.core.training.dropout import dropout

FEATURES = torch.arange(1.0, 60_001).view(12, 5000)


def test_a_share_is_left_out_and_the_mean_is_kept() -> None:
    result = dropout(FEATURES, 0.4, seed=0, step=0)
    left = result != 0
    assert (~left).float().mean().item() == pytest.approx(0.4, abs=0.01)
    torch.testing.assert_close(result[left], FEATURES[left] / 0.6)
    assert result.mean().item() == pytest.approx(FEATURES.mean().item(), rel=0.02)
    assert dropout(FEATURES, 0.0, seed=0, step=0) is FEATURES


def test_each_picture_step_and_seed_has_its_own() -> None:
    masks = [dropout(FEATURES, 0.4, seed, step) != 0 for seed, step in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(row.tolist()) for mask in masks for row in mask}) == 36
    assert torch.equal(masks[0], dropout(FEATURES, 0.4, 0, 0) != 0)


def test_processes_leave_out_what_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = dropout(FEATURES, 0.4, seed=3, step=5), []
    for rank in range(3):
        monkeypatch.setattr(module, "world", lambda rank=rank: (rank, 3))
        parts.append(dropout(FEATURES[4 * rank : 4 * rank + 4], 0.4, seed=3, step=5))
    assert torch.equal(torch.cat(parts), whole)
