"""Fields of config dataclasses: their help texts, option names and limits."""

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
    """The command-line properties of a config field.

    Attributes:
        help: Help text, without a final period.
        positional: True for an argument, False for an option.
        short: A one-letter alias with its dash.
        panel: The heading under which `--help` lists it.
        metavar: Placeholder of the value in `--help`.
        minimum: Minimum value.
        maximum: Maximum value.
        bare: Value of the option if it is given without one.
        streams: True if `-` means standard input or output.
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
    """A config dataclass."""

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
    """Declares a field that is an option.

    The field `hold_out` of pretrain becomes the option `--hold-out`, the variable `FACECLR_PRETRAIN_HOLD_OUT` and the
    TOML key `hold-out`. For the arguments, see `Spec`.
    """
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
    """Declares a field that is a positional argument."""
    return field(default=default, metadata={_KEY: Spec(help=help, positional=True, metavar=metavar)})


def inherited(base: type[Config], name: str, *, help: str) -> Any:
    """Declares an inherited field again, with another help text for the command, and otherwise the same.

    Args:
        base: The base class that declares the field.
        name: Name of the field.
        help: The help text.
    """
    declared: dataclasses.Field[Any] = base.__dataclass_fields__[name]
    return field(default=declared.default, metadata={_KEY: dataclasses.replace(spec_of(declared), help=help)})


def spec_of(config_field: dataclasses.Field[Any]) -> Spec:
    """Returns the command-line properties of a config field."""
    spec: Spec = config_field.metadata[_KEY]
    return spec


def option_name(field_name: str) -> str:
    """Returns the option name of a field: `batch_size` -> `batch-size`."""
    return field_name.replace("_", "-")


def check_limits(config: Config) -> None:
    """Checks every number against the limits of its field.

    The default maximum of integers is 2^32 - 1, the largest seed that all libraries accept. Floats must be finite.

    Raises:
        ValueError: A number is out of range, or a path is `-` although its option does not support standard streams;
            the message names the option.
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
    """Raises a ValueError for `-` if the option does not support standard streams."""
    for config_field in dataclasses.fields(config):
        spec, value = spec_of(config_field), getattr(config, config_field.name)
        is_given = Path("-") in value if isinstance(value, tuple) else value == Path("-")
        if is_given and not (spec.positional or spec.streams):
            name = spec.short or f"--{option_name(config_field.name)}"
            raise ValueError(f"{name} -: standard input and output are not supported here; give a file or folder")


def to_json(config: Config) -> dict[str, Any]:
    """Returns the config as a JSON object, with paths as strings and tuples as lists."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
