"""The Typer app: which commands there are, and how the process ends."""

from __future__ import annotations

import difflib
import errno
import functools
import gc
import os
import sys
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand

from faceclr_cli import __version__
from faceclr_cli.commands import streams
from faceclr_cli.commands.help import Group
from faceclr_cli.commands.options import command, command_class
from faceclr_cli.core.workers.process import claim_process

_PANELS = {
    "Start here": ("demo",),
    "From photographs to faces": ("prepare", "split"),
    "Train an encoder": ("pretrain", "train-triplet", "train-center"),
    "Use and measure an encoder": (
        "embed", "linear-eval", "verify", "identify", "cluster", "calibrate", "tsne", "export",
    ),
    "Look after what is there": ("info", "forget", "doctor"),
}  # fmt: skip
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}


class _Commands(Group):
    """All commands, each imported when it is asked for: together they take longer than most of them alone."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Their names, in the order of the help."""
        del ctx
        return list(_PANEL_OF)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """The command of a name."""
        del ctx
        return _load(cmd_name) if cmd_name in _PANEL_OF else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that is meant, or an error that names what may be meant. Typer's own knows no lazy commands."""
        known = [*_PANEL_OF, "--help", "--version"]
        near = [] if args[0] in known else difflib.get_close_matches(args[0], known, n=1)
        if near:
            ctx.fail(f"No such command '{args[0]}'; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


@functools.cache
def _load(name: str) -> TyperCommand:
    module = import_module(f"faceclr_cli.commands.{name.replace('-', '_')}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(
        name, cls=command_class(module.run), rich_help_panel=_PANEL_OF[name], epilog=f"Example: {module.EXAMPLE}"
    )(command(name, module.run))
    return cast(TyperCommand, typer.main.get_command(alone))


app = typer.Typer(
    name="faceclr",
    help="From a folder of photographs to a face encoder that you can trust.",
    epilog="Exit codes: 0 done or same person, 1 different person, 2 usage, 3 data, 4 model, 70 a defect, 75 locked, "
    "130 interrupted, 143 terminated.",
    cls=_Commands,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"faceclr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def _message(error: typer.TyperException) -> str:
    _name_variable(error)
    near = getattr(error, "possibilities", None)  # of a misspelled option, the likeliest first
    return f"No such option '{error.option_name}'; did you mean {near[0]}?" if near else error.format_message()  # type: ignore[attr-defined]


def _name_variable(error: typer.TyperException) -> None:
    """Has a wrong value named after the variable that it is from, where it was not typed."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None or getattr(error, "param_hint", None):
        return
    source = context.get_parameter_source(parameter.name)
    variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
    if source is not None and source.name == "ENVIRONMENT":
        error.param_hint = next(  # type: ignore[attr-defined]
            (f"the variable {name}" for name in variables if os.environ.get(name)), None
        )


def _run() -> int | None:
    completing = "_FACECLR_COMPLETE" in os.environ
    if completing:
        # Typer has Rich break the help that it offers beside a word, and a shell takes each line for a word.
        os.environ["COLUMNS"] = "10000"
    try:
        return cast(int | None, app(prog_name="faceclr", standalone_mode=False))
    except SystemExit as error:
        if completing or not _is_closed_pipe(error):
            raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


def _is_closed_pipe(error: SystemExit) -> bool:
    """Whether Typer ended the process while it handled that the reader of --help closed its end."""
    cause = error.__context__
    return isinstance(cause, OSError) and cause.errno == errno.EPIPE


def main() -> None:
    """Runs a command line, and ends the process with its exit code."""
    claim_process()
    streams.ready()
    try:
        exit_code = _run()
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "faceclr"
        typer.echo(f"error: {_message(error)}\nTry: {path} --help", err=True)
        exit_code = error.exit_code
    except typer.Abort:
        exit_code = 130
    except OSError as error:
        exit_code = streams.forsake(error)
    try:
        sys.stdout.flush()
    except OSError as error:  # What could not be printed before cannot be now, and that was said.
        exit_code = exit_code or streams.forsake(error)
    # The process ends here, and its memory with it: a last collection would only make the user wait. What comes with
    # torch complains about what is left, though.
    if "torch" not in sys.modules:
        gc.freeze()
    sys.exit(exit_code or 0)
