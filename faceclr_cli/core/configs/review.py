"""Options of `faceclr review`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """Create a page for answering the questions of cluster --review in a browser.

    The page needs no server and no network. It saves the answers as review.csv; put this file into the folder of groups
    and run faceclr cluster again.
    """

    groups: Path | None = argument(
        None, help="Folder of groups that faceclr cluster wrote with --review", metavar="GROUPS"
    )
    out: Path | None = option(None, short="-o", metavar="FILE", help="Page to write (default: GROUPS/review.html)")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.groups is None:
            raise ValueError("give the folder of groups: faceclr review groups")
        if self.out is not None and self.out.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"--out {self.out}: must be an .html file")
