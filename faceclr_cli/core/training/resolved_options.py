"""Resolution of options: absolute paths, the architecture of `--init`, and the options of a resumed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.fields import option_name, spec_of, to_json
from faceclr_cli.core.configs.name_values import format_name_values
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import AUTO, HISTOGRAMS, LabeledConfig, TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.input_discovery import find_faces, no_faces_error
from faceclr_cli.core.encoders.description import Description
from faceclr_cli.core.encoders.loader import BUILT_IN, load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.training.initial_encoder import (
    FINE_TUNING,
    FROM_SCRATCH,
    InitialEncoder,
    describe_initial_encoder,
    is_label_free,
    make_init_absolute,
    record_initial_encoder,
)
from faceclr_cli.core.training.moved_data import may_have_moved

COMMANDS: dict[type[TrainConfig], str] = {
    PretrainConfig: "pretrain",
    DistillConfig: "distill",
    TripletConfig: "train-triplet",
    CenterConfig: "train-center",
}

# Options that may change when a run is resumed.
_MAY_DIFFER = frozenset(
    {"epochs", "out", "resume", "elastic", "time_budget", "checkpoint_every", "keep", "show_views", "compile", "pixels"}
)
# Options that name files and folders, which may have been moved.
_PLACES = frozenset({"data", "val", "benchmark", "lfw", "pairs", "triplets"})
_ELASTIC = frozenset({"processes", "gpus", "device"})


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions:
    """Resolved options.

    Attributes:
        config: The options with absolute paths, and with the architecture of the encoder in `init`, except its image
            size.
        data: Folders of the training faces.
        val: Folders of the validation faces; if empty, some of `data` are held out.
        out: The run folder; None for the next free folder, see `claim_run_folder`.
        origin: The encoder in `init`; None if training starts from random or ImageNet weights, or is resumed.
        initial: The record of that encoder, also of a resumed run; None for runs of releases that kept none.
        notices: Notices for the user about that encoder.
        precision_rates: The rates by which the precision of a resumed run was chosen; None if it was not.
    """

    config: TrainConfig
    data: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path | None
    origin: Description | None
    initial: InitialEncoder | None
    precision_rates: Mapping[str, float] | None
    notices: tuple[str, ...] = ()


def resolve_options(config: TrainConfig, command: str) -> ResolvedOptions:
    """Resolves the options of a trainer. Does not write anything.

    Args:
        config: The options as given.
        command: Name of the command.

    Raises:
        ConfigError: The training faces or the run to resume are not specified, or an option differs from that run.
        ModelError: The run to resume or the encoder in `init` is missing or damaged.
    """
    if config.resume != "never" and config.out is None:
        raise ConfigError("--resume: name the run to resume with -o RUN")
    given, out = config, config.out
    previous: Mapping[str, Any] | None = None
    initial: InitialEncoder | None = None
    rates: Mapping[str, float] | None = None
    if out is not None and is_resuming(config, out):
        run = _read_previous_run(out, command)
        previous, initial, rates = run["config"], _read_initial(run, out), run.get("precision_rates")
    notices = tuple[str, ...]()
    if isinstance(config, PretrainConfig):
        config = config.with_method() if previous is None else _with_previous_method(config, previous)
        if config.is_computed:
            config, notices = config.without_training()
    if isinstance(config, DistillConfig):
        config = config.with_student() if previous is None else _with_previous_student(config, previous)
    data = config.data or tuple(Path(path) for path in (previous or {}).get("data", ()))
    if not data:
        raise no_faces_error(command, find_faces(Path()))
    val = config.val or tuple(path for path in map(val_beside, data) if path is not None)
    resolved = _absolute_files(replace(config, data=_absolute(data), out=out, val=_absolute(val)))
    origin = None
    if config.starts_from_encoder:
        resolved = replace(resolved, init=make_init_absolute(config.init))
        if previous is None:
            origin, notices = describe_initial_encoder(config.init)
            if isinstance(resolved, PretrainConfig) and origin.architecture.backbone == HISTOGRAMS:
                raise ConfigError(
                    f"--init {config.init}: its backbone, {HISTOGRAMS}, has no weights that pretrain could "
                    "train; train another network, or use train-center"
                )
            resolved = _with_architecture(resolved, origin)
        else:
            resolved = _with_previous_architecture(resolved, previous)
        notices += _ignored_networks(given, resolved)
    if isinstance(resolved, DistillConfig):
        teachers = tuple(model if model in BUILT_IN else str(Path(model).resolve()) for model in resolved.teacher)
        dim = resolved.embedding_dim or max(load_encoder(model).dim for model in teachers)
        resolved = replace(resolved, teacher=teachers, embedding_dim=dim)
    resolved = replace(resolved, embedding_dim=resolved.embedding_length, image_size=resolved.input_size)
    if origin is not None:
        initial = record_initial_encoder(origin, resolved)
    resolved = _with_regularization(resolved, previous, initial)
    if previous is not None and out is not None:
        if resolved.precision == "auto":
            resolved = replace(resolved, precision=previous.get("precision", "auto"))
        _require_same(resolved, previous, out)
    return ResolvedOptions(
        config=resolved,
        data=data,
        val=val,
        out=out,
        origin=origin,
        initial=initial,
        precision_rates=rates,
        notices=notices,
    )


def _with_architecture(config: TrainConfig, origin: Description) -> TrainConfig:
    """Takes the architecture of the encoder that training starts from.

    The exception is the image size of a label-free encoder, which other trainers continue at their own size.
    """
    architecture = origin.architecture
    own_size = config.input_size if is_label_free(origin) else architecture.image_size
    return replace(
        config,
        image_size=config.image_size or own_size,
        backbone=architecture.backbone,
        embedding_dim=config.embedding_dim or architecture.embedding_dim,
        pool=architecture.pool,
        backbone_args=format_name_values(architecture.backbone_args),
    )


def _ignored_networks(given: TrainConfig, resolved: TrainConfig) -> tuple[str, ...]:
    """Returns a notice for each option that chooses another network than that of `init`.

    Such options may come from a configuration file that other runs share.
    """
    own, defaults = _network_options(resolved), _network_options(type(given)())
    return tuple(
        f"--{name} {text}: no effect, because the encoder in --init {given.init} has {own[name] or 'none'}"
        for name, text in _network_options(given).items()
        if text not in (own[name], defaults[name])
    )


def _network_options(config: TrainConfig) -> dict[str, str]:
    """Returns the values of the options that choose a network, by the name of the option."""
    args = ",".join(format_name_values(config.backbone_arguments))
    return {"backbone": config.backbone, "backbone-args": args, "pool": config.pool}


def _with_previous_method(config: PretrainConfig, previous: Mapping[str, Any]) -> PretrainConfig:
    """Takes the method and the backbone of the run to resume, as far as the options do not choose them."""
    return replace(
        config,
        method=previous["method"] if config.method == AUTO else config.method,
        backbone=previous["backbone"] if config.backbone == AUTO else config.backbone,
    )


def _with_previous_student(config: DistillConfig, previous: Mapping[str, Any]) -> DistillConfig:
    """Takes the student of the run to resume, as far as the options do not choose one."""
    return replace(
        config,
        init=previous["init"] if config.init == AUTO else config.init,
        backbone=previous["backbone"] if config.backbone == AUTO else config.backbone,
        image_size=config.image_size or previous["image_size"],
    )


def _with_previous_architecture(config: TrainConfig, previous: Mapping[str, Any]) -> TrainConfig:
    """Takes the architecture of the run to resume, which started from an encoder."""
    return replace(
        config,
        **{name: previous[name] for name in ("backbone", "image_size", "pool")},
        embedding_dim=config.embedding_dim or previous["embedding_dim"],
        backbone_args=tuple(previous.get("backbone_args", ())),
    )


def _with_regularization(
    config: TrainConfig, previous: Mapping[str, Any] | None, initial: InitialEncoder | None
) -> TrainConfig:
    """Resolves the options that have other defaults if training starts from an encoder that recognizes people."""
    if previous is not None:
        values = {name: previous.get(name, value) for name, value in FROM_SCRATCH.items()}
    else:
        is_measured = isinstance(config, CenterConfig) and initial is not None and initial.knows_people
        values = FINE_TUNING if is_measured else FROM_SCRATCH
    return replace(config, **{name: value for name, value in values.items() if getattr(config, name, value) is None})


def is_resuming(config: TrainConfig, out: Path) -> bool:
    """Returns True if a run is resumed: with `--resume`, or with `--resume auto` if the run folder has a run."""
    return config.resume == "yes" or (config.resume == "auto" and (out / "config.json").exists())


def require_unused(out: Path) -> None:
    """Checks that a run folder is new or empty.

    Raises:
        ConfigError: The folder is not empty, or the path is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: exists and is not empty; resume that run with --resume, or choose another -o")


