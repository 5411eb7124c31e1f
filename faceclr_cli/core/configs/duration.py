"""Lengths of time as people type them."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(text: str) -> float:
    """`90s`, `30m`, `6h`, `1d12h` in seconds.

    Raises:
        ValueError: It is no such length of time, or it is zero.

    Examples:
        >>> seconds("90s"), seconds("1d12h"), seconds("0.5h")
        (90.0, 129600.0, 1800.0)
        >>> seconds("soon")
        Traceback (most recent call last):
            ...
        ValueError: 'soon' is no length of time; write 90s, 30m, 6h or 1d12h
    """
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text.strip()):
        raise ValueError(f"{text!r} is no length of time; write 90s, 30m, 6h or 1d12h")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not total:
        raise ValueError(f"{text!r} is no time at all")
    return total
