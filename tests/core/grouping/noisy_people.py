"""Embeddings of people on a sphere, with names that are partly wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(people: int, faces: int, seed: int = 0, spread: float = 0.1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Faces around a random center for each person, and their people."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(people, 64)) / 8
    labels = np.repeat(np.arange(people), faces)
    rows = centers[labels] + spread * rng.normal(size=(len(labels), 64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels
