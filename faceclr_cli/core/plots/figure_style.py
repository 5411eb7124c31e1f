"""Common style of the plots: colors, formats, reproducible output, and text fitting."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.plots.fonts import OWN, families_for, font_file
from faceclr_cli.core.text import display_path

INK, QUIET, PAPER, GROUND, ACCENT = "#1F2933", "#5F6C7B", "#FFFFFF", "#F5F6F8", "#332288"
SHARE_COLORS = LinearSegmentedColormap.from_list(
    "share", ["#FFFFFF", "#D9D6EF", "#9A92CE", "#5B4FA8", ACCENT, "#1B1147"]
)
"""One hue from light to dark, so that the order is visible to color-blind readers and in grayscale."""
UNKNOWN_COLOR = "#7A8794"
DOTS = 160
"""Pixels per inch."""

_FINE = {"pil_kwargs": {"quality": 92}}
_FORMATS: dict[str, dict[str, Any]] = {
    "jpg": _FINE,
    "jpeg": _FINE,
    "png": {},
    "webp": _FINE,
    # Without the date, so that the same content gives the same bytes.
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}
"""Arguments of `savefig` for each format."""


def require_drawable(target: Path) -> None:
    """Checks the file name of a picture, so that an error is raised before the computation.

    Raises:
        ConfigError: The suffix is not a supported picture format, or `target` is a folder.
    """
    if _suffix(target) not in _FORMATS:
        *others, last = (f".{suffix}" for suffix in _FORMATS if suffix != "jpeg")
        raise ConfigError(f"{display_path(target)}: unsupported picture format; use {', '.join(others)} or {last}")
    if target.is_dir():
        raise ConfigError(f"{display_path(target)}: is a folder; give the name of a picture file")


@contextmanager
def plain_style() -> Iterator[None]:
    """Uses matplotlib's default style within the block, so that the user's matplotlibrc has no effect."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)  # system fonts may lack a bold face; the regular one is good enough
    try:
        with _style():
            yield
    finally:
        fonts.setLevel(level)


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.style.context("default"), warnings.catch_warnings():
        # Missing glyphs are reported elsewhere.
        warnings.simplefilter("ignore")
        matplotlib.rcParams.update({"svg.hashsalt": "faceclr", "font.family": OWN})
        yield


def blank_figure(width: float, height: float) -> Figure:
    """Returns an empty figure; width and height in inches."""
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the suffix. Call it within `plain_style`."""
    for text in figure.findobj(Text):
        families = families_for([text.get_text()])
        if len(families) > 1:
            text.set_fontfamily(families)
    figure.savefig(path, format=_suffix(path), dpi=DOTS, **_FORMATS[_suffix(path)])


def save_whole(figure: Figure, target: Path) -> None:
    """Writes a figure atomically; otherwise like `save`.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        with atomic_path(target) as temporary:
            save(figure, temporary)
    except OSError as error:
        raise DataError(f"{display_path(target)}: cannot be written ({error.strerror or error})") from error


def format_count(number: int, one: str, several: str) -> str:
    """Returns a count with its noun, such as `1 face` or `1,200 faces`."""
    return f"{number:,} {one if number == 1 else several}"


def drawable_text(text: str) -> str:
    """Escapes control characters and letters without a glyph in any font, since folder names may contain anything."""
    return "".join(
        letter if font_file(letter) else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def fit_text(text: str, width: float, size: float) -> str:
    """Returns a drawable text, shortened in the middle to `width` inches at a font size of `size` points."""
    text = drawable_text(text)
    cut, keep = text, len(text)
    while keep > 1 and text_width(cut, size) > width:
        keep -= 1
        cut = text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]
    return cut


def text_width(text: str, size: float) -> float:
    """Returns the width of a drawable text in inches at a font size of `size` points."""
    return sum(map(_letter_width, text)) * size / 72


@lru_cache(maxsize=4096)
def _letter_width(letter: str) -> float:
    """Returns the width of a letter in units of the font size."""
    font = get_font(font_file(letter) or findfont(FontProperties(family=OWN)))
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


def _suffix(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
