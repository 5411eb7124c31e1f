"""`faceclr prepare`."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.commands.console import Console, facts, table
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.errors import TooManyBadFilesError

EXAMPLE = "faceclr prepare celeba/ -o celeba-faces --sheet sheet.jpg"


def run(config: PrepareConfig, console: Console) -> None:
    """Runs the command, draws what is asked for, and shows its result."""
    from faceclr_cli.core.preparing.crop_paths import default_faces_folder
    from faceclr_cli.core.preparing.prepare import PreparePlan, prepare

    _draw(config, None)  # a name that cannot be drawn to shows before hours of work
    try:
        result = prepare(config, console.reporter)
    except TooManyBadFilesError:
        _draw(config, config.out or default_faces_folder(config.source))
        raise
    if isinstance(result, PreparePlan):
        rows = {
            "photographs": f"{result.photos}, {result.people} people (layout: {result.layout})",
            "to look at": f"{result.todo}; {result.finished} are done already",
            "to remove": f"faces of {result.removed} photographs that are gone",
            "would write": str(result.out),
        }
        if not result.removed:
            del rows["to remove"]
        console.show(result, facts(rows))
        return
    _draw(config, result.out)
    speed = f", {result.photos_per_second:.0f} a second" if result.photos_per_second else ""
    rows = {
        "faces": f"{result.faces} of {result.photos} photographs, {result.people} people",
        "this run": f"{result.processed} photographs in {result.seconds:.1f} s{speed}",
        "written to": str(result.out),
        "ledger": str(result.ledger),
    }
    without = [(reason, str(count)) for reason, count in result.reasons.items()]
    console.show(result, facts(rows), *([table(("without a crop", "photographs"), without)] if without else []))


def _draw(config: PrepareConfig, faces: Path | None) -> None:
    """Draws what was asked for; without faces, only finds out whether it could."""
    if config.dry_run or (config.sheet is None and config.plot is None):
        return
    from faceclr_cli.core.plots.contact_sheet import draw_sheet
    from faceclr_cli.core.plots.figure_style import require_drawable
    from faceclr_cli.core.plots.picture_counts import draw_counts

    for target in (config.sheet, config.plot):
        if target is not None:
            require_drawable(target)
    if faces is not None and config.sheet is not None:
        draw_sheet(faces, config.source, config.sheet)
    if faces is not None and config.plot is not None:
        draw_counts(faces, config.plot)
