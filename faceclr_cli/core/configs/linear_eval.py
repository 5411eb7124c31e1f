"""Options of `faceclr linear-eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class LinearEvalConfig:
    """Measure how linearly separable people are in frozen embeddings."""

    stores: tuple[Path, ...] = argument(
        (), help="Stores of labelled faces; several are compared side by side", metavar="STORE.h5..."
    )
    identities: int | None = option(None, minimum=2, metavar="N", help="Only the N people with the most pictures")
    min_images: int = option(5, minimum=5, metavar="N", help="Leave out people with fewer pictures")
    seed: int = option(0, minimum=0, help="Fixes the 60/20/20 division of each person's pictures")

    def __post_init__(self) -> None:
        check_limits(self)
