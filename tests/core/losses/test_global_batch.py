from __future__ import annotations

import torch

from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels, sum_over_processes, world_size


def test_one_process_needs_no_torch_distributed() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    labels = torch.arange(3)
    assert world_size() == (0, 1)
    assert all_gather(x) is x
    assert all_gather_labels(labels) is labels
    assert sum_over_processes(torch.tensor([2, 3])).tolist() == [2, 3]
