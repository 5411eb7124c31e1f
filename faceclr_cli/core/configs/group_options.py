"""Options of the commands that report the errors of groups of people."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.fields import option


def groups_option(panel: str) -> Path | None:
    """The field of `--groups`."""
    return option(
        None,
        metavar="FILE",
        panel=panel,
        help="Also report the error rates of groups of people at one threshold: CSV 'identity,GROUP[,GROUP2...]' or "
        "'path,GROUP...', with a header",
    )


def groups_plot_option(panel: str) -> Path | None:
    """The field of `--groups-plot`."""
    return option(
        None,
        metavar="FILE",
        panel=panel,
        help="Plot the error rates of the groups and of pairs of groups (.png, .svg, .pdf)",
    )


def require_groups(groups: Path | None, groups_plot: Path | None) -> None:
    """Raises a ValueError if there is a plot of groups without groups."""
    if groups_plot is not None and groups is None:
        raise ValueError("--groups-plot: requires --groups FILE")
