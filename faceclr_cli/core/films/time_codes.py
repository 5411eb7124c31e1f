"""Time codes."""

from __future__ import annotations


def time_code(seconds: float) -> str:
    """Formats a time as `HH:MM:SS.mmm`, as WebVTT does.

    Examples:
        >>> time_code(3725.5)
        '01:02:05.500'
    """
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}.{thousandths:03d}"
