"""What all pictures of this room share: colors, formats, bytes that repeat, and text that fits."""

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
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.plots.fonts import OWN, families_for, font_file
from faceclr_cli.core.text import display_path

INK, QUIET, PAPER, GROUND, ACCENT = "#1F2933", "#5F6C7B", "#FFFFFF", "#F5F6F8", "#332288"
NOBODY_COLOR = "#7A8794"
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
"""What `savefig` is told of each format."""


def require_drawable(target: Path) -> None:
    """Refuses a name that no picture can have; worth asking before long work.

    Raises:
        ConfigError: Its suffix is not that of a format in which pictures are drawn, or it is a folder.
    """
    if _suffix(target) not in _FORMATS:
        *others, last = (f".{suffix}" for suffix in _FORMATS if suffix != "jpeg")
        raise ConfigError(f"{display_path(target)}: the name of a picture ends in {', '.join(others)} or {last}")
    if target.is_dir():
        raise ConfigError(f"{display_path(target)}: is a folder; name the file that the picture goes to")


@contextmanager
def plain_style() -> Iterator[None]:
    """The library's own style for as long as the block lasts: the user's matplotlibrc must not change a picture."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)  # fonts of the machine may lack a bold face, in whose place the usual one is as good
    try:
        with _style():
            yield
    finally:
        fonts.setLevel(level)


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.style.context("default"), warnings.catch_warnings():
        # What a font lacks is no news to the user.
        warnings.simplefilter("ignore")
        matplotlib.rcParams.update({"svg.hashsalt": "faceclr", "font.family": OWN})
        yield


def blank_figure(width: float, height: float) -> Figure:
    """An empty sheet of paper, sides in inches."""
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a picture in the format of its suffix. To be called within `plain_style`."""
    for text in figure.findobj(Text):
        families = families_for([text.get_text()])
        if len(families) > 1:
            text.set_fontfamily(families)
    figure.savefig(path, format=_suffix(path), dpi=DOTS, **_FORMATS[_suffix(path)])


def save_whole(figure: Figure, target: Path) -> None:
    """Writes a picture as `save` does, whole or not at all.

    Raises:
        DataError: It cannot be written.
    """
    try:
        with atomic_path(target) as temporary:
            save(figure, temporary)
    except OSError as error:
        raise DataError(f"{display_path(target)}: cannot be written ({error.strerror or error})") from error


def format_count(number: int, one: str, several: str) -> str:
    """`1 face`, `1,200 faces`."""
    return f"{number:,} {one if number == 1 else several}"


def drawable_text(text: str) -> str:
    """Any name on one line, with escapes for what no font has, since names of folders may hold anything."""
    return "".join(
        letter if font_file(letter) else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def fit_text(text: str, width: float, size: float) -> str:
    """A printable text, cut in the middle where it is wider than `width` inches in type of `size` points."""
    text = drawable_text(text)
    cut, keep = text, len(text)
    while keep > 1 and text_width(cut, size) > width:
        keep -= 1
        cut = text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]
    return cut


def text_width(text: str, size: float) -> float:
    """How wide a printable text is in type of `size` points. Inches."""
    return sum(map(_letter_width, text)) * size / 72


@lru_cache(maxsize=4096)
def _letter_width(letter: str) -> float:
    """In units of the size of the type."""
    font = get_font(font_file(letter) or findfont(FontProperties(family=OWN)))
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


def _suffix(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
