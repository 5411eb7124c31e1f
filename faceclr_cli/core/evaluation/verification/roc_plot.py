"""The figure of a verification result: ROC and DET with their 95% band, score histograms, and discarded pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.quality import MEASURES
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.evaluation.verification.pair_evidence import ScoredPairs
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.metrics.error_discard import error_versus_discard
from faceclr_cli.core.metrics.roc import roc
from faceclr_cli.core.metrics.roc_bands import roc_bands
from faceclr_cli.core.plots.curves import Band, DiscardCurves, RocCurve
from faceclr_cli.core.plots.roc_figure import PairScores, draw_verification

_POINTS = 100


def draw_pairs(path: Path, result: PairsResult, own: ScoredPairs, quality: Mapping[str, Mapping[str, float]]) -> None:
    """Draws the curves and the scores of the pairs that could be compared. The band is a bootstrap over people.

    Args:
        path: The output file.
        result: The metrics.
        own: The pairs and their scores.
        quality: The known quality measures of each picture, by name.

    Raises:
        ConfigError: The suffix is not a supported figure format.
        DataError: The figure cannot be written.
    """
    known = ~own.missing
    scores, same = own.scores[known], own.same[known]
    curve = roc(scores, same)
    name = Path(result.pairs).name
    title = f"{name}: {result.encoder}" if result.encoder else name
    threshold = result.best_threshold if result.judged.threshold is None else result.judged.threshold
    draw_verification(
        path,
        RocCurve(
            far=curve.far,
            tar=curve.tar,
            auc=result.auc,
            eer=result.eer,
            points=tuple((point.far, point.tar) for point in result.tar_at_far if point.tar is not None),
            band=_band(own, scores, same, known),
        ),
        PairScores(genuine=scores[same], impostor=scores[~same], threshold=threshold),
        title,
        _discards(result, own, quality),
    )


def _discards(
    result: PairsResult, own: ScoredPairs, quality: Mapping[str, Mapping[str, float]]
) -> DiscardCurves | None:
    """Returns a curve for each measure that is known for all pictures; None without any."""
    points = [point for point in result.tar_at_far if point.threshold is not None]
    genuine = np.flatnonzero(own.same & ~own.missing)
    compared = [own.located[row] for row in np.flatnonzero(~own.missing).tolist()] if own.located else []
    number_of = {name: number for number, name in enumerate(dict.fromkeys(x for p in compared for x in (p.a, p.b)))}
    known = [quality.get(name, {}) for name in number_of]
    measures = [name for name in MEASURES if known and all(name in picture for picture in known)]
    if not points or not measures:
        return None
    point = min(points, key=lambda point: point.far)
    first, second = ([number_of[getattr(own.located[row], side)] for row in genuine.tolist()] for side in ("a", "b"))
    curves = {}
    for name in measures:
        values = [picture[name] for picture in known]
        found = error_versus_discard(own.scores[genuine], first, second, values, float(point.threshold or 0.0))
        curves[name] = (found.discarded, found.fnmr)
    return DiscardCurves(far=point.far, curves=curves)


def _band(own: ScoredPairs, scores: NDArray[np.float64], same: NDArray[np.bool_], known: NDArray[np.bool_]) -> Band:
    found = people_in_pairs(own.pairs) if own.pairs else None
    if found is not None:
        first, second = found[0][known], found[1][known]
    else:
        # If the people are unknown, each pair is resampled independently.
        first = 2 * np.arange(len(scores))
        second = np.where(same, first, first + 1)
    rates = np.geomspace(1 / max(1, int((~same).sum())), 1, _POINTS)
    bands = roc_bands(scores, same, first, second, rates)
    return Band(far=rates, low=bands.low, high=bands.high)
