"""`faceclr prepare`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.preparation_pictures import draw_pictures, require_drawable_targets
from faceclr_cli.commands.preparation_tables import show_plan, show_prepared
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.errors import TooManyBadFilesError

EXAMPLE = "faceclr prepare celeba/ -o celeba-faces --sheet sheet.jpg"


def run(config: PrepareConfig, console: Console) -> None:
    """Runs the command, draws its pictures, and shows its result."""
    from faceclr_cli.core.preparing.crop_paths import default_faces_folder
    from faceclr_cli.core.preparing.prepare import PreparePlan, prepare

    require_drawable_targets(config)  # before hours of work
    try:
        result = prepare(config, console.reporter)
    except TooManyBadFilesError:
        draw_pictures(config, config.out or default_faces_folder(config.source))
        raise
    if isinstance(result, PreparePlan):
        show_plan(result, console)
        return
    draw_pictures(config, result.out)
    show_prepared(result, console)
