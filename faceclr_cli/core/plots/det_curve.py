"""The DET curve: false non-match rate against false match rate, on normal deviate axes."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from faceclr_cli.core.plots.curves import RocCurve
from faceclr_cli.core.plots.figure_style import INK, PAPER, QUIET
from faceclr_cli.core.plots.plain_axes import RULE, format_rate, label_axes

_CURVE = "#0072B2"
_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4)
_HIGHEST = 0.5


def draw_det(axes: Any, curve: RocCurve, least_fmr: float, least_fnmr: float) -> None:
    """Draws a DET curve (Martin et al., Eurospeech 1997) on normal deviate axes.

    Args:
        axes: The axes.
        curve: The curve as an ROC.
        least_fmr: The false match rate of a single impostor pair.
        least_fnmr: The false non-match rate of a single genuine pair.
    """
    low = min(least_fmr, 0.1), min(least_fnmr, 0.1)
    line = {"color": _CURVE, "drawstyle": "steps-post", "linewidth": 1.8, "label": "DET"}
    axes.plot(_deviates(curve.far), _deviates(1 - curve.tar), **line)
    if curve.band is not None:
        band, seen = curve.band, curve.band.far > 0.999 * least_fmr
        upper, lower = _deviates(1 - band.low[seen]), _deviates(1 - band.high[seen])
        style = {"color": _CURVE, "alpha": 0.2, "linewidth": 0, "label": "95% band"}
        axes.fill_between(_deviates(band.far[seen]), lower, upper, **style)
    diagonal = _deviates(np.array([min(low), _HIGHEST]))
    axes.plot(diagonal, diagonal, color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)))
    rate = _deviates(np.array([curve.eer]))
    style = {"marker": "o", "markersize": 6.5, "markeredgecolor": PAPER, "linestyle": "none", "zorder": 3}
    axes.plot(rate, rate, color=INK, clip_on=False, label=f"EER {curve.eer:.1%}", **style)
    for axis, least, limit in ((axes.xaxis, low[0], axes.set_xlim), (axes.yaxis, low[1], axes.set_ylim)):
        start, end = _deviates(np.array([least, _HIGHEST]))
        limit(start - 0.02 * (end - start), end)
        rates = [rate for rate in _RATES if rate >= 0.999 * least]
        axis.set_minor_locator(NullLocator())
        axis.set_ticks(_deviates(np.array(rates)), [format_rate(rate) for rate in rates])
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    label_axes(axes, "false match rate (FMR)", "false non-match rate (FNMR)")


def _deviates(rates: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns the normal deviates of rates. Rates of 0 and 1 are moved to a finite place outside the axes."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(rate) for rate in np.clip(rates, 1e-9, 1 - 1e-9).tolist()])
