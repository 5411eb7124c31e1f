"""Options of `faceclr tsne`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class TsneConfig:
    """Draw a map of embeddings on which each point is a face."""

    store: Path | None = argument(None, help="A store that `faceclr embed` wrote", metavar="STORE.h5")
    out: Path = option(Path("map.png"), short="-o", metavar="FILE", help="The picture: .png, .svg or .pdf")
    method: Literal["tsne", "umap", "pca"] = option("tsne", help="How many dimensions become two")
    identities: int = option(12, minimum=1, metavar="N", help="Only the N people with the most pictures")
    perplexity: float = option(30.0, minimum=1.0, help="t-SNE's perplexity, lowered where faces are few")
    seed: int = option(0, minimum=0, help="The same seed draws the same map")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.out.suffix.lower() not in {".png", ".svg", ".pdf"}:
            raise ValueError(f"--out {self.out}: a map is a .png, .svg or .pdf file")
