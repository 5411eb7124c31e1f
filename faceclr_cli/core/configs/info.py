"""Options of `faceclr info`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Describe a file or folder that faceclr wrote."""

    path: Path = argument(help="File or folder", metavar="FILE|FOLDER")
