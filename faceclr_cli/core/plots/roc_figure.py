"""Plot of a verification result: ROC and DET curve, score distributions, and errors versus discarded pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from faceclr_cli.core.plots.curves import DiscardCurves, RocCurve
from faceclr_cli.core.plots.det_curve import draw_det
from faceclr_cli.core.plots.discard_curve import draw_discards
from faceclr_cli.core.plots.figure_style import (
    INK,
    PAPER,
    QUIET,
    blank_figure,
    fit_text,
    format_count,
    plain_style,
    require_drawable,
    save_whole,
)
from faceclr_cli.core.plots.plain_axes import TYPE, format_rate, label_axes, plain_axes

# From Okabe and Ito's color-blind safe scheme; in grayscale, one is dark and one light.
_GENUINE, _IMPOSTOR = "#0072B2", "#E69F00"

_WIDTH, _HEIGHT, _MARGIN = 11.0, 8.7, 0.3
"""The size of the picture and its margin in inches."""
_SIDE, _HIGH, _LOWER, _UPPER = 4.35, 2.8, 0.75, 4.55
"""Inches: width and height of the axes, and the lower edges of the two rows."""
_FEWEST_BINS, _MOST_BINS = 8, 60


@dataclass(frozen=True, kw_only=True, eq=False)
class PairScores:
    """The scores that a ROC was measured on.

    Attributes:
        genuine: Scores of genuine pairs. Shape: (genuine pairs,).
        impostor: Scores of impostor pairs. Shape: (impostor pairs,).
        threshold: Minimum score of accepted pairs, or None if there is no threshold.
    """

    genuine: NDArray[np.floating[Any]]
    impostor: NDArray[np.floating[Any]]
    threshold: float | None = None


def draw_verification(
    path: Path, curve: RocCurve, scores: PairScores, title: str, discards: DiscardCurves | None = None
) -> None:
    """Draws four plots: the ROC, histograms of the scores, the DET curve, and errors versus discarded pictures.

    The same arguments give the same bytes.

    Args:
        path: Output file: .jpg, .png, .webp, .pdf or .svg.
        curve: The ROC, drawn from the FAR of a single impostor pair up to 1.
        scores: The scores, drawn as two histograms with common bins, each with area 1.
        title: One line.
        discards: The errors versus discarded pictures, or None if the quality of the pictures is unknown.

    Raises:
        ConfigError: The suffix is not a supported picture format.
        DataError: The picture cannot be written.
        ValueError: The shapes differ, or one kind of pair is missing.
    """
    require_drawable(path)
    with plain_style():
        save_whole(compose_roc(curve, scores, title, discards), path)


def compose_roc(curve: RocCurve, scores: PairScores, title: str, discards: DiscardCurves | None = None) -> Figure:
    """Returns the figure; its axes show the ROC, the histograms, the DET curve and the discarded pictures.

    Raises:
        ValueError: See `draw_verification`.
    """
    _check(curve, scores)
    figure = blank_figure(_WIDTH, _HEIGHT)
    _titles(figure, curve, scores, title)
    left, right = _MARGIN + 0.55, _WIDTH / 2 + _MARGIN + 0.45
    _roc(plain_axes(figure, left, _UPPER, _SIDE, _HIGH), curve, 1 / len(scores.impostor))
    _histograms(plain_axes(figure, right, _UPPER, _SIDE, _HIGH), scores)
    draw_det(plain_axes(figure, left, _LOWER, _SIDE, _HIGH), curve, 1 / len(scores.impostor), 1 / len(scores.genuine))
    draw_discards(plain_axes(figure, right, _LOWER, _SIDE, _HIGH), discards)
    return figure


def _check(curve: RocCurve, scores: PairScores) -> None:
    band = curve.band
    lines = [(curve.far, curve.tar)] + ([] if band is None else [(band.far, band.low), (band.far, band.high)])
    for x, y in lines:
        if x.ndim != 1 or x.shape != y.shape or not len(x):
            raise ValueError(f"rates of {x.shape} and {y.shape} cannot be drawn as a curve")
    if scores.genuine.ndim != 1 or scores.impostor.ndim != 1 or not len(scores.genuine) or not len(scores.impostor):
        raise ValueError(f"genuine pairs of {scores.genuine.shape}, impostor pairs of {scores.impostor.shape}")


def _titles(figure: Figure, curve: RocCurve, scores: PairScores, title: str) -> None:
    impostors = format_count(len(scores.impostor), "impostor pair", "impostor pairs")
    facts = f"AUC {curve.auc:.4f}  ·  EER {curve.eer:.1%}  ·  {len(scores.genuine):,} genuine and {impostors}"
    # Bold text is wider than `fit_text` measures.
    whole = fit_text(title, 0.85 * (_WIDTH - 2 * _MARGIN), 15)
    for text, y, size, color, weight in ((whole, 0.17, 15, INK, "bold"), (facts, 0.45, 10, QUIET, "normal")):
        place = _MARGIN / _WIDTH, 1 - (_MARGIN + y) / _HEIGHT
        figure.text(*place, text, size=size, color=color, weight=weight, parse_math=False)


def _roc(axes: Any, curve: RocCurve, least: float) -> None:
    """`least` is the false accept rate of a single pair."""
    # The curve starts at the lowest threshold that accepts at most one impostor pair.
    start = max(0, int(np.searchsorted(curve.far, 1.001 * least)) - 1)
    far, tar = np.maximum(curve.far[start:], least), curve.tar[start:]
    points = [point for point in curve.points if point[0] > 0.999 * least]
    lowest = [float(tar[0]), *(height for _, height in points)]
    # There is no measurement between two thresholds, so the curve keeps the TAR of the stricter one.
    axes.plot(far, tar, color=_GENUINE, linewidth=1.8, drawstyle="steps-post", label="ROC")
    if curve.band is not None:
        band, seen = curve.band, curve.band.far > 0.999 * least
        axes.fill_between(
            band.far[seen], band.low[seen], band.high[seen], color=_GENUINE, alpha=0.2, linewidth=0, label="95% band"
        )
        lowest.extend(band.low[seen].tolist())
    _scale_roc(axes, least, min(lowest))
    if points:
        label = "TAR at FAR " + ", ".join(format_rate(rate) for rate, _ in points)
        style = {"marker": "o", "markersize": 6.5, "markeredgecolor": PAPER, "linestyle": "none", "zorder": 3}
        axes.plot(*zip(*points, strict=True), color=INK, label=label, clip_on=False, **style)
    for rate, height in points:
        _number(axes, rate, height)
    label_axes(axes, "false accept rate (FAR)", "true accept rate (TAR)")


def _scale_roc(axes: Any, least: float, lowest: float) -> None:
    floor = min(0.9, max(0.0, np.floor(10 * lowest - 0.2) / 10))
    # With a single impostor pair, the axis would have no length.
    left = min(least, 0.5)
    axes.set(xscale="log", xlim=(left**1.02, 1), ylim=(floor, 1 + 0.03 * (1 - floor)))
    steps = (1, 2, 5) if left > 0.02 else (1,)
    rates = [step / 10**power for power in range(12) for step in steps]
    ticks = sorted(rate for rate in rates if left**1.02 <= rate <= 1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [format_rate(rate) for rate in ticks])


def _number(axes: Any, rate: float, height: float) -> None:
    """Writes the true accept rate below the curve, or above it if there is no room."""
    floor, top = axes.get_ylim()
    has_room = height - floor > 0.12 * (top - floor)
    axes.annotate(
        f"{height:.3f}",
        (rate, height),
        (6, -5) if has_room else (0, 7),
        textcoords="offset points",
        ha="left",
        va="top" if has_room else "bottom",
        size=TYPE,
        color=INK,
        path_effects=[withStroke(linewidth=2.5, foreground=PAPER)],
    )


def _histograms(axes: Any, scores: PairScores) -> None:
    fewer = min(len(scores.genuine), len(scores.impostor))
    bins = int(np.clip(1.5 * np.sqrt(fewer), _FEWEST_BINS, _MOST_BINS))
    edges = np.histogram_bin_edges(np.concatenate([scores.genuine, scores.impostor]), bins)
    kinds = (
        (scores.impostor, _IMPOSTOR, 0.45, "--", "impostor pairs"),
        (scores.genuine, _GENUINE, 0.6, "-", "genuine pairs"),
    )
    for values, color, alpha, line, label in kinds:
        heights, _ = np.histogram(values, edges, density=True)
        axes.stairs(heights, edges, fill=True, color=color, alpha=alpha, linewidth=0, label=label)
        axes.stairs(heights, edges, color=color, linewidth=1.3, linestyle=line)
    if scores.threshold is not None:
        label = f"threshold {scores.threshold:.3f}"
        axes.axvline(scores.threshold, color=INK, linewidth=1.3, linestyle=(0, (4, 2)), label=label)
    axes.set_ylim(bottom=0)
    label_axes(axes, "score", "density")
