"""Options of `faceclr cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.judging import THRESHOLD, JudgingConfig
from faceclr_cli.core.configs.quality import MIN_QUALITY_METAVAR, parse_quality_limits

Method = Literal["agglomerative", "hdbscan"]

PHOTOGRAPHS = "Photographs"


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(JudgingConfig):
    """Cluster the faces of unknown people into one group per person.

    Two faces in the same photograph are never put in the same group.
    """

    source: Path | None = argument(
        None,
        help="Store of embeddings, prepared faces, or photographs: a folder, a .zip or .tar, or - to read paths from "
        "standard input",
        metavar="FACES.h5|DIR",
    )
    # Empty instead of sface: for a store, it matters whether the user named an encoder.
    model: str = option(
        "",
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="Encoder: built-in, a run or encoder folder, or .onnx (default: sface, or the encoder of the store)",
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        panel=THRESHOLD,
        metavar="RATE",
        help="Use the threshold calibrated for this false accept rate (default: the nearest to 0.001, or a stricter "
        "one if each face would otherwise match more than one other person by chance)",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Write a folder per group with links to its pictures"
    )
    faces: Path | None = option(
        None, metavar="DIR", help="Folder that was embedded to the store; -o links to its pictures"
    )
    method: Method = option(
        "agglomerative",
        help="Method; 'agglomerative': average linkage up to the threshold; 'hdbscan': density-based, without a "
        "threshold",
    )
    min_size: int = option(2, minimum=2, metavar="N", help="Minimum group size; faces in smaller groups are singles")

    min_quality: tuple[str, ...] = option(
        (),
        metavar=MIN_QUALITY_METAVAR,
        panel=PHOTOGRAPHS,
        help="Leave faces below a quality single, such as sharpness=20: of detection_score, norm, "
        "sharpness, eye_distance, frontality, stability; may be repeated",
    )
    face: Literal["largest", "center", "best", "all", "only"] | None = option(
        None, panel=PHOTOGRAPHS, help="Which face to use when a photograph has several (default: all)"
    )
    null: bool = option(
        False, panel=PHOTOGRAPHS, help="Paths on standard input are separated by NUL, as by find -print0"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_quality_limits(self.min_quality)
        if self.method == "hdbscan":
            for name in ("threshold", "far", "calibration"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name}: --method hdbscan does not use a threshold; omit --{name}")
        if self.faces is not None and self.out is None:
            raise ValueError("--faces requires -o: it names the pictures that -o links to")

    @property
    def quality_limits(self) -> dict[str, float]:
        """The limits in `min_quality`."""
        return parse_quality_limits(self.min_quality)
