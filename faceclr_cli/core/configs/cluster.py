"""Options of `faceclr cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, inherited, option
from faceclr_cli.core.configs.quality import MIN_QUALITY_METAVAR, parse_quality_limits
from faceclr_cli.core.configs.threshold_options import ThresholdConfig

Method = Literal["agglomerative", "hdbscan"]

PHOTOGRAPHS = "Photographs"


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(ThresholdConfig):
    """Cluster the faces of unknown people into one group per person.

    Two faces in the same photograph are never put in the same group. If the output folder already has groups, new faces
    are added to it, and what was renamed, moved or deleted there stays so.
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
    far: float | None = inherited(
        ThresholdConfig,
        "far",
        help="Use the threshold calibrated for this false accept rate (default: the nearest to 0.001, or a stricter "
        "one if more than one face in ten would otherwise match another person by chance)",
    )
    gallery: Path | None = option(
        None,
        short="-g",
        metavar="FACES.h5|DIR|CSV",
        help="People whose names are known: a store, prepared faces or a folder per person, or a CSV file with the "
        "columns face,name",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Write a folder per group with links to its pictures, or update it"
    )
    faces: Path | None = option(
        None, metavar="DIR", help="Folder that was embedded to the store; -o links to its pictures"
    )
    method: Method = option(
        "agglomerative",
        help="Method; 'agglomerative': average linkage up to the threshold; 'hdbscan': density-based, without a "
        "threshold",
    )
    review: int | None = option(
        None,
        minimum=1,
        metavar="N",
        help="Write the N questions whose answers help most to review.csv and review.jpg in the output folder",
    )
    min_size: int = option(2, minimum=2, metavar="N", help="Minimum group size; faces in smaller groups are singles")

    min_quality: tuple[str, ...] = option(
        (),
        metavar=MIN_QUALITY_METAVAR,
        panel=PHOTOGRAPHS,
        help="Keep faces below a minimum quality, such as sharpness=20, as singles; measures: detection_score, norm, "
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
        if self.review and self.out is None:
            raise ValueError("--review requires -o: the questions are about the groups in that folder")
        if self.review and self.method == "hdbscan":
            raise ValueError("--review: --method hdbscan has no threshold to ask about; omit one of them")
        if self.faces is not None and self.out is None:
            raise ValueError("--faces requires -o: it names the pictures that -o links to")

    @property
    def quality_limits(self) -> dict[str, float]:
        """The limits in `min_quality`."""
        return parse_quality_limits(self.min_quality)
