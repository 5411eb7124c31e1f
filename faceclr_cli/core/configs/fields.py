"""What a config field knows about itself beside its type and default."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

_KEY = "faceclr"
_LARGEST = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The command-line face of a field.

    Attributes:
        help: One sentence, without a full stop.
        positional: An argument rather than an option.
        short: A one-letter alias with its dash.
        panel: The heading under which `--help` lists it.
        metavar: What stands for the value in `--help`.
        minimum: Smallest value allowed.
        maximum: Largest value allowed.
        bare: The value where the option is named and none is given.
        streams: Whether `-` stands for standard input or output.
    """

    help: str
    positional: bool = False
    short: str | None = None
    panel: str | None = None
    metavar: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    bare: str | None = None
    streams: bool = False


class Config(Protocol):
    """Any of the config dataclasses."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def option(
    default: object = MISSING,
    *,
    help: str,
    short: str | None = None,
    panel: str | None = None,
    metavar: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    bare: str | None = None,
    streams: bool = False,
) -> Any:
    """A field that is an option: `hold_out` of pretrain: `--hold-out`, `FACECLR_PRETRAIN_HOLD_OUT`, `hold-out = `."""
    spec = Spec(
        help=help,
        short=short,
        panel=panel,
        metavar=metavar,
        minimum=minimum,
        maximum=maximum,
        bare=bare,
        streams=streams,
    )
    return field(default=default, metadata={_KEY: spec})


def argument(default: object = MISSING, *, help: str, metavar: str | None = None) -> Any:
    """A field that is a positional argument."""
    return field(default=default, metadata={_KEY: Spec(help=help, positional=True, metavar=metavar)})


def spec_of(config_field: dataclasses.Field[Any]) -> Spec:
    """The command-line face of a config field."""
    spec: Spec = config_field.metadata[_KEY]
    return spec


def option_name(field_name: str) -> str:
    """`batch_size` -> `batch-size`."""
    return field_name.replace("_", "-")


def check_limits(config: Config) -> None:
    """Compares every number with its field's limits.

    Whole numbers without a maximum of their own end where those of the libraries do: all of them take a seed up to
    2^32 - 1, and no count of anything comes near. Fractions must be finite.

    Raises:
        ValueError: One is outside; the message names the option.
    """
    _check_streams(config)
    for config_field in dataclasses.fields(config):
        value = getattr(config, config_field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float):
                _check_number(f"--{option_name(config_field.name)}", number, spec_of(config_field))


def _check_number(name: str, number: float, spec: Spec) -> None:
    given = f"{number:g}" if isinstance(number, float) else str(number)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, not {given}")
    if spec.minimum is not None and number < spec.minimum:
        raise ValueError(f"{name} must be at least {spec.minimum:g}, not {given}")
    maximum = _LARGEST if spec.maximum is None and isinstance(number, int) else spec.maximum
    if maximum is not None and number > maximum:
        limit = f"{maximum:g}" if isinstance(maximum, float) else str(maximum)
        raise ValueError(f"{name} must be at most {limit}, not {given}")


def _check_streams(config: Config) -> None:
    """Raises a ValueError for `-` where it would be a file or folder of that name."""
    for config_field in dataclasses.fields(config):
        spec, value = spec_of(config_field), getattr(config, config_field.name)
        is_given = Path("-") in value if isinstance(value, tuple) else value == Path("-")
        if is_given and not (spec.positional or spec.streams):
            name = spec.short or f"--{option_name(config_field.name)}"
            raise ValueError(f"{name} -: not a standard stream here; name a file or folder")


def to_json(config: Config) -> dict[str, Any]:
    """The config as a JSON object: paths as strings, tuples as lists."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
