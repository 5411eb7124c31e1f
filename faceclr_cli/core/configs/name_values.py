"""Options of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

NameValues = tuple[tuple[str, bool | int | float | str], ...]

_WORDS: dict[str, bool] = {"true": True, "false": False}


def parse_name_values(texts: Sequence[str], option: str, example: str = "patch_size=2") -> NameValues:
    """Parses NAME=VALUE pairs. A text may hold several, separated by commas.

    Args:
        texts: The values of a repeatable option.
        option: Name of the option, for the error message.
        example: A pair, for the error message.

    Returns:
        Names and values, sorted by name. A value is a truth value (`true`, `false`), a number or a word.

    Raises:
        ValueError: A pair has no name or no value, or a name occurs twice.
    """
    values: dict[str, bool | int | float | str] = {}
    for pair in ",".join(texts).split(",") if texts else ():
        name, _, text = (part.strip() for part in pair.partition("="))
        if not name.isidentifier() or not text:
            raise ValueError(f"{option} {pair!r}: must be NAME=VALUE, such as {example}")
        if name in values:
            raise ValueError(f"{option}: {name} is given twice")
        values[name] = _parse_value(text)
    return tuple(sorted(values.items()))


def format_name_values(values: NameValues) -> tuple[str, ...]:
    """Returns the texts that `parse_name_values` parses to these values."""
    return tuple(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values)


def _parse_value(text: str) -> bool | int | float | str:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
