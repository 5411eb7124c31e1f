"""Options of `faceclr prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Turn photographs into aligned face crops."""

    source: Path = argument(
        help="Photographs: one folder per person, CelebA's layout, a folder without people, or one file",
        metavar="PHOTOS",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Where the faces go (default: PHOTOS-faces in the working directory)"
    )
    layout: Literal["auto", "identities", "celeba", "flat"] = option(
        "auto", help="How people are told apart; 'auto' looks at the folder"
    )
    size: int = option(112, minimum=32, maximum=1024, metavar="PIXELS", help="Side of the square crops")
    min_score: float = option(
        0.6, minimum=0.0, maximum=1.0, help="Faces that the detector is less sure of are not counted"
    )
    quality: int = option(95, minimum=50, maximum=100, help="JPEG quality of the crops")
    workers: int | None = option(None, minimum=1, help="Processes (default: one per core)")
    max_bad: float = option(
        0.5, minimum=0.0, maximum=1.0, metavar="SHARE", help="Share of files that may fail before the exit code is 3"
    )

    def __post_init__(self) -> None:
        check_limits(self)
