from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from faceclr_cli.core.events import Event, Notice
from faceclr_cli.core.plots import fonts
from faceclr_cli.core.plots import labeled_photo as annotate
from faceclr_cli.core.plots.figure_style import drawable_text, fit_text, text_width
from faceclr_cli.core.plots.labeled_photo import Label
from faceclr_cli.core.plots.scatter_map import draw_map

NAME = "\U00013000\U00013001\U00013002"
"""Hieroglyphs, which few fonts contain."""


def block() -> object:
    pen = TTGlyphPen(None)
    for number, (x, y) in enumerate([(100, 0), (100, 700), (900, 700), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)((x, y))
    pen.closePath()
    return pen.glyph()


def forget_fonts() -> None:
    fonts.font_file.cache_clear()
    fonts._letters.cache_clear()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with matplotlib's own fonts only; yields the path of a font that a test may add."""
    # One of them has a frame for every letter there is, by which no name can be read.
    own = [entry for entry in fontManager.ttflist if entry.name == fonts.OWN or entry.name.startswith("Last Resort")]
    monkeypatch.setattr(fontManager, "ttflist", own)
    forget_fonts()
    yield tmp_path / "block.ttf"
    forget_fonts()


def install(path: Path) -> None:
    """A font that shows each of the name's letters as a block, one em wide."""
    builder = FontBuilder(1000, isTTF=True)
    names = [f"glyph{number}" for number in range(len(NAME))]
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap(dict(zip(map(ord, NAME), names, strict=True)))
    builder.setupGlyf({".notdef": block(), **{name: block() for name in names}})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", *names), (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    fontManager.addfont(path)
    forget_fonts()


def notices(texts: list[str]) -> list[str]:
    said: list[str] = []

    class Ears:
        def report(self, event: Event) -> None:
            assert isinstance(event, Notice)
            said.append(event.text)

    fonts.warn_about_missing_letters(texts, Ears())
    return said


def test_letters_that_no_font_has_are_shown_as_codes_and_that_is_said_once(machine: Path) -> None:
    assert drawable_text("a" + NAME[0]) == "a\\U00013000"
    (text,) = notices([NAME, "Ann", NAME[::-1]])
    assert text.startswith(f"no font on this machine has the letters {NAME}, so pictures show their codes; install")
    assert notices(["Ann", "Zoë", "Егор", "two\nlines", "caf\udce9"]) == []


def test_a_font_of_the_machine_is_used_for_the_letters_that_ours_lacks(machine: Path) -> None:
    install(machine)
    assert drawable_text(NAME + "\n") == NAME + "\\n"
    assert notices([NAME]) == []
    assert text_width(NAME, 72) == pytest.approx(len(NAME))
    assert fit_text(NAME * 9, 3, 72).count("…") == 1
    assert fonts.families_for(["Ann", NAME]) == ["DejaVu Sans", "Blocks"]


def test_annotated_photographs_and_maps_show_them(machine: Path, tmp_path: Path) -> None:
    def drawn(name: str) -> tuple[np.ndarray, bytes]:
        plate = annotate._plate(Label(box=(0, 0, 9, 9), name=name), 40, 900, is_numbered=False)
        target = tmp_path / "map.png"
        draw_map(target, np.eye(4, 2, dtype=np.float32), [name] * 4, title="t", subtitle="s")
        return plate.letters, target.read_bytes()

    codes, map_of_codes = drawn(NAME)
    install(machine)
    letters, map_of_letters = drawn(NAME)
    assert letters.shape[1] < codes.shape[1] / 2
    assert (letters == 255).mean() > 2 * (codes == 255).mean()  # blocks
    assert map_of_letters != map_of_codes


def test_fonts_that_cannot_be_read_are_passed_over(machine: Path) -> None:
    install(machine)
    machine.write_bytes(b"no font")
    forget_fonts()
    assert drawable_text(NAME[0]) == "\\U00013000"
