"""The log level of OpenCV."""

from __future__ import annotations

import cv2

SILENT = 0


def set_log_level(level: int) -> int:
    """Sets the log level of this process and returns the previous one. OpenCV 4.10 has it under another name."""
    names = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2
    previous: int = names.setLogLevel(level)  # type: ignore[attr-defined, unused-ignore]
    return previous
