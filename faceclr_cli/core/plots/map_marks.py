"""Colors and shapes of people on a map, in pictures and on web pages."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.plots.figure_style import UNKNOWN_COLOR

# Paul Tol's color-blind safe "muted" scheme, with a darker sand for white paper, and three colors of his "vibrant"
# scheme.
# Twelve colors and seven shapes have no common divisor, so 84 people have distinct marks.
_COLORS = (
    "#332288", "#CC6677", "#117733", "#88CCEE", "#D4B13F", "#882255", "#44AA99", "#AA4499", "#999933", "#0077BB",
    "#EE7733", "#CC3311",
)  # fmt: skip
# The same hues for a dark background; the dark ones are lighter.
_LIGHTER = (
    "#8C7BF0", "#E58A97", "#3FAE62", "#88CCEE", "#E3C75B", "#D65C94", "#4FC4B0", "#C878BC", "#B5B54A", "#3D9FDB",
    "#F2935C", "#E8684A",
)  # fmt: skip
_SHAPES = ("o", "^", "s", "D", "v", "P", "X")

DISTINCT = len(_COLORS) * len(_SHAPES)
"""Number of distinct marks."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The color and shape of a person's points.

    Attributes:
        color: Color on a light background, as `#rrggbb`.
        on_dark: Color on a dark background.
        shape: matplotlib marker.
    """

    color: str
    on_dark: str
    shape: str


UNKNOWN_MARK = Mark(color=UNKNOWN_COLOR, on_dark="#93A0AD", shape="o")


def mark_of(number: int) -> Mark:
    """Returns the mark of the person with this index, in the order of the names."""
    place = number % len(_COLORS)
    return Mark(color=_COLORS[place], on_dark=_LIGHTER[place], shape=_SHAPES[number % len(_SHAPES)])
