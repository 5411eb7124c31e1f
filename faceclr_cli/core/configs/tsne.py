"""Options of `faceclr tsne`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

PAGE = ".html"
_SUFFIXES = (".png", ".svg", ".pdf", PAGE)

MAP, PEOPLE = "Map", "People"


@dataclass(frozen=True, kw_only=True)
class TsneConfig:
    """Draw a two-dimensional map of embeddings, with one point per face."""

    store: Path | None = argument(
        None,
        help="Store of embeddings, or prepared faces or photographs, which are embedded on the fly",
        metavar="FACES.h5|DIR",
    )
    model: str = option(
        "sface",
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="Encoder for a folder: built-in, a run or encoder folder, or .onnx",
    )
    out: tuple[Path, ...] = option(
        (),
        short="-o",
        metavar="FILE",
        help="Picture (.png, .svg, .pdf) or interactive page (.html); may be repeated (default: map.png)",
    )
    method: Literal["tsne", "umap", "pca"] = option("tsne", panel=MAP, help="Dimensionality reduction")
    identities: int = option(
        12, minimum=1, metavar="N", panel=PEOPLE, help="Show only the N people with the most pictures"
    )
    people: tuple[str, ...] = option((), metavar="NAME", panel=PEOPLE, help="Show only this person; may be repeated")
    perplexity: float = option(30.0, minimum=1.0, panel=MAP, help="Perplexity of t-SNE; reduced if there are few faces")
    seed: int = option(0, minimum=0, maximum=2**32 - 1, panel=MAP, help="Random seed; the same seed gives the same map")
    faces: Path | None = option(
        None, metavar="DIR", help="Folder of the thumbnails on a page (default: the folder that was embedded)"
    )

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return self.out or (Path("map.png"),)

    def __post_init__(self) -> None:
        check_limits(self)
        for path in self.out:
            if path.suffix.lower() not in _SUFFIXES:
                raise ValueError(f"--out {path}: must be a .png, .svg, .pdf or .html file")
        if self.faces is not None and not any(path.suffix.lower() == PAGE for path in self.out):
            raise ValueError("--faces requires a page for its thumbnails: add -o map.html")
