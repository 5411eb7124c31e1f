"""Options of `faceclr forget`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, option


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """Remove a person from stores and prepared faces, for good."""

    paths: tuple[Path, ...] = argument(help="Stores, folders of prepared faces and splits", metavar="PATH...")
    identity: str = option(short="-i", metavar="NAME", help="Who is to be forgotten")
    dry_run: bool = option(False, help="Say what would be removed, and remove nothing")

    def __post_init__(self) -> None:
        if not self.identity:
            raise ValueError("--identity is empty: name the person")
