"""Options of `faceclr cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.judging import THRESHOLD, JudgingConfig

Method = Literal["agglomerative", "hdbscan"]

PHOTOGRAPHS = "Photographs"


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(JudgingConfig):
    """Put the faces of unknown people into groups, one for each person.

    Two faces of one photograph are never in one group.
    """

    source: Path | None = argument(
        None,
        help="A store that faceclr embed wrote, prepared faces, or photographs: a folder, a .zip or .tar, or - for a "
        "list of paths on standard input",
        metavar="FACES.h5|DIR",
    )
    # Empty rather than sface: of a store it makes a difference whether the user named its encoder.
    model: str = option(
        "",
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="A built-in encoder, a run or encoder folder, or .onnx (default: sface, or whoever made the store)",
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        panel=THRESHOLD,
        metavar="RATE",
        help="The false accept rate that the threshold is for, one that was measured (default: 0.001 or the nearest, "
        "or less where many faces would each meet more than one stranger)",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Also write a folder of links to the pictures for each group"
    )
    faces: Path | None = option(
        None, metavar="DIR", help="The pictures of a store, which -o links to: the folder that was embedded"
    )
    method: Method = option(
        "agglomerative",
        help="'agglomerative': average linkage, as far as the threshold; 'hdbscan': wherever faces are dense, without "
        "a threshold",
    )
    min_size: int = option(2, minimum=2, metavar="N", help="Faces of the smallest group; those of smaller are singles")

    face: Literal["largest", "center", "best", "all", "only"] | None = option(
        None, panel=PHOTOGRAPHS, help="Which, of several (default: all)"
    )
    null: bool = option(False, panel=PHOTOGRAPHS, help="Paths on standard input end with NUL, as of find -print0")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "hdbscan":
            for name in ("threshold", "far", "calibration"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name}: --method hdbscan has no threshold; leave it out")
        if self.faces is not None and self.out is None:
            raise ValueError("--faces names the pictures that -o links to: give -o too")
