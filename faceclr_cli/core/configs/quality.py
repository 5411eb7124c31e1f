"""Options about the quality of faces."""

from __future__ import annotations

from collections.abc import Sequence

from faceclr_cli.core.configs.name_values import parse_name_values

MEASURES = ("norm", "stability", "detection_score", "sharpness", "eye_distance", "frontality")
"""Quality measures of a face. Higher values are better. Ordered by how well they predict the errors of sface on LFW."""

MIN_QUALITY_METAVAR = "MEASURE=VALUE"
_OPTION = "--min-quality"


def parse_quality_limits(texts: Sequence[str]) -> dict[str, float]:
    """Parses the values of `--min-quality`.

    Returns:
        The minimum of each measure.

    Raises:
        ValueError: A text does not have the form MEASURE=VALUE, the measure is unknown, or the value is not a number.
    """
    limits = dict[str, float]()
    for name, value in parse_name_values(texts, _OPTION, "sharpness=20"):
        if name not in MEASURES:
            raise ValueError(f"{_OPTION} {name}: unknown measure; choose one of {', '.join(sorted(MEASURES))}")
        if isinstance(value, bool | str):
            raise ValueError(f"{_OPTION} {name}={value}: must be a number, such as {name}=0.5")
        limits[name] = float(value)
    return limits
