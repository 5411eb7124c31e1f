"""Font selection: matplotlib's bundled font, with system fonts as a fallback."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font

from faceclr_cli.core.events import Notice, Reporter

OWN = "DejaVu Sans"  # included in matplotlib, so every machine draws the same letters
_PLACEHOLDERS = ("Last Resort", "LastResort", ".LastResort")
"""Names of fonts that draw the same frame for all letters of a script; matplotlib includes one."""
_SHOWN = 10


def font_for(text: str) -> FT2Font:
    """Returns the font for a printable text: the bundled font with the fallback fonts that the text needs."""
    return get_font(list(dict.fromkeys([_own(), *(path for letter in text if (path := font_file(letter)))])))


def families_for(texts: Iterable[str]) -> list[str]:
    """Returns the names of the fonts that the texts need, in order of preference."""
    files = dict.fromkeys(path for letter in sorted(set("".join(texts))) if (path := font_file(letter)))
    return list(dict.fromkeys([OWN, *(FontProperties(fname=path).get_name() for path in files)]))


@lru_cache(maxsize=65536)
def font_file(letter: str) -> str | None:
    """Returns the file of the preferred font that has a letter, or None if no font has it."""
    if not letter.isprintable():
        return None
    return next((path for path in _files() if _has(path, letter)), None)


def warn_about_missing_letters(texts: Iterable[str], reporter: Reporter) -> None:
    """Warns about letters that no font on this machine has; pictures show their codes instead."""
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
    """Returns the bundled font, then the system fonts: upright sans-serif fonts of regular weight first."""
    others = [entry for entry in sorted(fontManager.ttflist, key=_rank) if not entry.name.startswith(_PLACEHOLDERS)]
    return [_own(), *(entry.fname for entry in others)]


def _rank(entry: FontEntry) -> tuple[bool, bool, bool, str, str]:
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", not 350 <= weight <= 500, "sans" not in entry.name.lower(), entry.name, entry.fname


@lru_cache(maxsize=1024)
def _letters(path: str) -> frozenset[int]:
    try:
        font = get_font(path)
    except (OSError, RuntimeError):  # the file is missing, or matplotlib does not support its format
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


def _has(path: str, letter: str) -> bool:
    return ord(letter) in _letters(path)
