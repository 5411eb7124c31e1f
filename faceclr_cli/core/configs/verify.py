"""Options of `faceclr verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Decide whether two photographs show the same person, or measure an encoder on pairs."""

    photos: tuple[Path, ...] = argument((), help="Two photographs", metavar="A B")
    model: str = option(
        "sface", short="-m", metavar="sface|RUN|FILE.onnx", help="A built-in encoder, a run or encoder folder, or .onnx"
    )
    threshold: float | None = option(
        None, minimum=-1.0, maximum=1.0, help="Least cosine similarity of the same person (default: the encoder's own)"
    )
    embeddings: Path | None = option(
        None, metavar="STORE.h5", panel="Pairs", help="Measure on stored embeddings instead of two photographs"
    )
    pairs: Path | None = option(
        None, metavar="FILE", panel="Pairs", help="Pairs to measure: CSV 'a,b,same' or LFW's pairs.txt"
    )
    all_pairs: bool = option(False, panel="Pairs", help="Measure on every two faces of --embeddings")
    folds: int = option(10, minimum=2, panel="Pairs", help="Folds; each is judged by the others' best threshold")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.embeddings is not None or self.pairs is not None or self.all_pairs:
            if self.photos:
                raise ValueError("give two photographs, or --embeddings with --pairs or --all-pairs, not both")
            if self.embeddings is None or (self.pairs is None) != self.all_pairs:
                raise ValueError("--embeddings goes with either --pairs or --all-pairs")
        elif len(self.photos) != 2:
            raise ValueError(
                f"verify compares two photographs, not {len(self.photos)}: faceclr verify a.jpg b.jpg "
                "(or --embeddings faces.h5 --pairs pairs.csv)"
            )
