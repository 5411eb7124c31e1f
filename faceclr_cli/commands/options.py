"""Conversion of config dataclasses to Typer options, environment variables and TOML tables."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from faceclr_cli.commands.completion import completer
from faceclr_cli.commands.console import Console, report_errors
from faceclr_cli.commands.help import COMMON_PANEL, Command
from faceclr_cli.core.configs.fields import Config, option_name, spec_of
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.text import decode

C = TypeVar("C", bound=Config)

CONFIG_FILE = Path("faceclr.toml")

AMBIGUOUS = frozenset(
    ("batch_size", "face", "faces", "far", "format", "half", "head", "identities", "margin", "method", "min_images",
     "min_size", "out", "pairs", "photos", "plot", "precision", "quality", "source", "test", "train", "val")
)  # fmt: skip
"""Options whose meaning depends on the command. Only variables that contain the command name set them."""

FOR_ONE_SOURCE = frozenset({"import"})
"""Commands whose options describe one source. Only variables that contain the command name set them."""

_METAVARS = {int: "N", int | None: "N", float: "X", float | None: "X", str: "TEXT"}


def command(name: str, body: Callable[[C, Console], int | None]) -> Callable[..., None]:
    """Creates the function that Typer calls.

    Args:
        name: Name of the command.
        body: Runs the command. The annotation of its parameter `config` is the dataclass of the options. Returns the
            exit code, or None for 0.

    Returns:
        A function whose parameters are the config's fields and the common options.
    """
    config_class: type[C] = get_type_hints(body)["config"]
    hints = get_type_hints(config_class)
    parameters = [_parameter(name, f, hints[f.name]) for f in dataclasses.fields(config_class)] + _common_options()
    own_names = {f.name for f in dataclasses.fields(config_class)}
    repeatable = {name for name in own_names if get_origin(hints[name]) is tuple}

    @functools.wraps(body)
    def run(**values: Any) -> None:
        config_values = {k: tuple(v or ()) if k in repeatable else v for k, v in values.items() if k in own_names}
        console = Console(json=values["as_json"], quiet=values["quiet"], debug=values["debug"])
        with report_errors(console):
            try:
                config = config_class(**config_values)
            except ValueError as error:
                raise ConfigError(str(error)) from error
            exit_code = body(config, console) or 0
        raise typer.Exit(exit_code)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = inspect.getdoc(config_class)
    return run


def command_class(body: Callable[[C, Console], int | None]) -> type[Command]:
    """Returns the class of the command that runs `body`, which knows the options whose value is optional."""
    hints = get_type_hints(get_type_hints(body)["config"])
    fields = [f for f in dataclasses.fields(get_type_hints(body)["config"]) if spec_of(f).bare is not None]
    bare = {f"--{option_name(f.name)}": (str(spec_of(f).bare), frozenset(get_args(hints[f.name]))) for f in fields}
    return type("Command", (Command,), {"bare": bare}) if bare else Command


def _variables(command_name: str, option: str) -> list[str]:
    """Returns the environment variables that set an option, the most specific first."""
    own = f"FACECLR_{command_name.replace('-', '_').upper()}_{option.upper()}"
    return [own] if option in AMBIGUOUS or command_name in FOR_ONE_SOURCE else [own, f"FACECLR_{option.upper()}"]


def _parameter(command_name: str, config_field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    spec, name = spec_of(config_field), config_field.name
    if get_origin(hint) is tuple:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    info: Any
    if spec.positional:
        info = typer.Argument(
            help=spec.help, metavar=spec.metavar, show_default=False, autocompletion=completer(spec.metavar)
        )
    else:
        info = typer.Option(
            # The negative form is needed because the file or the environment may have set the flag.
            f"--{option_name(name)}/--no-{option_name(name)}" if hint is bool else f"--{option_name(name)}",
            *([spec.short] if spec.short else []),
            help=spec.help,
            metavar=spec.metavar or _METAVARS.get(hint),
            envvar=_variables(command_name, name),
            show_envvar=False,
            show_default=config_field.default is not False and not spec.bare,
            rich_help_panel=spec.panel,
            autocompletion=completer(spec.metavar),
        )
    default = config_field.default
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    elif default == ():
        default = None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info])


def _common_options() -> list[inspect.Parameter]:
    """Returns the parameters of the options of all commands."""

    def flag(*names: str, help: str) -> Any:
        variable = f"FACECLR_{names[0].strip('-').upper()}"
        return typer.Option(*names, help=help, envvar=variable, show_envvar=False, rich_help_panel=COMMON_PANEL)

    config_file = typer.Option(
        "--config",
        help=f"Read defaults from this file (default: {CONFIG_FILE} in the working directory, if it exists)",
        metavar="FILE.toml",
        envvar="FACECLR_CONFIG",
        show_envvar=False,
        rich_help_panel=COMMON_PANEL,
        is_eager=True,
        callback=_read_defaults,
    )
    declared: list[tuple[str, Any, Any, Any]] = [
        ("as_json", bool, flag("--json", help="Print results as JSON"), False),
        ("quiet", bool, flag("--quiet", "-q", help="Print errors only"), False),
        ("debug", bool, flag("--debug", help="Show the traceback of an error"), False),
        ("config_file", Path | None, config_file, None),
    ]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info])
        for name, hint, info, default in declared
    ]


def _read_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Reads the command's table of the TOML file as defaults, below the command line and the environment."""
    if path is None and not CONFIG_FILE.is_file():
        return None
    path = path or CONFIG_FILE
    try:
        tables = tomllib.loads(decode(path.read_bytes()).replace("\r\n", "\n"))
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{path}: not TOML ({error})") from error
    _require_tables(path, tables, context)
    defaults = {key.replace("-", "_"): value for key, value in tables.get(context.info_name or "", {}).items()}
    defaults = {"as_json" if key == "json" else key: value for key, value in defaults.items()}
    parameters = {p.name: p for p in context.command.params if p.name and p.name not in ("config_file", "help")}
    bare = getattr(context.command, "bare", {})
    for key, value in defaults.items():
        table, option = context.info_name, key.removeprefix("as_")
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            hint = f"; did you mean {option_name(near[0])}?" if near else ""
            raise typer.BadParameter(f"{path}: [{table}] has no option {option_name(option)}{hint}")
        parameter = parameters[key]
        if value is True and f"--{option_name(key)}" in bare:
            value = bare[f"--{option_name(key)}"][0]
        values = value if isinstance(value, list) else [value]
        if not getattr(parameter, "is_flag", False) and any(isinstance(each, bool) for each in values):
            raise typer.BadParameter(
                f"{path}: [{table}] {option_name(option)}: must not be true or false; only flags are"
            )
        is_many = getattr(parameter, "multiple", False) or parameter.nargs == -1
        defaults[key] = values if is_many else value
    context.default_map = defaults
    return path


def _require_tables(path: Path, tables: dict[str, Any], context: typer.Context) -> None:
    """Raises an error for tables and keys that no command reads: misspelled tables, and keys outside of tables."""
    group: Any = getattr(context.parent, "command", None)
    is_group = hasattr(group, "list_commands")
    names: list[str] = group.list_commands(context.parent) if is_group else [str(context.info_name)]
    for name, table in tables.items():
        if name in names and isinstance(table, dict):
            continue
        if name in names:
            raise typer.BadParameter(f"{path}: [{name}] must be a table")
        if not isinstance(table, dict):
            raise typer.BadParameter(f"{path}: {name} is not in a table; put it below a command, such as [{names[0]}]")
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"; did you mean [{near[0]}]?" if near else ""
        raise typer.BadParameter(f"{path}: [{name}] is not a command of faceclr{hint}")
