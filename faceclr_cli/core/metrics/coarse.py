"""An 8-bit copy of a gallery, which FAISS goes through in less time than memory takes to give the gallery itself."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_LEAST_ROWS = 50_000
"""Of fewer rows, the product alone is as quick."""
_FINEST = 127
_AT_ONCE = 1 << 16


def worth_it(rows: int) -> bool:
    """Whether a gallery of so many rows is searched faster with a copy, and FAISS is here to do so."""
    return rows >= _LEAST_ROWS and find_spec("faiss") is not None


class CoarseCopy:
    """Rows rounded to whole steps. What it finds is near the truth, and it says how near.

    Args:
        rows: L2-normalised, or zeros. Shape: (N, D).
    """

    def __init__(self, rows: Vectors) -> None:
        self._faiss: Any = import_module("faiss")
        self._step = _step(rows)
        self._rounding = 0.0
        # For a single probe FAISS has work for one thread only; so each thread gets a part of the rows.
        self._index = self._faiss.IndexShards(rows.shape[1], True, True)
        self._parts = []  # The shards are only referred to, not kept, by the index.
        for part in np.array_split(rows, max(1, self._faiss.omp_get_max_threads())):
            self._parts.append(self._stored(part))
            self._index.add_shard(self._parts[-1])

    def _stored(self, rows: Vectors) -> Any:
        faiss = self._faiss
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        stored = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(rows), _AT_ONCE):
            block = rows[start : start + _AT_ONCE]
            whole = np.rint(block / self._step)
            lost = np.linalg.norm(block - whole * self._step, axis=1)
            self._rounding = max(self._rounding, float(lost.max(initial=0)))
            stored.add(whole)
        return stored

    def nearest(self, probe: Vectors, count: int) -> tuple[NDArray[np.int64], float]:
        """The rows that are most like a probe, roughly.

        Args:
            probe: L2-normalised. Shape: (D,).
            count: How many.

        Returns:
            The rows, rising, and a similarity above which no other row is.
        """
        step = _step(probe)
        whole = np.rint(probe / step)
        products, rows = self._index.search(whole[None], count)
        # By the inequality of Cauchy and Schwarz, for what rounding took from the rows and from the probe.
        lost = float(np.linalg.norm(probe)) * self._rounding
        lost += float(np.linalg.norm(probe - whole * step)) * (1 + self._rounding)
        return np.sort(rows[0].astype(np.int64)), float(products[0, -1]) * step * self._step + lost


def _step(values: Vectors) -> float:
    """What one whole number stands for."""
    return max(float(values.max(initial=0)), -float(values.min(initial=0)), 1e-30) / _FINEST
