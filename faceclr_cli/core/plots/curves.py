"""Measured curves that plots show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """The 95% interval of the true accept rate at some false accept rates.

    Attributes:
        far: False accept rates, increasing. Shape: (points,).
        low: Lower bounds of the true accept rate. Shape: (points,).
        high: Upper bounds of the true accept rate. Shape: (points,).
    """

    far: NDArray[np.floating[Any]]
    low: NDArray[np.floating[Any]]
    high: NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RocCurve:
    """A measured ROC.

    Attributes:
        far: False accept rates, non-decreasing, from 0 to 1. Shape: (thresholds,).
        tar: True accept rates. Shape: (thresholds,).
        auc: Area under the curve, 0-1.
        eer: Equal error rate, 0-1.
        points: FAR and TAR of points to mark. Points with a FAR of less than one impostor pair are not drawn.
        band: Confidence band, drawn as a shaded area.
    """

    far: NDArray[np.floating[Any]]
    tar: NDArray[np.floating[Any]]
    auc: float
    eer: float
    points: tuple[tuple[float, float], ...] = ()
    band: Band | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DiscardCurves:
    """False non-match rates as the pictures of the lowest quality are left out, for each quality measure.

    Attributes:
        far: The false accept rate of the threshold, which is the same for all points.
        curves: Shares of discarded pictures, increasing from 0, and FNMR by the name of the measure. Shapes: (points,).
    """

    far: float
    curves: Mapping[str, tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]
