"""Options that messages name: each must be an option of the command that shows the message, or of one it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

import typer

from faceclr_cli.commands.app import _PANEL_OF, app

_OPTION = re.compile(r"(?<![\w\-/])--[a-z][a-z0-9-]*[a-z0-9]")
_COMMAND = re.compile(rf"(?<![\w\-])({'|'.join(sorted(_PANEL_OF, key=len, reverse=True))})(?![\w\-])")
_OTHER_PROGRAM = re.compile(r"pip install\b.*")


@cache
def options_of(command: str) -> frozenset[str]:
    """The options of a command, with those of the program itself."""
    group = typer.main.get_command(app)
    loaded = group.get_command(None, command)  # type: ignore[attr-defined]
    names = {name for parameter in loaded.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return frozenset(names | {"--help", "--version", "--debug"})


def foreign_options(text: str, commands: Sequence[str]) -> Iterator[str]:
    """Yields the options in a message that not all of the commands have.

    An option that follows the name of a command, as in `faceclr linear-eval --save`, is an option of that command.

    Args:
        text: The message, one line.
        commands: The commands that may show it.
    """
    text = _OTHER_PROGRAM.sub("", text)
    for found in _OPTION.finditer(text):
        named = [match.group() for match in _COMMAND.finditer(text[: found.start()])]
        owners = (*named[-1:], *commands)
        has = [found.group() in options_of(command) for command in owners]
        if not (all(has[-len(commands) :]) or (named and has[0])):
            yield found.group()


def foreign_in_output(arguments: Sequence[str], errors: str) -> list[str]:
    """Returns the options that standard error names although the command has no such options.

    Args:
        arguments: The command line without the name of the program.
        errors: What the command wrote to standard error.
    """
    command = next((word for word in arguments if word in _PANEL_OF), None)
    # The messages of the demo are those of its steps.
    if command in (None, "demo") or "Traceback" in errors:
        return []
    typed = {word.partition("=")[0] for word in arguments}
    lines = [line for line in errors.splitlines() if "No such option" not in line]
    return [f"{name}: {line}" for line in lines for name in foreign_options(line, [command]) if name not in typed]
