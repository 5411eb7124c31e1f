from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from faceclr_cli.core.embeddings.store import Store
from faceclr_cli.core.faces.fingerprint import Fingerprint
from tests.core.evaluation.importing.foreign_files import Trained, train


def _crowd(people: int, pictures: int, noise: float, dim: int = 16) -> Store:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(people, dim))
    rows = np.concatenate([center + noise * rng.normal(size=(pictures, dim)) for center in centers])
    names = [(f"p{who:02d}", f"p{who:02d}/{number}.jpg") for who in range(people) for number in range(pictures)]
    return Store(
        embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        paths=tuple(path for _, path in names),
        identities=tuple(name for name, _ in names),
        content_hashes=tuple(path for _, path in names),
        detection_scores=np.full(len(names), np.nan, np.float32),
        boxes=np.full((len(names), 4), np.nan, np.float32),
        fingerprint=Fingerprint(
            detector="yunet",
            detector_digest="0" * 16,
            template="arcface",
            size=112,
            interpolation="linear",
            padding="black",
        ),
        encoder="crowd",
        encoder_digest="",
        calibration=None,
        config={},
    )


@pytest.fixture(scope="session")
def crowd() -> Callable[..., Store]:
    """Makes a store of `people` with `pictures` each, scattered by `noise`: `crowd(people, pictures, noise[, dim])`."""
    return _crowd


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small encoder of drawn people, with their crops."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = train(tmp_path_factory.mktemp("drawn"))
    torch.set_num_threads(threads)
    return made
