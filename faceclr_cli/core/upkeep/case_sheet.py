"""Sheet of the cases that `faceclr clean` found: each face beside the faces that it contradicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.plots.figure_style import format_count, plain_style, require_drawable, save_whole
from faceclr_cli.core.plots.tiles import Section, Tile, compose_tiles, shrink
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.upkeep.proposals import Proposal

_ROWS, _MOST_SHEETS = 25, 40
_EXAMPLES, _JUNK = 3, 8
_ROW = 8
_TITLES = {
    "same-person": "one person under two names",
    "two-people": "two people under one name",
    "intruder": "someone else",
    "test-set": "in a test set",
    "duplicate": "same file",
    "near-duplicate": "same photograph",
    "no-face": "no face",
    "two-faces": "two faces",
    "blurred": "blurred",
    "unreadable": "cannot be read",
}


def require_sheet(target: Path) -> None:
    """Raises a ConfigError if a sheet cannot be drawn at a path, or exists."""
    require_drawable(target)
    if target.exists():
        raise ConfigError(f"--sheet {display_path(target)}: exists; choose another name, or remove it")


def draw_cases(
    target: Path,
    faces: FaceFolder,
    proposals: Sequence[Proposal],
    examples: Mapping[str, Sequence[str]],
    reporter: Reporter,
) -> tuple[Path, ...]:
    """Draws all cases, 25 on a sheet.

    Args:
        target: The first sheet; the second one of `cases.jpg` is `cases-2.jpg`.
        faces: The faces.
        proposals: The cases.
        examples: Typical faces of each person.
        reporter: Receives the progress, and a notice if there are more cases than 40 sheets show.

    Returns:
        The sheets.

    Raises:
        DataError: A sheet cannot be written.
    """
    cases = _group(proposals)
    if len(cases) > _ROWS * _MOST_SHEETS:
        text = f"the sheets show the first {_ROWS * _MOST_SHEETS:,} of {len(cases):,} cases"
        reporter.report(Notice(text=text, level="warning"))
    pages = [cases[start : start + _ROWS] for start in range(0, len(cases), _ROWS)][:_MOST_SHEETS] or [[]]
    drawn = []
    for number, page in enumerate(track(pages, reporter, "drawing", total=len(pages), unit="sheets"), start=1):
        path = target if number == 1 else target.with_name(f"{target.stem}-{number}{target.suffix}")
        with plain_style():
            sections = [_section(faces, case, examples) for case in page]
            subtitle = f"sheet {number} of {len(pages)}" if cases else "nothing was found"
            title = f"{format_count(len(cases), 'case', 'cases')} in {format_count(len(faces), 'face', 'faces')}"
            save_whole(compose_tiles(title, subtitle, sections), path)
        drawn.append(path)
    return tuple(drawn)


def _group(proposals: Sequence[Proposal]) -> list[list[Proposal]]:
    """Groups proposals that are one case: the faces of a second person, and rows of junk."""
    cases = dict[object, list[Proposal]]()
    for number, each in enumerate(proposals):
        key: object = number
        if each.what == "two-people":
            key = each.other
        elif not each.other and each.what != "intruder":
            earlier = sum(len(case) for case in cases.values() if case[0].what == each.what)
            key = (each.what, earlier // _JUNK)
        cases.setdefault(key, []).append(each)
    return list(cases.values())


def _section(faces: FaceFolder, case: Sequence[Proposal], examples: Mapping[str, Sequence[str]]) -> Section:
    first = case[0]
    heading = f"{_TITLES[first.what]}: {display_path(first.face)}" if len(case) == 1 else _TITLES[first.what]
    if first.what == "two-people":
        heading += f": {display_path(first.face.split('/', 1)[0])}"
    if first.odds is not None:
        heading += f", odds {f'{first.odds:,.0f}' if first.odds < 1e6 else 'over 1,000,000'} to 1"
    if first.what in ("duplicate", "near-duplicate"):
        return Section(tiles=[_tile(faces, path) for path in (first.face, first.other)], heading=heading)
    if first.is_person:
        tiles = [_tile(faces, path) for path in examples.get(first.face, ())[:_EXAMPLES]]
    else:
        most = _ROW if not first.other and first.what != "intruder" else _ROW - 2 * _EXAMPLES
        tiles = [_tile(faces, each.face) for each in case[:most]]
        if first.what in ("intruder", "two-people"):
            owner = canonical(first.face.split("/", 1)[0])
            tiles += [_tile(faces, path, "has this name") for path in examples.get(owner, ())[:_EXAMPLES]]
    if first.what in ("intruder", "same-person"):
        tiles += [_tile(faces, path, f"{first.action} to") for path in examples.get(first.other, ())[:_EXAMPLES]]
    return Section(
        tiles=tiles, heading=heading + (f" ({display_path(first.other)})" if first.what == "test-set" else "")
    )


def _tile(faces: FaceFolder, path: str, text: str = "") -> Tile:
    try:
        image = shrink(decode_picture(faces.read_path(path), path))
    except (DataError, KeyError):
        image = None
    return Tile(image=image, name=path.rsplit(".", 1)[0], text=text)
