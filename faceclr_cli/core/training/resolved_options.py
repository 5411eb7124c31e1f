"""From the options as given to the options that hold: paths found, the architecture of `init`, the run resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.fields import option_name, spec_of, to_json
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.input_discovery import find_faces, no_faces_error
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Description, read_description
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.training.moved_data import may_be_moved

COMMANDS: dict[type[TrainConfig], str] = {
    PretrainConfig: "pretrain",
    TripletConfig: "train-triplet",
    CenterConfig: "train-center",
}

# What may differ between a run and its continuation.
_MAY_DIFFER = frozenset(
    {"epochs", "out", "resume", "elastic", "time_budget", "checkpoint_every", "keep", "show_views", "compile"}
)
# What names files and folders, which may have been moved.
_PLACES = frozenset({"data", "val", "lfw", "pairs", "triplets"})
_ELASTIC = frozenset({"processes", "gpus", "device"})


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions:
    """Options that hold.

    Attributes:
        config: With absolute paths, and with the architecture of the encoder that it starts from, but for its size.
        data: The faces to train on.
        val: The faces to watch; none: some of `data` are held out.
        out: The run folder; None: the next free one, see `claim`.
        origin: The encoder that the run starts from, if it is one.
    """

    config: TrainConfig
    data: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path | None
    origin: Description | None


def resolve_options(config: TrainConfig, command: str) -> ResolvedOptions:
    """Decides what the options leave open. Reads, but writes nothing.

    Raises:
        ConfigError: Nothing says what to train on, or where the run to continue is, or an option differs from it.
        ModelError: There is no run to continue, or no encoder to start from.
    """
    if config.resume != "never" and config.out is None:
        raise ConfigError("--resume: give the run to continue with -o RUN")
    out = config.out
    former = _former(out, command) if out is not None and is_resuming(config, out) else None
    data = config.data or tuple(Path(path) for path in (former or {}).get("data", ()))
    if not data:
        raise no_faces_error(command, find_faces(Path()))
    val = config.val or tuple(path for path in map(val_beside, data) if path is not None)
    settled = _absolute_files(replace(config, data=_absolute(data), out=out, val=_absolute(val)))
    origin = None
    if config.init not in ("random", "imagenet"):
        settled = replace(settled, init=str(Path(config.init).resolve()))
        if former is None:
            origin = read_description(Path(config.init))
            # All but the size, at which a network may go on that has learned at another.
            settled = replace(settled, **replace(origin.architecture, image_size=config.image_size).to_json())
        else:
            architecture = [field.name for field in fields(Architecture)]
            settled = replace(settled, **{name: former[name] for name in architecture})
    if former is not None and out is not None:
        _require_same(settled, former, out)
    return ResolvedOptions(config=settled, data=data, val=val, out=out, origin=origin)


def is_resuming(config: TrainConfig, out: Path) -> bool:
    """Whether a run is to be continued: if that is asked for, or if `auto` finds one."""
    return config.resume == "yes" or (config.resume == "auto" and (out / "config.json").exists())


def require_unused(out: Path) -> None:
    """Refuses to write a run into a folder that holds something.

    Raises:
        ConfigError: It does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: exists and is not empty; continue that run with --resume, or choose another -o")


def _absolute(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path.resolve() for path in paths)


def _absolute_files(config: TrainConfig) -> TrainConfig:
    if isinstance(config, LabeledConfig) and config.lfw is not None and config.pairs is not None:
        config = replace(config, lfw=config.lfw.resolve(), pairs=config.pairs.resolve())
    if isinstance(config, TripletConfig) and config.triplets is not None:
        config = replace(config, triplets=config.triplets.resolve())
    return config


def claim(command: str) -> Path:
    """Makes the next free run folder. To make it is to claim it: of two runs that begin at once, each gets its own."""
    parent, number = Path("runs"), 1
    parent.mkdir(exist_ok=True)
    while True:
        folder = parent / f"{command}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def val_beside(data: Path) -> Path | None:
    """The val part of the split whose train part is given, or None."""
    split, val = data.resolve().parent, data.resolve().with_name("val")
    return val if data.resolve().name == "train" and (split / "split.json").is_file() and is_face_folder(val) else None


def _former(out: Path, command: str) -> Mapping[str, Any]:
    """The options of the run that is to be continued."""
    try:
        content = read_json(out / "config.json")
    except DataError as error:
        raise ModelError(f"{out}: no run to continue ({error}); leave --resume out to start one") from error
    if content.get("kind") != "run" or not isinstance(content.get("config"), dict):
        raise ModelError(f"{out}: its config.json is not that of a run")
    if content.get("command") != command:
        raise ConfigError(f"{out}: a run of {content.get('command')}, which {command} cannot continue")
    former: dict[str, Any] = content["config"]
    return former


def _require_same(config: TrainConfig, former: Mapping[str, Any], out: Path) -> None:
    now = to_json(config)
    may_differ = _MAY_DIFFER | (_ELASTIC if config.elastic else frozenset())
    for field in fields(config):
        name = field.name
        if name not in may_differ and now[name] != former.get(name):
            if name in _PLACES and may_be_moved(now[name], former.get(name)):
                continue
            label = spec_of(field).metavar if spec_of(field).positional else f"--{option_name(name)}"
            raise ConfigError(
                f"{label}: the run in {out} has {former.get(name)}, so it cannot be continued with {now[name]}"
            )
