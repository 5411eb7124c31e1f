"""The log level of OpenCV."""

from __future__ import annotations

import cv2

SILENT = 0


def set_log_level(level: int) -> int:
    """Sets the log level of this process and returns the previous one."""
    previous: int = cv2.utils.logging.setLogLevel(level)
    return previous
