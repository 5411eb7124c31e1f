from __future__ import annotations

import pytest
import torch

from faceclr_cli.core.training.task import BatchSlice, dropout

FEATURES = torch.arange(1.0, 60_001).view(12, 5000)
WHOLE = BatchSlice(0, 12)


def test_a_share_is_left_out_and_the_mean_is_kept() -> None:
    result = dropout(FEATURES, 0.4, 0, 0, WHOLE)
    left = result != 0
    assert (~left).float().mean().item() == pytest.approx(0.4, abs=0.01)
    torch.testing.assert_close(result[left], FEATURES[left] / 0.6)
    assert result.mean().item() == pytest.approx(FEATURES.mean().item(), rel=0.02)
    assert dropout(FEATURES, 0.0, 0, 0, WHOLE) is FEATURES


def test_each_picture_step_and_seed_has_its_own() -> None:
    masks = [dropout(FEATURES, 0.4, seed, step, WHOLE) != 0 for seed, step in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(row.tolist()) for mask in masks for row in mask}) == 36
    assert torch.equal(masks[0], dropout(FEATURES, 0.4, 0, 0, WHOLE) != 0)


@pytest.mark.parametrize("parts", [(4, 4, 4), (7, 5)])
def test_processes_leave_out_what_one_would(parts: tuple[int, ...]) -> None:
    whole, pieces, first = dropout(FEATURES, 0.4, 3, 5, WHOLE), [], 0
    for count in parts:
        pieces.append(dropout(FEATURES[first : first + count], 0.4, 3, 5, BatchSlice(first, 12)))
        first += count
    assert torch.equal(torch.cat(pieces), whole)
