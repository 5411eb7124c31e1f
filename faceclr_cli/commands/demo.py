"""`faceclr demo`: the whole pipeline on drawn people, run as the command lines that a user would type."""

from __future__ import annotations

import shlex
import time

import typer

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.demo_steps import CONFIG, PEOPLE, PHOTOS, STEPS, DemoResult
from faceclr_cli.core.configs.demo import DemoConfig
from faceclr_cli.core.errors import ConfigError

EXAMPLE = "faceclr demo"


def run(config: DemoConfig, console: Console) -> None:
    """Draws people, then prints and runs the command line of each step."""
    # Not at the top of the module: the app is built from the command modules, including this one.
    from faceclr_cli.commands.app import app
    from faceclr_cli.core.drawn.portraits import write_people
    from faceclr_cli.core.workers.capacity import cores

    began, folder = time.perf_counter(), config.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: already exists; remove it, or choose another folder: faceclr demo DIR")
    console.note(f"Drawing {PHOTOS} pictures of each of {PEOPLE} people to {folder}/people.")
    write_people(folder / "people", PEOPLE, PHOTOS, config.seed, console.reporter, workers=cores())
    (folder / "faceclr.toml").write_text(CONFIG, encoding="utf-8")
    common = ["--json"] * console.json + ["--quiet"] * console.quiet + ["--debug"] * console.debug
    for line in STEPS.format(shlex.quote(str(folder))).splitlines():
        console.command(f"faceclr {line}")
        if exit_code := app([*shlex.split(line), *common], standalone_mode=False):
            raise typer.Exit(exit_code)
    result = DemoResult(str(folder), str(folder / "map.png"), round(time.perf_counter() - began, 1))
    console.show(result, result.summary)
