from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics.degeneracy import distinct_embeddings


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 2, 128])
def test_copies_are_found_although_rounding_differs_and_others_are_not_taken_for_copies(dim: int) -> None:
    chance = np.random.default_rng(dim)
    originals = _unit(chance.normal(size=(2 if dim == 1 else 400, dim)))
    if dim == 1:
        originals = np.array([[1.0], [-1.0]], np.float32)
    which = chance.permutation(np.append(np.arange(len(originals)), chance.integers(0, len(originals), 900)))
    rows = originals[which] * (1 + chance.uniform(-2e-7, 2e-7, (len(which), dim))).astype(np.float32)
    found = distinct_embeddings(rows)
    assert len(found) == len(originals)
    assert np.array_equal(which[found.rows][found.place], which)
    assert np.array_equal(found.rows, np.sort(found.rows))
    assert np.array_equal(found.counts, np.bincount(found.place))
    assert all(row == np.flatnonzero(which == which[row])[0] for row in found.rows)


def test_pictures_that_are_a_little_different_are_two() -> None:
    rows = _unit(np.array([[1.0, 0.0, 0.0], [1.0, 1e-3, 0.0], [1.0, 0.0, 0.0]]))
    assert distinct_embeddings(rows).place.tolist() == [0, 1, 0]


def test_zeros_are_one_and_nothing_is_nothing() -> None:
    assert len(distinct_embeddings(np.zeros((5, 4)))) == 1
    assert len(distinct_embeddings(np.zeros((0, 4)))) == 0
    with pytest.raises(ValueError, match="not finite"):
        distinct_embeddings([[np.nan, 0.0]])
    with pytest.raises(ValueError, match="two dimensions"):
        distinct_embeddings([0.0, 1.0])
