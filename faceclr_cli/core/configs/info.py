"""Options of `faceclr info`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Say what a file or folder is that faceclr wrote."""

    path: Path = argument(help="The file or folder", metavar="FILE|FOLDER")
