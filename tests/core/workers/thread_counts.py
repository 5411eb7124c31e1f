"""A function for another process, in a module that it imports quickly."""

from __future__ import annotations

import os

import cv2

from faceclr_cli.core.workers.capacity import THREADS_VARIABLE


def threads_here(_: int) -> tuple[int, str]:
    return cv2.getNumThreads(), os.environ[THREADS_VARIABLE]
