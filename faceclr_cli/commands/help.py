"""How `--help` looks: plain text under headings, in a tenth of a second.

Typer's own boxes come from Rich, whose import and layout would take longer than all the rest of `--help`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMON_PANEL = "Everywhere"
"""The heading of the options that every command has."""
COMMON_OPTIONS = ("--json", "--quiet", "-q", "--debug", "--config")


class Command(TyperCommand):
    """A command whose options stand under the headings of their panels, and may have a value or none."""

    bare: Mapping[str, tuple[str, frozenset[str]]] = {}
    """Options that may stand alone: the value that this means, and the values that may follow."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Reads `--resume` as `--resume yes`, where what follows is no value of it."""
        whole = list[str]()
        for place, word in enumerate(args):
            whole.append(word)
            if word == "--":
                whole += args[place + 1 :]
                break
            if word in self.bare:
                value, values = self.bare[word]
                if place + 1 == len(args) or args[place + 1] not in values:
                    whole.append(value)
        try:
            return super().parse_args(ctx, whole)
        except typer.TyperException as error:
            # Not every error of the parser knows which command it is about, whose --help is to be looked at.
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """`PHOTOS` for what must be given, `[PHOTOS]` for what may; Typer has braces around the first."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes arguments, plain options, panels in the order of the config, and last what all commands have."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(_panel(parameter), []).append(record)
        panels[COMMON_PANEL] = panels.pop(COMMON_PANEL, [])
        _write(formatter, panels)


class Group(TyperGroup):
    """The program, whose commands stand under the headings of their panels."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Says of `faceclr --json verify` where the option belongs."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            name = getattr(error, "option_name", None)
            if name in COMMON_OPTIONS:
                ctx.fail(f"{name} stands after the command: faceclr COMMAND ... {name}")
            raise

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes the commands with the first sentence of each."""
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
