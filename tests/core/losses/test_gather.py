from __future__ import annotations

import torch

from faceclr_cli.core.losses.gather import gather, gather_labels, total, world


def test_one_process_needs_no_torch_distributed() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    labels = torch.arange(3)
    assert world() == (0, 1)
    assert gather(x) is x
    assert gather_labels(labels) is labels
    assert total(torch.tensor([2, 3])).tolist() == [2, 3]
