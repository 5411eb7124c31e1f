"""Quality measures of faces as columns of a store. Higher values are better."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import QualityLevel
from faceclr_cli.core.configs.quality import MEASURES
from faceclr_cli.core.embeddings.embedding_rows import QUALITY, Rows
from faceclr_cli.core.errors import ConfigError


def stored_measures(level: QualityLevel) -> tuple[str, ...]:
    """Returns the measures that `embed --quality LEVEL` adds to a store."""
    return {"none": (), "basic": QUALITY[:-1], "full": QUALITY}[level]


def required_level(limits: Mapping[str, float]) -> QualityLevel:
    """Returns the level of `embed --quality` that measures everything that has a limit."""
    return "none" if not limits else "full" if "stability" in limits else "basic"


def quality_measure(rows: Rows, name: str) -> NDArray[np.float32]:
    """Returns a quality measure of each face; NaN if unknown. Shape: (faces,)."""
    others: Mapping[str, NDArray[np.float32]] = {"norm": rows.norms, "detection_score": rows.detection_scores}
    return others[name] if name in others else rows.quality[:, QUALITY.index(name)]


def default_measure(rows: Rows) -> str | None:
    """Returns the first of `MEASURES` that is known for every face, or None."""
    return next((name for name in MEASURES if len(rows) and np.isfinite(quality_measure(rows, name)).all()), None)


def known_measures(rows: Rows) -> list[dict[str, float]]:
    """Returns the known quality measures of each face by name."""
    columns = {name: quality_measure(rows, name).tolist() for name in MEASURES}
    each = (((name, column[row]) for name, column in columns.items()) for row in range(len(rows)))
    return [{name: value for name, value in measures if not math.isnan(value)} for measures in each]


def find_low_quality(rows: Rows, limits: Mapping[str, float], origin: str) -> NDArray[np.bool_]:
    """Finds the faces with a measure below its limit, or with an unknown one.

    Args:
        rows: The faces.
        limits: The minimum of each measure.
        origin: Name of the faces in the error.

    Returns:
        Mask of the faces. Shape: (faces,).

    Raises:
        ConfigError: A measure is unknown for all faces.
    """
    found = np.zeros(len(rows), bool)
    for name, limit in limits.items():
        values = quality_measure(rows, name)
        if len(rows) and np.isnan(values).all():
            raise ConfigError(f"{origin}: --min-quality {name}: unknown for these faces; {_advice(name)}")
        found |= ~(values >= limit)
    return found


def quality_shortfall(measures: Mapping[str, float], limits: Mapping[str, float]) -> str | None:
    """Returns the first measure of a face that is below its limit or unknown, such as `sharpness 9.1`; otherwise None.

    Args:
        measures: The known measures of the face.
        limits: The minimum of each measure.
    """
    for name, limit in limits.items():
        if not measures.get(name, math.nan) >= limit:
            value = f"{measures[name]:.3g}" if name in measures else "unknown"
            return f"low quality: {name} {value}, minimum {limit:g}"
    return None


def _advice(name: str) -> str:
    if name in QUALITY:
        level = "" if name in stored_measures("basic") else " full"
        return f"embed them with --quality{level}, from photographs or from a folder that prepare wrote"
    if name == "norm":
        return "the encoder normalizes its embeddings itself, or they were embedded with --flip mean"
    return "embed photographs, or with --quality a folder that prepare wrote"
