"""Which letters can be drawn: those of matplotlib's own font, and of the fonts of this machine where it lacks some."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font

from faceclr_cli.core.events import Notice, Reporter

OWN = "DejaVu Sans"  # comes with matplotlib, so every machine draws the same letters
_PLACEHOLDERS = ("Last Resort", "LastResort", ".LastResort")
"""Names of fonts that show the same frame for all letters of a script; matplotlib brings one."""
_SHOWN = 10


def font_for(text: str) -> FT2Font:
    """The font to draw a printable text with: our own, and behind it those that it needs for some letters."""
    return get_font(list(dict.fromkeys([_own(), *(path for letter in text if (path := font_file(letter)))])))


def families_for(texts: Iterable[str]) -> list[str]:
    """Names of the fonts to draw some texts with, in the order in which they are asked for a letter."""
    files = dict.fromkeys(path for letter in sorted(set("".join(texts))) if (path := font_file(letter)))
    return list(dict.fromkeys([OWN, *(FontProperties(fname=path).get_name() for path in files)]))


@lru_cache(maxsize=65536)
def font_file(letter: str) -> str | None:
    """The file of a font that has a letter: our own, else the first of this machine; None where there is none."""
    if not letter.isprintable():
        return None
    return next((path for path in _files() if _has(path, letter)), None)


def say_what_is_missing(texts: Iterable[str], reporter: Reporter) -> None:
    """Reports once which letters of some texts no font of this machine has, so that pictures show their codes."""
    missing = sorted({letter for letter in set("".join(texts)) if letter.isprintable() and font_file(letter) is None})
    if missing:
        letters = "".join(missing[:_SHOWN]) + ("…" if len(missing) > _SHOWN else "")
        advice = "install one, such as Noto Sans CJK for Chinese, Japanese and Korean"
        text = f"no font on this machine has the letters {letters}, so pictures show their codes; {advice}"
        reporter.report(Notice(text=text, level="warning"))


@lru_cache(maxsize=1)
def _own() -> str:
    return str(findfont(FontProperties(family=OWN)))


def _files() -> list[str]:
    """Our own font, then those of the machine: upright sans-serif ones of usual weight first."""
    others = [entry for entry in sorted(fontManager.ttflist, key=_rank) if not entry.name.startswith(_PLACEHOLDERS)]
    return [_own(), *(entry.fname for entry in others)]


def _rank(entry: FontEntry) -> tuple[bool, bool, bool, str, str]:
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", not 350 <= weight <= 500, "sans" not in entry.name.lower(), entry.name, entry.fname


@lru_cache(maxsize=1024)
def _letters(path: str) -> frozenset[int]:
    try:
        font = get_font(path)
    except (OSError, RuntimeError):  # a file that is gone, or of a kind that matplotlib cannot draw
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


def _has(path: str, letter: str) -> bool:
    return ord(letter) in _letters(path)
