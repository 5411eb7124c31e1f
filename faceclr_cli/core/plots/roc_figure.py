"""Plot of an ROC curve and the distribution of the scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

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

# From Okabe and Ito's color-blind safe scheme; in grayscale, one is dark and one light.
_GENUINE, _IMPOSTOR = "#0072B2", "#E69F00"
_RULE = "#DDE2E7"

_WIDTH, _HEIGHT, _MARGIN, _TYPE = 11.0, 4.9, 0.3, 9.0
"""The size of the picture and its margin in inches, and the font size in points."""
_TOP, _LOW = 1.35, 0.75
"""Inches: the space above the axes for titles and legends, and below for labels."""
_FEWEST_BINS, _MOST_BINS = 8, 60


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


def draw_verification(path: Path, curve: RocCurve, scores: PairScores, title: str) -> None:
    """Draws the ROC on a logarithmic axis, next to histograms of the genuine and impostor scores.

    The same arguments give the same bytes.

    Args:
        path: Output file: .jpg, .png, .webp, .pdf or .svg.
        curve: The ROC, drawn from the FAR of a single impostor pair up to 1.
        scores: The scores, drawn as two histograms with common bins, each with area 1.
        title: One line.

    Raises:
        ConfigError: The suffix is not a supported picture format.
        DataError: The picture cannot be written.
        ValueError: The shapes differ, or one kind of pair is missing.
    """
    require_drawable(path)
    with plain_style():
        save_whole(compose_roc(curve, scores, title), path)


def compose_roc(curve: RocCurve, scores: PairScores, title: str) -> Figure:
    """Returns the figure; its first axes show the ROC, the second the histograms.

    Raises:
        ValueError: See `draw_verification`.
    """
    _check(curve, scores)
    figure = blank_figure(_WIDTH, _HEIGHT)
    _titles(figure, curve, scores, title)
    room = _WIDTH / 2 - 2 * _MARGIN - 0.5
    _roc(_axes(figure, _MARGIN + 0.55, room), curve, 1 / len(scores.impostor))
    _histograms(_axes(figure, _WIDTH / 2 + _MARGIN + 0.45, room), scores)
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


def _axes(figure: Figure, left: float, wide: float) -> Any:
    high = _HEIGHT - _TOP - _LOW
    axes = figure.add_axes((left / _WIDTH, _LOW / _HEIGHT, wide / _WIDTH, high / _HEIGHT), facecolor=PAPER)
    for name, side in axes.spines.items():
        side.set(visible=name in ("left", "bottom"), color=QUIET)
    axes.tick_params(labelsize=_TYPE, color=QUIET, labelcolor=QUIET)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    return axes


def _finish(axes: Any, across: str, up: str) -> None:
    """Labels the axes and adds a legend above them."""
    axes.set_xlabel(across, size=_TYPE, color=QUIET)
    axes.set_ylabel(up, size=_TYPE, color=QUIET)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.02),
        borderaxespad=0,
        borderpad=0,
        ncols=3,
        frameon=False,
        fontsize=_TYPE,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.6,
    )


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
        label = "TAR at FAR " + ", ".join(_rate(rate) for rate, _ in points)
        style = {"marker": "o", "markersize": 6.5, "markeredgecolor": PAPER, "linestyle": "none", "zorder": 3}
        axes.plot(*zip(*points, strict=True), color=INK, label=label, clip_on=False, **style)
    for rate, height in points:
        _number(axes, rate, height)
    _finish(axes, "false accept rate (FAR)", "true accept rate (TAR)")


def _scale_roc(axes: Any, least: float, lowest: float) -> None:
    floor = min(0.9, max(0.0, np.floor(10 * lowest - 0.2) / 10))
    # With a single impostor pair, the axis would have no length.
    left = min(least, 0.5)
    axes.set(xscale="log", xlim=(left**1.02, 1), ylim=(floor, 1 + 0.03 * (1 - floor)))
    steps = (1, 2, 5) if left > 0.02 else (1,)
    rates = [step / 10**power for power in range(12) for step in steps]
    ticks = sorted(rate for rate in rates if left**1.02 <= rate <= 1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [_rate(rate) for rate in ticks])


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
        size=_TYPE,
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
    _finish(axes, "score", "density")


def _rate(rate: float) -> str:
    """Formats a rate such as `0.01`, or `1e-5` below 1e-4."""
    return f"{rate:g}" if rate >= 1e-4 else f"{rate:.0e}".replace("e-0", "e-")
