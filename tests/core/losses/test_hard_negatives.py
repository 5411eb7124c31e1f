from __future__ import annotations

import numpy as np
import pytest
import torch

from faceclr_cli.core.datasets import triplet_lists as module
from faceclr_cli.core.datasets.triplet_lists import hardest_negatives


def test_the_closest_candidate_is_that_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VALUES", 512)  # Many blocks, the last of them smaller.
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(60, 8)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    anchors, candidates = rng.integers(0, 60, 101), rng.integers(0, 60, (101, 7))
    expected = [
        min(row, key=lambda n: float(np.square(bank[anchor] - bank[n]).sum()))
        for anchor, row in zip(anchors, candidates, strict=True)
    ]
    found = hardest_negatives(*map(torch.from_numpy, (bank, anchors, candidates)))
    assert found.tolist() == expected
