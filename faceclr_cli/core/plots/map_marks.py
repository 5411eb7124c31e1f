"""How people are told apart on a map, in a picture as on a page: each has a color and a shape."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.plots.figure_style import NOBODY_COLOR

# Paul Tol's "muted" scheme (its sand darker, for paper), which stays apart for the color-blind. Its nine
# colors and seven shapes don't share a divisor, so that 63 people have a sign of their own.
_COLORS = ("#332288", "#CC6677", "#117733", "#88CCEE", "#D4B13F", "#882255", "#44AA99", "#AA4499", "#999933")
# The same hues, of which the dark ones are lighter, for a dark ground.
_LIGHTER = ("#8C7BF0", "#E58A97", "#3FAE62", "#88CCEE", "#E3C75B", "#D65C94", "#4FC4B0", "#C878BC", "#B5B54A")
_SHAPES = ("o", "^", "s", "D", "v", "P", "X")

DISTINCT = len(_COLORS) * len(_SHAPES)
"""How many people have a sign that nobody else has."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The sign of a person.

    Attributes:
        color: On light ground, as `#rrggbb`.
        on_dark: The same hue on dark ground.
        shape: A marker by matplotlib's name for it.
    """

    color: str
    on_dark: str
    shape: str


NOBODY = Mark(color=NOBODY_COLOR, on_dark="#93A0AD", shape="o")


def mark_of(number: int) -> Mark:
    """The sign of the person with this number, in the order of the names."""
    place = number % len(_COLORS)
    return Mark(color=_COLORS[place], on_dark=_LIGHTER[place], shape=_SHAPES[number % len(_SHAPES)])
