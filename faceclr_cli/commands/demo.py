"""`faceclr demo`: the whole pipeline on drawn people, by the command lines that a user would type."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass
from typing import Any

import typer

from faceclr_cli.commands.console import Console
from faceclr_cli.core.configs.demo import DemoConfig
from faceclr_cli.core.errors import ConfigError

EXAMPLE = "faceclr demo"

_PEOPLE, _PHOTOS = 240, 10

_CONFIG = """\
# A small network on small pictures, so that a laptop trains it in about a minute.
[pretrain]
backbone = "test_resnet"
image-size = 40
embedding-dim = 128
epochs = 25
batch-size = 64
lr = 4e-3
temperature = 0.07
hue = 0.025
light = 0.5
rotate = 8.0
blur = 0.2
augment = "simclr"
crop-scale = 0.4
"""

_STEPS = """\
prepare {0}/people -o {0}/faces
split {0}/faces -o {0}/splits --train 0.75 --val 0.05 --test 0.2
pretrain {0}/splits/train -o {0}/simclr --config {0}/faceclr.toml
pretrain {0}/splits/train -o {0}/untrained --config {0}/faceclr.toml --epochs 0
embed {0}/splits/test --model pixels -o {0}/pixels.h5
embed {0}/splits/test --model {0}/untrained -o {0}/untrained.h5
embed {0}/splits/test --model {0}/simclr -o {0}/simclr.h5
linear-eval {0}/pixels.h5 {0}/untrained.h5 {0}/simclr.h5
verify --embeddings {0}/pixels.h5 --pairs {0}/splits/pairs.csv
verify --embeddings {0}/simclr.h5 --pairs {0}/splits/pairs.csv
tsne {0}/simclr.h5 -o {0}/map.png
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    folder: str
    map: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def run(config: DemoConfig, console: Console) -> None:
    """Draws people, then runs each step as the command line that it prints."""
    # The app is made of the commands, this one among them.
    from faceclr_cli.commands.app import app
    from faceclr_cli.core.drawn.portraits import write_people
    from faceclr_cli.core.workers.capacity import cores

    began, folder = time.perf_counter(), config.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there already; remove it, or name another folder: faceclr demo DIR")
    console.note(f"Drawing {_PEOPLE} people who do not exist, {_PHOTOS} pictures of each, into {folder}/people.")
    write_people(folder / "people", _PEOPLE, _PHOTOS, config.seed, console.reporter, workers=cores())
    (folder / "faceclr.toml").write_text(_CONFIG, encoding="utf-8")
    common = ["--json"] * console.json + ["--quiet"] * console.quiet + ["--debug"] * console.debug
    for line in _STEPS.format(shlex.quote(str(folder))).splitlines():
        console.command(f"faceclr {line}")
        if exit_code := app([*shlex.split(line), *common], standalone_mode=False):
            raise typer.Exit(exit_code)
    result = DemoResult(str(folder), str(folder / "map.png"), round(time.perf_counter() - began, 1))
    console.show(
        result,
        f"\nThe whole demo took {result.seconds:.0f} s. A map of people it never saw: {result.map}\n"
        "Next, with a folder of your own photographs: faceclr prepare PHOTOS -o faces, then faceclr embed faces",
    )
