"""The Typer application: its commands, and the exit of the process."""

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
    "Getting started": ("demo",),
    "Prepare faces": ("prepare", "clean", "split", "pack"),
    "Train an encoder": ("pretrain", "distill", "train-triplet", "train-center"),
    "Use and evaluate an encoder": (
        "embed", "linear-eval", "verify", "benchmark", "identify", "cluster", "review", "calibrate", "tsne", "import",
        "export",
    ),
    "Manage artifacts": ("info", "forget", "doctor"),
}  # fmt: skip
_MODULES = {"import": "import_encoder"}
"""Modules that cannot have the name of their command, because it is a keyword of Python."""

_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}


class _LazyCommands(Group):
    """All commands. Each is imported on demand, since importing all of them is slow."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns the names of the commands in the order of the help."""
        del ctx
        return list(_PANEL_OF)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """Returns the command with this name, or None."""
        del ctx
        return _load(cmd_name) if cmd_name in _PANEL_OF else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Resolves a command, and suggests a similar name if there is none. Typer's own needs the loaded commands."""
        known = [*_PANEL_OF, "--help", "--version"]
        near = [] if args[0] in known else difflib.get_close_matches(args[0], known, n=1)
        if near:
            ctx.fail(f"No such command '{args[0]}'; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


def module_name(command: str) -> str:
    """Returns the name of the module of a command."""
    return _MODULES.get(command, command.replace("-", "_"))


@functools.cache
def _load(name: str) -> TyperCommand:
    module = import_module(f"faceclr_cli.commands.{module_name(name)}")
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(
        name, cls=command_class(module.run), rich_help_panel=_PANEL_OF[name], epilog=f"Example: {module.EXAMPLE}"
    )(command(name, module.run))
    return cast(TyperCommand, typer.main.get_command(single))


app = typer.Typer(
    name="faceclr",
    help="Prepare, train, evaluate and use face encoders.",
    epilog="Exit codes: 0 success or same person, 1 different people, 2 usage, 3 data, 4 model, 70 internal error, "
    "75 locked, 130 interrupted, 141 output pipe closed, 143 terminated.",
    cls=_LazyCommands,
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


def _error_message(error: typer.TyperException) -> str:
    _blame_variable(error)
    near = getattr(error, "possibilities", None)  # similar option names, the most similar first
    return f"No such option '{error.option_name}'; did you mean {near[0]}?" if near else error.format_message()  # type: ignore[attr-defined]


def _blame_variable(error: typer.TyperException) -> None:
    """Names the environment variable in the error if the invalid value was read from it."""
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
        # Rich would wrap the help text of a completion, and the shell would take each line for a separate word.
        os.environ["COLUMNS"] = "10000"
    try:
        return cast(int | None, app(prog_name="faceclr", standalone_mode=False))
    except SystemExit as error:
        if completing or not _is_closed_pipe(error):
            raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


def _is_closed_pipe(error: SystemExit) -> bool:
    """True if Typer exited because the reader of the output of --help closed the pipe."""
    cause = error.__context__
    return isinstance(cause, OSError) and cause.errno == errno.EPIPE


def main() -> None:
    """Runs the command line and exits with its exit code."""
    claim_process()
    streams.set_up()
    try:
        exit_code = _run()
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "faceclr"
        typer.echo(f"error: {_error_message(error)}\nTry: {path} --help", err=True)
        exit_code = error.exit_code
    except typer.Abort:
        exit_code = 130
    except OSError as error:
        exit_code = streams.abandon_output(error)
    try:
        sys.stdout.flush()
    except OSError as error:  # Output that failed before fails again; that error has been reported already.
        exit_code = exit_code or streams.abandon_output(error)
    # Skip the final garbage collection, which only delays the exit. Some of torch's dependencies rely on it, however.
    if "torch" not in sys.modules:
        gc.freeze()
    sys.exit(exit_code or 0)