def _absolute(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path.resolve() for path in paths)


def _absolute_files(config: TrainConfig) -> TrainConfig:
    config = replace(config, benchmark=_absolute(config.benchmark))
    if isinstance(config, LabeledConfig) and config.lfw is not None and config.pairs is not None:
        config = replace(config, lfw=config.lfw.resolve(), pairs=config.pairs.resolve())
    if isinstance(config, TripletConfig) and config.triplets is not None:
        config = replace(config, triplets=config.triplets.resolve())
    return config


def claim_run_folder(command: str) -> Path:
    """Creates the next free run folder. Two runs that start at the same time get different folders."""
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
    """Returns the val part of a split if `data` is its train part, otherwise None."""
    split, val = data.resolve().parent, data.resolve().with_name("val")
    return val if data.resolve().name == "train" and (split / "split.json").is_file() and is_face_folder(val) else None


def _read_previous_run(out: Path, command: str) -> Mapping[str, Any]:
    try:
        content = read_json(out / "config.json")
    except DataError as error:
        raise ModelError(f"{out}: no run to resume ({error}); omit --resume to start a new one") from error
    if content.get("kind") != "run" or not isinstance(content.get("config"), dict):
        raise ModelError(f"{out}: config.json does not describe a run; choose another -o")
    if content.get("command") != command:
        raise ConfigError(f"{out}: a run of {content.get('command')}, which {command} cannot resume; choose another -o")
    run: Mapping[str, Any] = content
    return run


def _read_initial(run: Mapping[str, Any], out: Path) -> InitialEncoder | None:
    try:
        return InitialEncoder.from_json(run["init"], out) if run.get("init") else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{out}: config.json is damaged ({error!r}); start a new run with another -o") from error


def _require_same(config: TrainConfig, previous: Mapping[str, Any], out: Path) -> None:
    now, defaults = to_json(config), to_json(type(config)())
    # Runs of earlier releases lack the options that are new; they had the defaults.
    previous = {"backbone_args": [], **FROM_SCRATCH, **previous}
    may_differ = _MAY_DIFFER | (_ELASTIC if config.elastic else frozenset())
    for field in fields(config):
        name = field.name
        before = previous.get(name, defaults[name])  # An option that is newer than the run had its default.
        if name not in may_differ and now[name] != before:
            if name in _PLACES and may_have_moved(now[name], before):
                continue
            label = spec_of(field).metavar if spec_of(field).positional else f"--{option_name(name)}"
            raise ConfigError(
                f"{label}: the run in {out} has {before} and cannot be resumed with {now[name]}; "
                "give what the run has, or start a new run with another -o"
            )
