"""Options of `faceclr tsne`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

PAGE = ".html"
_DRAWN = (".png", ".svg", ".pdf", PAGE)

MAP, PEOPLE = "Map", "Choosing people"


@dataclass(frozen=True, kw_only=True)
class TsneConfig:
    """Draw a map of embeddings on which each point is a face."""

    store: Path | None = argument(
        None,
        help="A store that `faceclr embed` wrote, or prepared faces or photographs, embedded on the fly",
        metavar="FACES.h5|DIR",
    )
    model: str = option(
        "sface", short="-m", metavar="sface|RUN|FILE.onnx", help="Who embeds a folder; a store has its own"
    )
    out: tuple[Path, ...] = option(
        (),
        short="-o",
        metavar="FILE",
        help="A picture (.png, .svg, .pdf) or a page to explore (.html); may be repeated (default: map.png)",
    )
    method: Literal["tsne", "umap", "pca"] = option("tsne", panel=MAP, help="How many dimensions become two")
    identities: int = option(12, minimum=1, metavar="N", panel=PEOPLE, help="Only the N people with the most pictures")
    people: tuple[str, ...] = option(
        (), metavar="NAME", panel=PEOPLE, help="Only this person, however many pictures there are; may be repeated"
    )
    perplexity: float = option(30.0, minimum=1.0, panel=MAP, help="t-SNE's perplexity, lowered where faces are few")
    seed: int = option(0, minimum=0, maximum=2**32 - 1, panel=MAP, help="The same seed draws the same map")
    faces: Path | None = option(
        None, metavar="DIR", help="Where a page's thumbnails come from (default: the folder that was embedded)"
    )

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return self.out or (Path("map.png"),)

    def __post_init__(self) -> None:
        check_limits(self)
        for path in self.out:
            if path.suffix.lower() not in _DRAWN:
                raise ValueError(f"--out {path}: a map is a .png, .svg, .pdf or .html file")
        if self.faces is not None and not any(path.suffix.lower() == PAGE for path in self.out):
            raise ValueError("--faces is for the thumbnails of a page: add -o map.html")
