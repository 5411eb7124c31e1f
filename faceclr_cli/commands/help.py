"""The layout of `--help`: plain text under headings.

Typer's default layout uses Rich, whose import would take longer than everything else that `--help` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from faceclr_cli.commands.progress import wrap_text

COMMON_PANEL = "Common options"
"""The heading of the options of all commands."""
COMMON_OPTIONS = ("--json", "--quiet", "-q", "--debug", "--config")


class Command(TyperCommand):
    """A command whose options are grouped by panel. The value of some options is optional."""

    bare: Mapping[str, tuple[str, frozenset[str]]] = {}
    """Options whose value is optional: the value without one, and the values that may follow."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Reads `--resume` as `--resume yes` if the next word is not one of its values."""
        expanded = list[str]()
        for place, word in enumerate(args):
            expanded.append(word)
            if word == "--":
                expanded += args[place + 1 :]
                break
            if word in self.bare:
                value, values = self.bare[word]
                if place + 1 == len(args) or args[place + 1] not in values:
                    expanded.append(value)
        try:
            return super().parse_args(ctx, expanded)
        except typer.TyperException as error:
            # Some parser errors lack the context, which the hint to the --help of the command needs.
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Formats required arguments as `PHOTOS` and optional ones as `[PHOTOS]`; Typer adds braces to the former."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes arguments, options without a panel, panels in the order of the config, and common options."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(_panel(parameter), []).append(record)
        panels[COMMON_PANEL] = panels.pop(COMMON_PANEL, [])
        _write(formatter, panels)

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes the example so that it can be copied: a long line is continued after a backslash."""
        del ctx
        if self.epilog:
            room = formatter.width - 2
            text = wrap_text(self.epilog, room)
            if "\n" in text:
                text = wrap_text(self.epilog, room - len(" \\"), margin=4).replace("\n", " \\\n")
            formatter.write_paragraph()
            formatter.write("".join(f"  {line}\n" for line in text.splitlines()))


class Group(TyperGroup):
    """The program, whose commands are grouped by panel."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Explains the position of common options on `faceclr --json verify`."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            name = getattr(error, "option_name", None)
            if name in COMMON_OPTIONS:
                ctx.fail(f"{name} must follow the command: faceclr COMMAND ... {name}")
            raise

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes the commands with the first sentence of their help."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(panel, []).append((name, command.get_short_help_str(formatter.width)))
        _write(formatter, panels)


def _panel(parameter: Any) -> str:
    if parameter.name == "help":
        return COMMON_PANEL
    return parameter.rich_help_panel or ("Arguments" if parameter.param_type_name == "argument" else "Options")


def _write(formatter: Any, panels: dict[str, list[tuple[str, str]]]) -> None:
    for heading, rows in panels.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=26)
