"""The Typer app: which commands there are, and how the process ends."""

from __future__ import annotations

import gc
import sys
from typing import Annotated, TextIO, cast

import typer

from faceclr_cli import __version__
from faceclr_cli.commands import (
    calibrate,
    demo,
    embed,
    export,
    forget,
    identify,
    info,
    linear_eval,
    prepare,
    pretrain,
    split,
    train_center,
    train_triplet,
    tsne,
    verify,
)
from faceclr_cli.commands.help import Group
from faceclr_cli.commands.options import command, command_class

_PANELS = {
    "Start here": {"demo": demo},
    "From photographs to faces": {"prepare": prepare, "split": split},
    "Train an encoder": {"pretrain": pretrain, "train-triplet": train_triplet, "train-center": train_center},
    "Use and measure an encoder": {
        "embed": embed,
        "linear-eval": linear_eval,
        "verify": verify,
        "identify": identify,
        "calibrate": calibrate,
        "tsne": tsne,
        "export": export,
    },
    "Look after what is there": {"info": info, "forget": forget},
}

app = typer.Typer(
    name="faceclr",
    help="From a folder of photographs to a face encoder that you can trust.",
    epilog="Exit codes: 0 done or same person, 1 different person, 2 usage, 3 data, 4 model, 75 locked.",
    cls=Group,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _panel, _modules in _PANELS.items():
    for _name, _module in _modules.items():
        app.command(
            _name, cls=command_class(_module.run), rich_help_panel=_panel, epilog=f"Example: {_module.EXAMPLE}"
        )(command(_module.run))


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


def main() -> None:
    """Runs a command line, and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be printable: a locale without UTF-8 or a name that is not UTF-8 must not end a job.
        cast(TextIO, stream).reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
    try:
        exit_code = app(prog_name="faceclr", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "faceclr"
        typer.echo(f"error: {error.format_message()}\nTry: {path} --help", err=True)
        exit_code = error.exit_code
    except typer.Abort:
        exit_code = 130
    # The process ends here, and its memory with it: a last collection would only make the user wait. What comes with
    # torch complains about what is left, though.
    if "torch" not in sys.modules:
        gc.freeze()
    sys.exit(exit_code or 0)
