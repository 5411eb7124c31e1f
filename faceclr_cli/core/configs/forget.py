"""Options of `faceclr forget`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, option


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """Remove a person from stores, prepared faces and other artifacts, for good."""

    paths: tuple[Path, ...] = argument(
        help="Stores, prepared faces, splits, groups, classifiers, encoders and tsne pages", metavar="PATH..."
    )
    identity: str = option(short="-i", metavar="NAME", help="The person to remove")
    dry_run: bool = option(False, help="Say what would be removed, and remove nothing")

    def __post_init__(self) -> None:
        if not self.identity:
            raise ValueError("--identity is empty: name the person")
