"""Parser of durations such as `90s` or `1d12h`."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(text: str) -> float:
    """Parses a duration such as `90s`, `30m`, `6h` or `1d12h`.

    Returns:
        The duration in seconds.

    Raises:
        ValueError: The text is not a duration, or the duration is zero.

    Examples:
        >>> seconds("90s"), seconds("1d12h"), seconds("0.5h")
        (90.0, 129600.0, 1800.0)
        >>> seconds("soon")
        Traceback (most recent call last):
            ...
        ValueError: 'soon' is not a duration; write 90s, 30m, 6h or 1d12h
    """
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text.strip()):
        raise ValueError(f"{text!r} is not a duration; write 90s, 30m, 6h or 1d12h")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not total:
        raise ValueError(f"{text!r} is zero; write 90s, 30m, 6h or 1d12h")
    return total
