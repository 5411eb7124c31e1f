"""Hard negatives out of an embedding bank."""

from __future__ import annotations

import torch
from torch import Tensor

_VALUES = 1 << 22  # Of embeddings that are gathered at a time: 16 MiB, for larger blocks are slower to allocate.


def closest(bank: Tensor, anchors: Tensor, candidates: Tensor) -> Tensor:
    """For each anchor, the one of its candidates whose embedding is closest.

    On the bank's device, in blocks, so that it takes little memory beside the bank.

    Args:
        bank: Embeddings of all pictures, L2-normalised. Shape: (N, D).
        anchors: Rows of the bank. Shape: (T,).
        candidates: Rows of the bank. Shape: (T, C), C > 0.

    Returns:
        Rows of the bank, on the CPU. Shape: (T,). Of equally close ones the first.
    """
    count, dim = candidates.shape[1], bank.shape[1]
    step = max(1, _VALUES // (count * dim))
    chosen = []
    for start in range(0, len(anchors), step):
        block = candidates[start : start + step].to(bank.device)
        # On the CPU, index_select copies whole rows: several times as fast as indexing with a tensor.
        rows = bank.index_select(0, block.flatten()).view(len(block), count, dim)
        own = bank.index_select(0, anchors[start : start + step].to(bank.device))
        similarities = torch.bmm(rows, own[:, :, None]).squeeze(2)
        chosen.append(block.gather(1, similarities.argmax(dim=1, keepdim=True)).squeeze(1).cpu())
    return torch.cat(chosen)
