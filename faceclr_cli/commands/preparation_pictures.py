"""Pictures of `faceclr prepare`: the contact sheet, and the plot of pictures per person."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.prepare import PrepareConfig


def require_drawable_targets(config: PrepareConfig) -> None:
    """Raises a ConfigError if `--sheet` or `--plot` names a file that cannot be drawn."""
    for target in _targets(config):
        from faceclr_cli.core.plots.figure_style import require_drawable

        require_drawable(target)


def draw_pictures(config: PrepareConfig, faces: Path) -> None:
    """Draws the pictures that `--sheet` and `--plot` name.

    Args:
        config: Options of the command.
        faces: Folder of prepared faces.
    """
    if not _targets(config):
        return
    from faceclr_cli.core.plots.contact_sheet import draw_sheet
    from faceclr_cli.core.plots.picture_counts import draw_counts

    if config.sheet is not None:
        draw_sheet(faces, config.source, config.sheet)
    if config.plot is not None:
        draw_counts(faces, config.plot)


def _targets(config: PrepareConfig) -> list[Path]:
    return [] if config.dry_run else [path for path in (config.sheet, config.plot) if path is not None]
